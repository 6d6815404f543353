"""A repository of models that is signed by The Update Framework: static files for a web server or a USB stick.

`repository` calls the other modules. They may import `runtime`, the trainer's rooms with a star, tuf, securesystemslib
and cryptography; no TensorFlow.
"""

"""The files that set up a device without a network: a model, our package and its dependencies as wheels, an installer.

May import `runtime` and no TensorFlow; pip runs in a process of its own.
"""

"""Classes taught to an exported model on the device, from a few pictures: what is kept, how it decides, and the lesson.

May import the runtime's modules; not `cli` and `watch`.
"""

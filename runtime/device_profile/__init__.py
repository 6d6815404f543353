"""How fast this device runs the operators of our networks: probe models, their measurement, and the profile's format.

May import the runtime's modules except `cli`; no TensorFlow, since a device has none.
"""

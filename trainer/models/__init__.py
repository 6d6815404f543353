"""The networks: how they are built, and the weights they start from.

May import `config`, `backbones`, `keras_inspection` and the runtime.
"""

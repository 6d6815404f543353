"""Classes taught to an exported model on the device: what is kept of them, and how they are decided between.

May import contract, model file and scores; not the classifier, which uses it. The lesson is `runtime.lesson`.
"""

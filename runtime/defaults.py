"""Defaults that the library and its commands share; nothing is imported for them."""

#: Answers an image.
DEFAULT_TOP = 3
#: Where the commands look for a model that is not named.
MODEL_VARIABLE = "POCKETLENS_MODEL"

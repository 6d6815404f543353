"""What a model file will cost on a device that is not here: predicted from its operators and the device's profile.

May import the runtime and scikit-learn. What is computed here is called "predicted" wherever it is shown.
"""

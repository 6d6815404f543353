"""PyInstaller's hook for `tflite_runtime`: it looks for a TensorFlow around itself, which it does not need."""

excludedimports = ["tensorflow"]

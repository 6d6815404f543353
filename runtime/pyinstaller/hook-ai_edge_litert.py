"""PyInstaller's hook for `ai_edge_litert`: it looks for a TensorFlow around itself, which it does not need."""

excludedimports = ["tensorflow"]

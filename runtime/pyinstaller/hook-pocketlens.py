"""PyInstaller's hook for `pocketlens`: a device's application needs `runtime`, and not TensorFlow."""

hiddenimports = ["runtime"]
excludedimports = ["trainer", "exporter"]

"""A trial of a search that takes a second: its data and settings, as JSON holds them."""

from __future__ import annotations

from typing import Any

DATA = {"name": "digits"}
SETTINGS: dict[str, Any] = {
    "architecture": "cnn",
    "widths": [4, 6, 8],
    "blocks": 0,
    "epochs": 4,
    "steps_per_epoch": 3,
    "patience": 0,
    "augmentation": ["shift"],
    "learning_rate": 0.004,
}

"""Switches a lamp by the newest photo of a camera: `python gpio.py int8.tflite latest.jpg 8`.

With gpiozero on a Raspberry Pi the lamp is at GPIO 17. At a desk, `GPIOZERO_PIN_FACTORY=mock` gives gpiozero mock pins;
without gpiozero the program only says what it would do. `--once` ends after one photo.
"""

import logging
import sys
import time
from pathlib import Path
from typing import Any

from runtime import Classifier, ImageError

PIN, PAUSE_S, LEAST_SCORE = 17, 1.0, 0.8


class MockLamp:
    """Takes the place of `gpiozero.LED`."""

    def on(self) -> None:
        """Do nothing."""

    def off(self) -> None:
        """Do nothing."""


def find_lamp() -> Any:
    """The lamp at the pin, or a mock where gpiozero is not installed or finds no pins."""
    try:
        from gpiozero import LED, BadPinFactory
    except ImportError:
        logging.warning("gpiozero is not installed: a mock lamp")
        return MockLamp()
    try:
        return LED(PIN)
    except BadPinFactory:
        logging.warning("this machine has no pins: a mock lamp")
        return MockLamp()


def main(model: str, photo: Path, label: str, once: bool) -> None:
    """Look at the photo whenever it has changed, and switch the lamp."""
    classifier, lamp, seen = Classifier(model), find_lamp(), 0
    while True:
        try:
            changed = photo.stat().st_mtime_ns
            if changed != seen:
                best = classifier.classify(photo, min_score=LEAST_SCORE)[0]
                seen = changed
                wanted = best.label == label
                lamp.on() if wanted else lamp.off()
                print("lamp on" if wanted else "lamp off", flush=True)
        except (ImageError, FileNotFoundError) as error:
            logging.warning("%s", error)  # half written, or not there yet: try again
        if once:
            return
        time.sleep(PAUSE_S)


if __name__ == "__main__":
    logging.basicConfig(format="%(message)s")
    arguments = [argument for argument in sys.argv[1:] if argument != "--once"]
    main(arguments[0], Path(arguments[1]), arguments[2], "--once" in sys.argv)

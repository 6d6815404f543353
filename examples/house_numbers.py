"""Draw house numbers as a camera sees them: `python house_numbers.py FOLDER`. For the tutorial "The loop".

The digits are scikit-learn's, each drawn on a plate. By day the plates are light; in the evening it is darker, the
light is uneven, and the plates are of brick. Each set has digits of its own, so that nothing is seen twice.

FOLDER/plates/train, FOLDER/plates/test   by day, a folder for each digit
FOLDER/evening                            in the evening, a folder for each digit: to measure with
FOLDER/camera                             2,000 pictures of the evening without labels; camera.csv has the truth
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

SIDE = 32
#: Digits of the training, the test, the measuring in the evening, and for the camera.
PARTS = (600, 200, 300, 697)
SEEN = 2000


def draw(digit, random, evening):
    """A plate with a digit, uint8 of shape (32, 32)."""
    side = int(random.integers(20, 27))
    image = Image.fromarray((digit * 255 / 16).astype(np.uint8)).resize((side, side), Image.Resampling.BICUBIC)
    ink = np.zeros((SIDE, SIDE))
    top, left = random.integers(0, SIDE - side + 1, 2)
    ink[top : top + side, left : left + side] = np.asarray(image) / 255
    rows, columns = np.mgrid[:SIDE, :SIDE]
    if evening:
        course = rows // 6
        joints = (rows % 6 == 0) | ((columns + 5 * (course % 2)) % 10 == 0)
        plate = np.where(joints, 0.4, 0.85) + random.normal(0, 0.04, (SIDE, SIDE))
        dark = random.uniform(0.25, 0.6) * (1 + random.uniform(-0.5, 0.5) * (columns / SIDE - 0.5))
        light = dark * (plate * (1 - ink) + 0.1 * ink)
    else:
        plate = 0.85 + 0.1 * random.uniform(-1, 1) + random.normal(0, 0.02, (SIDE, SIDE))
        light = random.uniform(0.8, 1.0) * (plate * (1 - ink) + 0.15 * ink)
    noisy = light + random.normal(0, 0.015, (SIDE, SIDE))
    return (255 * np.clip(noisy, 0, 1)).astype(np.uint8)


def write(folder, digits, labels, random, evening):
    for number, (digit, label) in enumerate(zip(digits, labels, strict=True)):
        place = folder / str(label)
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw(digit, random, evening)).save(place / f"{number:04d}.png")


def main(root):
    random = np.random.default_rng(0)
    digits = load_digits()
    order = random.permutation(len(digits.target))
    train, test, measure, camera = np.split(order, np.cumsum(PARTS)[:-1])
    for folder, part, evening in (
        (root / "plates/train", train, False),
        (root / "plates/test", test, False),
        (root / "evening", measure, True),
    ):
        write(folder, digits.images[part], digits.target[part], random, evening)
    (root / "camera").mkdir(parents=True, exist_ok=True)
    rows = []
    for number, index in enumerate(random.choice(camera, SEEN)):
        name = f"{number:04d}.jpg"
        Image.fromarray(draw(digits.images[index], random, True)).save(root / "camera" / name, quality=92)
        rows.append((name, digits.target[index]))
    with (root / "camera.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("file", "label"), *rows])


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))

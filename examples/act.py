"""Started by a watch for each photo, `--exec 'python act.py {label} {score}'`: switches a lamp."""

import sys
from pathlib import Path

LAMP_LABEL = "8"
LAMP = Path("lamp.txt")  # on a Pi: a pin, as in gpio.py, or a message to a broker

label, score = sys.argv[1], float(sys.argv[2])
state = "on" if label == LAMP_LABEL and score >= 0.8 else "off"
with LAMP.open("a", encoding="utf-8") as lamp:
    lamp.write(f"{state} {label} {score:.2f}\n")

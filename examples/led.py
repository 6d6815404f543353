"""Lights a lamp at GPIO 17 while a camera sees one label: `python led.py int8.tflite 8 rpi`."""

import sys

from gpiozero import LED

from runtime import Classifier
from runtime.live import changes

model, label, source = sys.argv[1:]
lamp = LED(17)
for event in changes(Classifier(model), source):
    lamp.value = event.label == label
    print(event.label, "lamp on" if lamp.is_lit else "lamp off", flush=True)

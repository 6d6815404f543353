"""Keeps the frames that a model is least sure of: `python keep_uncertain.py int8.tflite rpi uncertain/`."""

import sys

from runtime import Classifier
from runtime.live import changes
from runtime.outputs.outputs import Outputs
from runtime.outputs.uncertain import UncertainFrames

model, source, folder = sys.argv[1:]
classifier = Classifier(model)
with Outputs([], recorder=UncertainFrames(folder, frames=200, model=classifier.sha256)) as outputs:
    for event in changes(classifier, source, see=outputs.see):
        print(event.label, flush=True)

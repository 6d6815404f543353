"""Posts what a camera sees to a web server: `python webhook.py int8.tflite rpi http://localhost:8000/hook`."""

import sys

from runtime import Classifier
from runtime.live import changes
from runtime.outputs.outputs import Outputs
from runtime.outputs.webhook import WebhookSink

model, source, url = sys.argv[1:]
with Outputs([WebhookSink(url)]) as outputs:
    for event in changes(Classifier(model), source):
        outputs.tell(event)

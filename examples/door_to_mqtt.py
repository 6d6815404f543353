"""Tells a broker what a camera sees: `python door_to_mqtt.py int8.tflite rpi mqtt://localhost/door`."""

import sys

from runtime import Classifier
from runtime.live import changes
from runtime.outputs.mqtt import MqttSink
from runtime.outputs.outputs import Outputs

classifier = Classifier(sys.argv[1])
with Outputs([MqttSink(sys.argv[3], classifier.contract.labels)]) as outputs:
    for event in changes(classifier, sys.argv[2]):
        outputs.tell(event)

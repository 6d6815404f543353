"""What Home Assistant reads to find a device by itself: MQTT discovery, a document for each entity.

The keys are those of https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery, in their long spelling.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any

from .._version import __version__
from ..postprocessing import UNKNOWN


def device_id(topic: str) -> str:
    """A name for a device that stays, in letters, digits and underscores.

    Example:
        >>> device_id("house/front door")
        'pocketlens_house_front_door_9735f9'
    """
    plain = re.sub(r"[^A-Za-z0-9]+", "_", topic).strip("_")[:40]
    return f"pocketlens_{plain}_{hashlib.sha256(topic.encode()).hexdigest()[:6]}"


def discovery_documents(
    topic: str, labels: Sequence[str], *, prefix: str = "homeassistant", picture_topic: str | None = None
) -> dict[str, dict[str, Any]]:
    """The documents to publish, retained: topic to document.

    Args:
        topic: where the state is published; `<topic>/availability` says whether the device is there.
        labels: the model's labels, which are the states that the sensor can have.
        prefix: where Home Assistant looks.
        picture_topic: where the picture of each change is published; None if there are none.
    """
    identifier = device_id(topic)
    shared = {
        "availability_topic": f"{topic}/availability",
        "payload_available": "online",
        "payload_not_available": "offline",
        "qos": 1,
        "device": {
            "identifiers": [identifier],
            "name": topic,
            "manufacturer": "Pocketlens",
            "model": "Image classifier",
            "sw_version": __version__,
        },
        "origin": {"name": "Pocketlens", "sw_version": __version__},
    }
    documents = {
        f"{prefix}/sensor/{identifier}/label/config": {
            "name": "Label",
            "unique_id": f"{identifier}_label",
            "device_class": "enum",
            "options": list(dict.fromkeys([*labels, UNKNOWN])),
            "state_topic": topic,
            "value_template": "{{ value_json.label }}",
            "json_attributes_topic": topic,
            **shared,
        },
        f"{prefix}/sensor/{identifier}/score/config": {
            "name": "Score",
            "unique_id": f"{identifier}_score",
            "state_class": "measurement",
            "unit_of_measurement": "%",
            "state_topic": topic,
            "value_template": "{{ (value_json.score * 100) | round(1) }}",
            **shared,
        },
    }
    if picture_topic is not None:
        documents[f"{prefix}/image/{identifier}/picture/config"] = {
            "name": "Picture",
            "unique_id": f"{identifier}_picture",
            "image_topic": picture_topic,
            "content_type": "image/jpeg",
            **shared,
        }
    return documents

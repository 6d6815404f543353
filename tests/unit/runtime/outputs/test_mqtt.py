"""MQTT with a real broker: the state, the last will, Home Assistant's documents, refusals."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime._version import __version__
from runtime.outputs.credentials import OutputSettingError
from runtime.outputs.home_assistant import discovery_documents
from runtime.outputs.mqtt import MqttSink, read_mqtt_credentials
from runtime.outputs.outputs import Outputs
from runtime.outputs.sink import OutputError
from tests.support.broker import Broker, Subscriber, needed_program, running_broker
from tests.support.outputs import event_of, wait_until

pytest.importorskip("paho.mqtt.client")  # an extra, which a device may lack

ROOT = Path(__file__).parents[4]
LABELS = ["closed", "open"]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with running_broker(tmp_path / "broker") as broker:
        yield broker


def test_a_subscriber_hears_each_event_and_the_state_is_retained(broker: Broker) -> None:
    subscriber = Subscriber(broker, "house/door/#")
    with Outputs([MqttSink(f"{broker.url}/house/door", LABELS)]) as outputs:
        wait_until(lambda: "house/door/availability 0 1 online" in subscriber.lines)
        for label in ("open", "closed"):
            outputs.tell(event_of(label))
        wait_until(lambda: len(subscriber.of("house/door")) == 2)
        assert json.loads(broker.retained("house/door") or b"") == {"number": 2, **event_of("closed").as_dict()}
        assert broker.retained("house/door/availability") == b"online"
    wait_until(lambda: "house/door/availability 0 1 offline" in subscriber.lines)
    subscriber.stop()
    told = [json.loads(payload) for payload in subscriber.of("house/door")]
    assert told == [{"number": n, **event_of(label).as_dict()} for n, label in ((1, "open"), (2, "closed"))]
    assert broker.retained("house/door/availability") == b"offline"


def test_a_killed_process_is_offline_by_its_last_will(broker: Broker, tmp_path: Path) -> None:
    code = f"""
        import sys, time
        from runtime.outputs.mqtt import MqttSink
        from runtime.outputs.outputs import Outputs
        outputs = Outputs([MqttSink({broker.url + "/door"!r}, ["a", "b"])])
        time.sleep(60)
    """
    device = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT)
    wait_until(lambda: broker.retained("door/availability", 1) == b"online")
    device.kill()
    device.wait()
    wait_until(lambda: broker.retained("door/availability", 1) == b"offline")


def test_a_broker_that_forgets_is_told_again(broker: Broker, tmp_path: Path) -> None:
    sink = MqttSink(f"{broker.url}/door", LABELS, takes_pictures=True)
    sink.pauses = (0.01, 0.1)
    with Outputs([sink]) as outputs:
        outputs.tell(event_of("open", picture=b"\xff\xd8picture"))
        wait_until(lambda: outputs.counts[sink.name].told == 1)
        broker.kill()
        for path in (tmp_path / "broker").glob("*.db*"):
            path.unlink()
        broker.start()
        wait_until(lambda: broker.retained("door/availability", 1) == b"online")
        assert json.loads(broker.retained("door") or b"")["label"] == "open"
        assert broker.retained("door/picture") == b"\xff\xd8picture"
        assert broker.retained("homeassistant/#", 1) is not None


SHARED: dict[str, Any] = {
    "availability_topic": "house/door/availability",
    "payload_available": "online",
    "payload_not_available": "offline",
    "qos": 1,
    "device": {
        "identifiers": ["pocketlens_house_door_IDENT"],
        "name": "house/door",
        "manufacturer": "Pocketlens",
        "model": "Image classifier",
        "sw_version": __version__,
    },
    "origin": {"name": "Pocketlens", "sw_version": __version__},
}
#: Made by hand from Home Assistant's pages on MQTT sensors and images.
EXPECTED = {
    "homeassistant/sensor/pocketlens_house_door_IDENT/label/config": {
        "name": "Label",
        "unique_id": "pocketlens_house_door_IDENT_label",
        "device_class": "enum",
        "options": ["closed", "open", "unknown"],
        "state_topic": "house/door",
        "value_template": "{{ value_json.label }}",
        "json_attributes_topic": "house/door",
        **SHARED,
    },
    "homeassistant/sensor/pocketlens_house_door_IDENT/score/config": {
        "name": "Score",
        "unique_id": "pocketlens_house_door_IDENT_score",
        "state_class": "measurement",
        "unit_of_measurement": "%",
        "state_topic": "house/door",
        "value_template": "{{ (value_json.score * 100) | round(1) }}",
        **SHARED,
    },
    "homeassistant/image/pocketlens_house_door_IDENT/picture/config": {
        "name": "Picture",
        "unique_id": "pocketlens_house_door_IDENT_picture",
        "image_topic": "house/door/picture",
        "content_type": "image/jpeg",
        **SHARED,
    },
}


@pytest.mark.parametrize("pictures", [True, False])
def test_home_assistant_finds_the_device(broker: Broker, pictures: bool) -> None:
    subscriber = Subscriber(broker, "homeassistant/#")
    with Outputs([MqttSink(f"{broker.url}/house/door", LABELS, takes_pictures=pictures)]):
        count = 3 if pictures else 2
        wait_until(lambda: sum(line.startswith("homeassistant/") for line in subscriber.lines) == count)
    subscriber.stop()
    documents = [line.split(" ", 3) for line in subscriber.lines if line.startswith("homeassistant/")]
    found = json.dumps({topic: json.loads(text) for topic, _, _, text in documents})
    identifier = found.partition("pocketlens_house_door_")[2][:6]
    expected = {topic: document for topic, document in EXPECTED.items() if pictures or "/image/" not in topic}
    assert json.loads(found.replace(identifier, "IDENT")) == expected


def test_a_label_called_unknown_is_one_option() -> None:
    (label, _) = discovery_documents("door", ["unknown", "open"]).values()
    assert label["options"] == ["unknown", "open"]


def told_problem(sink: MqttSink) -> str:
    with pytest.raises(OutputError) as caught:
        sink.send(1, event_of("open"))
    sink.close()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_broker_that_is_not_there() -> None:
    problem = told_problem(MqttSink("mqtt://127.0.0.1:1/door", LABELS))
    assert problem == (
        "mqtt://127.0.0.1:1/door: Connection refused; check that the broker runs, and its address"
    )  # fmt: skip


def test_two_programs_with_one_topic_are_told_so(broker: Broker, caplog: pytest.LogCaptureFixture) -> None:
    sinks = [MqttSink(f"{broker.url}/door", LABELS) for _ in range(2)]
    for sink in sinks:
        sink.pauses = (0.01, 0.01)
    with Outputs(sinks[:1]), Outputs(sinks[1:]):
        wait_until(lambda: "and that no other program publishes to this topic" in caplog.text)


def test_a_broker_that_wants_a_password(tmp_path: Path) -> None:
    passwords = tmp_path / "passwords"
    subprocess.run([needed_program("mosquitto_passwd", "mosquitto"), "-b", "-c", passwords, "me", "secret"], check=True)
    (tmp_path / "rules").write_text("user me\ntopic write door/#\n")
    settings = f"allow_anonymous false\npassword_file {passwords}\nacl_file {tmp_path}/rules"
    with running_broker(tmp_path / "broker", settings) as broker:
        assert "Not authorized; check $POCKETLENS_MQTT_USER" in told_problem(MqttSink(f"{broker.url}/door", LABELS))
        wrong = MqttSink(f"{broker.url}/door", LABELS, credentials=("me", "wrong"))
        assert "Not authorized" in told_problem(wrong)
        right = MqttSink(f"{broker.url}/door", LABELS, credentials=("me", "secret"), discovery="")
        right.send(1, event_of("open"))
        right.close()
        elsewhere = MqttSink(f"{broker.url}/garage", LABELS, credentials=("me", "secret"), discovery="")
        assert "Not authorized to publish garage" in told_problem(elsewhere)


def test_tls_and_a_certificate_of_somebody_else(tmp_path: Path) -> None:
    openssl = needed_program("openssl", "openssl")
    for name in ("broker", "other"):
        subprocess.run(
            [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", tmp_path / f"{name}.key", "-out",
             tmp_path / f"{name}.pem", "-days", "2", "-subj", "/CN=localhost", "-addext",
             "subjectAltName=DNS:localhost"],
            check=True, capture_output=True,
        )  # fmt: skip
    tls = f"allow_anonymous true\ncertfile {tmp_path}/broker.pem\nkeyfile {tmp_path}/broker.key"
    with running_broker(tmp_path / "run", tls) as broker:
        url = f"mqtts://localhost:{broker.port}/door"
        trusting = MqttSink(url, LABELS, certificates=str(tmp_path / "broker.pem"))
        trusting.send(1, event_of("open"))
        trusting.close()
        for certificates in (None, str(tmp_path / "other.pem")):
            problem = told_problem(MqttSink(url, LABELS, certificates=certificates))
            assert "its certificate is not trusted: self" in problem
            assert problem.endswith("name the certificate of its authority with `mqtt_ca`")
        by_number = MqttSink(url.replace("localhost", "127.0.0.1"), LABELS, certificates=str(tmp_path / "broker.pem"))
        assert "not trusted: IP address mismatch" in told_problem(by_number)
        plain = told_problem(MqttSink(url.replace("mqtts", "mqtt"), LABELS))
        assert "the broker has ended the connection" in plain


def test_tls_with_a_broker_that_speaks_none(broker: Broker) -> None:
    problem = told_problem(MqttSink(f"{broker.url.replace('mqtt', 'mqtts')}/door", LABELS))
    assert "no TLS connection" in problem or "Connection reset" in problem


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("mqtt://me:secret@host/door", "`mqtt` holds a user name or a password"),
        ("mqtt://host", "no topic can be called ''; write one behind the host, such as mqtt://host/door"),
        ("mqtt://host/a/+/b", "no topic can be called 'a/+/b'"),
        ("http://host/door", "`mqtt` is 'http://host/door', expected an address like mqtt://broker.local/door"),
        ("mqtt://host:port/door", "`mqtt` is no address"),
    ],
)
def test_an_address_that_is_not_usable(url: str, problem: str) -> None:
    with pytest.raises(OutputSettingError) as caught:
        MqttSink(url, LABELS)
    assert problem in str(caught.value)
    assert "secret" not in str(caught.value)


def test_credentials_come_from_the_environment_or_a_file_of_the_owner_only(tmp_path: Path) -> None:
    assert read_mqtt_credentials(None, {}) is None
    variables = {"POCKETLENS_MQTT_USER": "me", "POCKETLENS_MQTT_PASSWORD": "secret"}
    assert read_mqtt_credentials(None, variables) == ("me", "secret")
    file = tmp_path / "credentials"
    file.write_text("me\nse cret\n")
    file.chmod(0o644)
    with pytest.raises(OutputSettingError, match=f"others can read this secret .mode 644.; chmod 600 {file}"):
        read_mqtt_credentials(str(file))
    file.chmod(0o600)
    assert read_mqtt_credentials(str(file), variables) == ("me", "se cret")
    file.write_text("me")
    with pytest.raises(OutputSettingError, match="1 lines, expected two"):
        read_mqtt_credentials(str(file))
    with pytest.raises(OutputSettingError, match="not a regular file"):
        read_mqtt_credentials(os.devnull)

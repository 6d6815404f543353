"""Telling a broker: the state retained, the last will "offline", each event acknowledged before the next.

The topics under the one that the user names, `door` for example:

    door               the newest event, JSON, retained
    door/availability  "online" or "offline", retained; "offline" is the last will
    door/picture       the picture of the newest event, a JPEG file, retained, where pictures are wanted

One event is under way at a time, and each connection is made anew, so an order can only repeat, never change.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import ssl
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from ..files import shown
from .credentials import OutputSettingError, read_address, read_secret_file
from .event import Event
from .home_assistant import discovery_documents
from .sink import OutputError, Sink, document_of

if TYPE_CHECKING:
    from paho.mqtt.client import Client
    from paho.mqtt.enums import MQTTProtocolVersion

USER_VARIABLE, PASSWORD_VARIABLE = "POCKETLENS_MQTT_USER", "POCKETLENS_MQTT_PASSWORD"
_PORTS = {"mqtt": 1883, "mqtts": 8883}
_TIMEOUT_S = 10.0
#: A broker that hears nothing for one and a half of this publishes the last will.
_KEEPALIVE_S = 20
_UNSUPPORTED = "Unsupported protocol version"


def read_mqtt_credentials(path: str | None, environment: Mapping[str, str] = os.environ) -> tuple[str, str] | None:
    """User name and password: the two lines of a file of the owner's only, else of the environment, else None.

    Raises:
        OutputSettingError: the file is not such a file.
    """
    if path is None:
        user = environment.get(USER_VARIABLE, "")
        return (user, environment.get(PASSWORD_VARIABLE, "")) if user else None
    lines = read_secret_file(path).splitlines()
    if len(lines) != 2 or not lines[0]:
        raise OutputSettingError(f"{shown(path)}: {len(lines)} lines, expected two: user name and password")
    return lines[0], lines[1]


class MqttSink(Sink):
    """Publishes events to an MQTT broker; needs paho-mqtt 2, the extra `mqtt`.

    Args:
        url: `mqtt://host/topic`, or `mqtts://host/topic` for TLS; a port may follow the host.
        labels: the model's labels, for Home Assistant.
        credentials: user name and password, or None.
        certificates: a file with the certificates that the broker's must come from; None for the system's.
        discovery: the topic under which Home Assistant looks for devices; "" publishes nothing there.
        takes_pictures: whether to publish the picture of each event.

    Raises:
        OutputSettingError: the address, the topic or the file of certificates is not usable.
    """

    kind = "mqtt"

    def __init__(
        self,
        url: str,
        labels: Sequence[str],
        *,
        credentials: tuple[str, str] | None = None,
        certificates: str | None = None,
        discovery: str = "homeassistant",
        takes_pictures: bool = False,
    ) -> None:
        cure = f"set ${USER_VARIABLE} and ${PASSWORD_VARIABLE}, or name a file with `mqtt_credentials`"
        self._address = read_address(url, "mqtt", _PORTS, "mqtt://broker.local/door", cure)
        self._topic = unquote(self._address.path).strip("/")
        if not self._topic or self._address.query or any(sign in self._topic for sign in "+#\0"):
            raise OutputSettingError(
                f"`mqtt` is {url[:200]!r}: no topic can be called {self._topic!r}; "
                f"write one behind the host, such as {self._address.scheme}://{self._address.host}/door"
            )
        self.takes_pictures = takes_pictures
        self.name = f"{self._address.scheme}://{self._address.host}:{self._address.port}/{self._topic}"
        self._credentials = credentials
        self._tls = _tls_context(certificates) if self._address.scheme == "mqtts" else None
        self._picture_topic = f"{self._topic}/picture" if takes_pictures else None
        self._documents = (
            discovery_documents(self._topic, labels, prefix=discovery, picture_topic=self._picture_topic)
            if discovery
            else {}
        )
        self._state: bytes | None = None
        self._picture: bytes | None = None
        self._connection: _Connection | None = None
        self._version = 5

    def send(self, number: int, event: Event) -> None:
        connection = self._connected()
        self._state = json.dumps(document_of(number, event)).encode()
        self._publish(connection, self._topic, self._state)
        if self._picture_topic is not None and event.picture is not None:
            self._picture = event.picture
            self._publish(connection, self._picture_topic, self._picture)

    def idle(self) -> None:
        self._connected()

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            is_told = False
            try:
                if connection.is_up:
                    self._publish(connection, f"{self._topic}/availability", b"offline")
                    is_told = True
            finally:
                connection.close(cleanly=is_told)

    def _connected(self) -> _Connection:
        """The connection; a new one is greeted with what its broker may have forgotten."""
        if self._connection is not None:
            if self._connection.is_up:
                return self._connection
            self._connection.close()
            self._connection = None
        connection = _Connection(self._client(), f"{self._topic}/availability")
        try:
            connection.open(self._address.host, self._address.port)
            for topic, document in self._documents.items():
                self._publish(connection, topic, json.dumps(document).encode())
            if self._state is not None:
                self._publish(connection, self._topic, self._state)
            if self._picture_topic is not None and self._picture is not None:
                self._publish(connection, self._picture_topic, self._picture)
            self._publish(connection, f"{self._topic}/availability", b"online")
        except (_RefusalError, OSError, ValueError) as error:
            connection.close()
            raise self._error(error) from error
        except OutputError:
            connection.close()
            raise
        self._connection = connection
        return connection

    def _client(self) -> Client:
        from paho.mqtt import client as paho  # here: an extra, which no other command needs
        from paho.mqtt.enums import CallbackAPIVersion

        versions: dict[int, MQTTProtocolVersion] = {4: paho.MQTTv311, 5: paho.MQTTv5}
        # The broker knows the same device again: the will of a connection that is still dying is published before the
        # new one begins. 23 characters are what each broker takes.
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"pocketlens{hashlib.sha256(self._topic.encode()).hexdigest()[:13]}",
            protocol=versions[self._version],
            reconnect_on_failure=False,
        )
        client.connect_timeout = _TIMEOUT_S
        if self._credentials is not None:
            client.username_pw_set(*self._credentials)
        if self._tls is not None:
            client.tls_set_context(self._tls)
        return client

    def _publish(self, connection: _Connection, topic: str, payload: bytes) -> None:
        try:
            connection.publish(topic, payload)
        except (_RefusalError, OSError, ValueError, RuntimeError) as error:
            connection.close()
            raise self._error(error) from error

    def _error(self, error: Exception) -> OutputError:
        reason = getattr(error, "strerror", None) or str(error)
        cure = "check that the broker runs, and its address"
        if isinstance(error, _RefusalError):
            cure = f"check ${USER_VARIABLE} and ${PASSWORD_VARIABLE}, or `mqtt_credentials`, and the broker's rules"
            if reason == _UNSUPPORTED:
                self._version, cure = 4, "version 3.1.1 is tried next"
        elif isinstance(error, _EndedError):
            cure = "check that the broker runs, and that no other program publishes to this topic"
        elif isinstance(error, ssl.SSLCertVerificationError):
            reason = f"its certificate is not trusted: {error.verify_message}"
            cure = "name the certificate of its authority with `mqtt_ca`"
        elif isinstance(error, ssl.SSLError):
            reason, cure = f"no TLS connection: {reason}", "check the port: 8883 is usual for mqtts://"
        return OutputError(f"{self.name}: {reason}; {cure}")


class _RefusalError(Exception):
    """The broker has answered, and does not want to."""


class _EndedError(ConnectionError):
    """The broker has ended the connection; so it does if another client has the same name."""


class _Connection:
    """One connection to a broker, from its beginning to its end; the client's thread reads what arrives."""

    def __init__(self, client: Client, availability: str) -> None:
        self._client = client
        self._changed = threading.Condition()
        self._answer: Any = None
        self._end: Any = None
        self._acknowledged: dict[int, Any] = {}
        client.will_set(availability, "offline", qos=1, retain=True)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish

    @property
    def is_up(self) -> bool:
        return self._answer is not None and self._end is None

    def open(self, host: str, port: int) -> None:
        self._client.connect(host, port, keepalive=_KEEPALIVE_S)
        self._client.loop_start()
        self._wait(lambda: self._answer is not None)
        if self._answer.is_failure:
            raise _RefusalError(str(self._answer))

    def publish(self, topic: str, payload: bytes) -> None:
        """Publish, retained, and wait until the broker has it."""
        number = self._client.publish(topic, payload, qos=1, retain=True).mid
        self._wait(lambda: number in self._acknowledged)
        reason = self._acknowledged.pop(number)
        if reason.is_failure:
            raise _RefusalError(f"{reason} to publish {topic}")

    def close(self, *, cleanly: bool = False) -> None:
        """End the connection; unless it ends cleanly, the broker publishes the last will."""
        if cleanly:
            self._client.disconnect()
        connected: Any = self._client.socket()
        if not cleanly and connected is not None:
            with suppress(OSError):
                connected.shutdown(socket.SHUT_RDWR)
        with self._changed:
            self._end = self._end or "closed"
        self._client.loop_stop()

    def _wait(self, condition: Any) -> None:
        with self._changed:
            done = self._changed.wait_for(lambda: condition() or self._end is not None, _TIMEOUT_S)
            if condition():
                return
        if not done:
            raise TimeoutError(f"no answer within {_TIMEOUT_S:g} s")
        raise _EndedError(f"the broker has ended the connection: {self._end}")

    def _on_connect(self, _client: Client, _data: object, _flags: object, reason: Any, _properties: object) -> None:
        with self._changed:
            self._answer = reason
            self._changed.notify_all()

    def _on_disconnect(self, _client: Client, _data: object, _flags: object, reason: Any, _properties: object) -> None:
        with self._changed:
            self._end = reason
            self._changed.notify_all()

    def _on_publish(self, _client: Client, _data: object, number: int, reason: Any, _properties: object) -> None:
        with self._changed:
            self._acknowledged[number] = reason
            self._changed.notify_all()


def _tls_context(certificates: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=certificates)
    except (OSError, ssl.SSLError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OutputSettingError(
            f"{shown(certificates or 'the certificates of the system')}: cannot be used: {reason}; name a file of "
            "certificates in PEM with `mqtt_ca`"
        ) from error

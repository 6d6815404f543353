"""`pocketlens serve`."""

from __future__ import annotations

import ipaddress
import json
import logging
import os
import socket
import stat
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from .._version import __version__
from ..errors import ContractError, UsageError
from ..files import read_regular_file, shown
from ..input_spec import FeaturesInput
from ..memory import share_heap
from ..serve.listener import LOOPBACK, ServeError, open_listener, url_of
from ..service import Service
from .app import Command, with_options
from .click_options import option_in
from .followed_model import RELOAD, RunningModel, running_model
from .live import print_event, print_json_event
from .model_options import (
    ANSWER_OPTIONS,
    EXTERNAL_OPTIONS,
    INTERPRETER_OPTIONS,
    MODEL,
    TRUSTED,
)
from .options import JSON_OPTION
from .output import print_json, print_line
from .output_options import ByteSize

if TYPE_CHECKING:
    from ..serve.live_view import LiveView

TOKEN_VARIABLE = "POCKETLENS_TOKEN"
_SHORTEST_TOKEN = 16
_LONGEST_TOKEN = 1024
#: Seconds for a camera to stop when the server ends.
_RELEASE_S = 5.0


@click.command(
    cls=Command,
    extra="serve",
    requires=("starlette", "uvicorn", "python_multipart"),
    example="pocketlens serve --model int8.tflite\n"
    "curl --data-binary @photo.jpg http://127.0.0.1:8000/v1/classify\n"
    "pocketlens serve --model door.tflite --source rpi\n"
    "POCKETLENS_TOKEN=$(cat token) pocketlens serve --host 0.0.0.0",
)
@with_options(MODEL, *INTERPRETER_OPTIONS, TRUSTED, *ANSWER_OPTIONS, *EXTERNAL_OPTIONS)
@RELOAD
@option_in("Server")(
    "--host", metavar="ADDRESS", default=LOOPBACK, show_default=True, help="Listen there; 0.0.0.0 is every address."
)
@option_in("Server")(
    "--port",
    type=click.IntRange(0, 65_535),
    default=8000,
    show_default=True,
    help="Listen on this port; 0 takes a free one.",
)
@option_in("Server")(
    "--token",
    "token_file",
    metavar="FILE",
    help=f"A file of yours alone with the token that clients must send.  [default: ${TOKEN_VARIABLE}]",
)
@option_in("Server")("--no-auth", is_flag=True, help="Let everybody who reaches another address ask.")
@option_in("Server")(
    "--allow-host",
    multiple=True,
    metavar="NAME",
    help="A further name of this machine; repeatable. [default: localhost, and the machine's own]",
)
@option_in("Server")(
    "--max-body", type=ByteSize(), metavar="SIZE", default="20MB", show_default=True, help="The largest request."
)
@option_in("Server")(
    "--max-requests",
    type=click.IntRange(1, 1000),
    default=32,
    show_default=True,
    help="Pictures that are answered or wait; beyond them it answers 503.",
)
@option_in("Server")(
    "--source",
    metavar="SOURCE",
    help="Show a camera's picture and its answers on the page; as for `live`. [default: none]",
)
@with_options(JSON_OPTION, group="Output")
def serve(
    host: str,
    port: int,
    token_file: str | None,
    no_auth: bool,
    allow_host: tuple[str, ...],
    max_body: int,
    max_requests: int,
    source: str | None,
    as_json: bool,
    **model: Any,
) -> None:
    """Answer pictures over HTTP, until SIGTERM or Ctrl-C: POST /v1/classify gives what `classify --json` prints.

    Other addresses: / is a page that tries a picture, /v1/model, /healthz, /metrics (Prometheus), /openapi.json; with
    --source also /v1/live, /v1/live/picture.jpg and /v1/live/events.

    On another address than this machine's own, clients must send a token (`Authorization: Bearer TOKEN`), or --no-auth
    is given. There is no encryption: outside of a network that you trust, put a server in front that has it.
    """
    token = _token(token_file)
    if token is None and not no_auth and not _is_loopback(host):
        raise UsageError(
            f"--host {shown(host)} lets others in: give --token FILE or ${TOKEN_VARIABLE}, or --no-auth if all may ask."
        )
    if no_auth and token is not None:
        raise UsageError("--no-auth and a token exclude each other.")
    share_heap()  # before threads are started
    with (
        Service() as service,
        open_listener(host, port) as listener,
        running_model("serve", service, **model) as running,
    ):
        spec = running.contract.input
        if isinstance(spec, FeaturesInput):
            raise ContractError(f"the model takes {spec.describe()}, and serve answers pictures")
        live = _live_view(source, running, as_json) if source is not None else None
        _run(service, listener, running, token, allow_host, max_body, max_requests, live, as_json)


def _run(
    service: Service,
    listener: socket.socket,
    running: RunningModel,
    token: str | None,
    names: tuple[str, ...],
    max_body: int,
    max_requests: int,
    live: LiveView | None,
    as_json: bool,
) -> None:
    from ..serve.app import PictureServer, ServedModel
    from ..serve.connections import HttpServer
    from ..serve.limits import ServeLimits

    limits = ServeLimits()._replace(body_bytes=max_body, requests=max_requests)
    limits = limits._replace(all_bodies_bytes=max(limits.all_bodies_bytes, 2 * max_body))
    logging.getLogger("uvicorn").setLevel(logging.ERROR)  # its warnings are about what strangers send
    pictures = PictureServer(
        ServedModel(running.classify, partial(_description, running)), limits, os.cpu_count() or 1, token, names, live
    )

    def start() -> None:
        if live is not None:
            live.start()
        url, address = url_of(listener), listener.getsockname()
        if as_json:
            print_json({"url": url, "host": address[0], "port": address[1]})
        else:
            print_line(f"listening on {url}")
        service.status(f"listening on {url}")
        service.ready()

    end: Callable[[], object] = (lambda: None) if live is None else live.close
    try:
        HttpServer(pictures.app, pictures.connections, service.keep_going, start, end).listen(listener)
    finally:
        pictures.close()
        if live is not None:
            live.join(_RELEASE_S)


def _description(running: RunningModel) -> dict[str, Any]:
    contract = running.follower.current().contract
    return {
        "labels": list(contract.labels),
        "contract": json.loads(contract.to_json()),
        "sha256": running.follower.sha256,
        "version": __version__,
    }


def _live_view(source: str, running: RunningModel, as_json: bool) -> LiveView:
    from ..camera.reader import FrameReader, open_source
    from ..live.stabilizer import Stabilizer
    from ..serve.live_view import LiveView

    try:
        reader = FrameReader(open_source(source))
    except ValueError as error:
        raise UsageError(str(error)) from error
    show = print_json_event if as_json else print_event
    return LiveView(reader, running.follower, Stabilizer.for_model(running.contract), show)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _token(path: str | None) -> str | None:
    """The token of a file or of the environment, which other accounts cannot read; None if there is none.

    Raises:
        ServeError: the file cannot be read, or its token cannot be one.
    """
    if path is None:
        text, where = os.environ.get(TOKEN_VARIABLE, ""), f"${TOKEN_VARIABLE}"
        if not text:
            return None
    else:
        content, where = read_regular_file(path, _LONGEST_TOKEN, _TokenFileError)
        text = content.decode("latin-1").strip()
        if os.stat(path).st_mode & (stat.S_IRWXG | stat.S_IRWXO):  # noqa: PTH116 - as it was named
            print_line(f"warning: {where}: other accounts may read it; chmod 600", error=True)
    if len(text) < _SHORTEST_TOKEN or not (text.isascii() and text.isprintable()) or " " in text:
        raise ServeError(
            f"{where}: a token of {len(text)} characters, expected at least {_SHORTEST_TOKEN} letters, digits and "
            "signs, such as openssl rand -hex 16 prints"
        )
    return text


class _TokenFileError(ServeError):
    """The file of the token cannot be read."""

"""The routes of a server, and how each is answered."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from ..errors import InputError, PocketlensError, describe, shortened
from ..files import BYTES_NAME, STANDARD_INPUT, shown
from ..postprocessing import Prediction
from .connections import Connections
from .guard import Guard
from .limits import RETRY_AFTER_S, BodyReader, RefusedRequestError, ServeLimits
from .live_view import LiveView
from .metrics import CONTENT_TYPE, ServeMetrics
from .openapi import MOST_PREDICTIONS, describe_api
from .page import PAGE

_log = logging.getLogger(__name__)

_MULTIPART = "multipart/form-data"
_RETRY = {"Retry-After": str(RETRY_AFTER_S)}
_CUT_OFF = 499


class ServedModel(NamedTuple):
    """A model that answers pictures.

    Attributes:
        classify: gives the predictions for a picture's bytes; `top` overrides how many.
        describe: gives what `GET /v1/model` answers.
    """

    classify: Callable[..., list[Prediction]]
    describe: Callable[[], dict[str, Any]]


class PictureServer:
    """An ASGI application that answers pictures over HTTP.

    Args:
        model: answers the pictures.
        limits: what requests may cost.
        workers: threads that answer pictures.
        token: what clients must send; None demands nothing.
        names: further names of this machine.
        live: what is seen by a source; None for none.

    Attributes:
        app: the ASGI application.
        connections: the connections of the server that runs it.
    """

    def __init__(
        self,
        model: ServedModel,
        limits: ServeLimits,
        workers: int,
        token: str | None = None,
        names: Collection[str] = (),
        live: LiveView | None = None,
    ) -> None:
        self._model = model
        self._limits = limits
        self._live = live
        self._bodies = BodyReader(limits)
        self._workers = ThreadPoolExecutor(workers, "pocketlens-serve")
        self._metrics = ServeMetrics()
        self._api = describe_api(limits, has_token=token is not None, has_source=live is not None)
        self.connections = Connections(limits)
        routes = [
            Route("/v1/classify", self._classify, methods=["POST"]),
            Route("/v1/model", self._describe_model),
            Route("/healthz", self._health),
            Route("/metrics", self._show_metrics),
            Route("/openapi.json", self._openapi),
            Route("/", self._page),
        ]
        if live is not None:
            routes.append(Route("/v1/live", self._newest))
            routes.append(Route("/v1/live/picture.jpg", self._live_picture))
            routes.append(Route("/v1/live/events", self._events))
        handlers: Any = {HTTPException: _answer_http_error, Exception: _answer_unexpected}
        self.app = Guard(Starlette(routes=routes, exception_handlers=handlers), token, names)

    def close(self) -> None:
        """End the threads; what is being answered is finished first."""
        self._workers.shutdown(cancel_futures=True)

    async def _classify(self, request: Request) -> Response:
        began = time.perf_counter()
        name = STANDARD_INPUT
        status, headers = 200, {}
        try:
            top = _top(request)
            with await self._bodies.read(request) as body:
                name, picture = await _picture(request, body)
                del body
                predictions = await self._answer(picture, top)
            answer: dict[str, Any] = {"path": name, "predictions": [each.as_dict() for each in predictions]}
        except ClientDisconnect:
            status, answer = _CUT_OFF, {}
        except RefusedRequestError as error:
            status, answer = error.status, {"path": name, "error": str(error)}
            headers = _RETRY if status == 503 else {}
        except InputError as error:
            # The classifier was given bytes, and does not know the picture's name.
            text = describe(error).replace(BYTES_NAME, "picture" if name == STANDARD_INPUT else name, 1)
            status, answer = 400, {"path": name, "error": text}
        except PocketlensError as error:
            _log.warning("warning: %s", error)
            status, answer = 500, {"path": name, "error": describe(error)}
        self._metrics.count(status, time.perf_counter() - began)
        return JSONResponse(answer, 400 if status == _CUT_OFF else status, headers)

    async def _answer(self, picture: bytes, top: int | None) -> list[Prediction]:
        metrics = self._metrics
        if metrics.under_way >= self._limits.requests:
            raise RefusedRequestError(
                503, f"{metrics.under_way} pictures are being answered, the limit; try again in {RETRY_AFTER_S} s"
            )
        options = {} if top is None else {"top": top}
        metrics.under_way += 1
        work = self._workers.submit(self._model.classify, picture, **options)
        loop = asyncio.get_running_loop()

        def end(_work: object) -> None:
            metrics.under_way -= 1

        future = asyncio.wrap_future(work, loop=loop)
        future.add_done_callback(end)
        return await asyncio.shield(future)

    async def _describe_model(self, _request: Request) -> Response:
        return JSONResponse(self._model.describe())

    async def _health(self, _request: Request) -> Response:
        problem = self._live.problem if self._live is not None else ""
        if problem:
            return JSONResponse({"status": "failed", "error": problem}, 503)
        return JSONResponse({"status": "ok"})

    async def _show_metrics(self, _request: Request) -> Response:
        statistics = None if self._live is None else self._live.statistics
        return Response(self._metrics.text(self.connections, statistics), headers={"Content-Type": CONTENT_TYPE})

    async def _openapi(self, _request: Request) -> Response:
        return JSONResponse(self._api)

    async def _page(self, _request: Request) -> Response:
        return HTMLResponse(PAGE.html, headers=PAGE.headers)

    async def _newest(self, _request: Request) -> Response:
        assert self._live is not None
        return JSONResponse(self._live.newest())

    async def _live_picture(self, _request: Request) -> Response:
        assert self._live is not None
        try:
            picture = await asyncio.wrap_future(self._workers.submit(self._live.picture))
        except InputError as error:
            return JSONResponse({"error": describe(error)}, 503, _RETRY)
        if picture is None:
            return JSONResponse({"error": "the source has given no frame yet; try again later"}, 503, _RETRY)
        return Response(picture, media_type="image/jpeg")

    async def _events(self, _request: Request) -> Response:
        assert self._live is not None
        if self._live.viewers >= self._limits.viewers:
            return JSONResponse({"error": f"{self._live.viewers} viewers, the limit; try again later"}, 503, _RETRY)
        stream: AsyncIterator[bytes] = self._live.stream()
        return StreamingResponse(stream, media_type="text/event-stream")


class _FormParser(MultiPartParser):
    #: The body is in memory already: no part of it goes to the disk.
    spool_max_size = 2**31
    max_file_size = 2**31  # the name until starlette 0.46


async def _picture(request: Request, body: bytes) -> tuple[str, bytes]:
    """The name and the bytes of the one picture of a request; raises RefusedRequestError."""
    if not request.headers.get("content-type", "").lower().startswith(_MULTIPART):
        if not body:
            raise RefusedRequestError(400, "the body is empty; send a picture, as in curl --data-binary @photo.jpg")
        return STANDARD_INPUT, body

    async def parts() -> AsyncGenerator[bytes, None]:
        yield body

    try:
        form = await _FormParser(request.headers, parts(), max_files=1, max_fields=8).parse()
    except MultiPartException as error:
        raise RefusedRequestError(400, f"the form cannot be read: {_plain(error.message)}; send one picture") from error
    except Exception as error:  # the parser raises other kinds too, such as for a missing boundary
        raise RefusedRequestError(400, f"the form cannot be read: {_plain(str(error))}; send one picture") from error
    try:
        for value in form.values():
            if isinstance(value, UploadFile):
                return _plain(value.filename or STANDARD_INPUT), await value.read()
    finally:
        await form.close()
    raise RefusedRequestError(400, "the form has no file; send a picture, as in curl --form picture=@photo.jpg")


def _plain(text: str) -> str:
    return shown(shortened(text, 200, 50))


def _top(request: Request) -> int | None:
    """The number of predictions that a request asks for; raises RefusedRequestError."""
    text = request.query_params.get("top")
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 6 and 1 <= int(text) <= MOST_PREDICTIONS):
        raise RefusedRequestError(
            400, f"top is {_plain(text)!r}, expected a whole number from 1 to {MOST_PREDICTIONS:,}"
        )
    return int(text)


def _answer_http_error(_request: Request, error: HTTPException) -> Response:
    cure = {404: "no such address; / shows a page, and /openapi.json says what there is", 405: "no such method here"}
    return JSONResponse({"error": cure.get(error.status_code, error.detail)}, error.status_code, error.headers)


def _answer_unexpected(_request: Request, error: Exception) -> Response:
    _log.error("unexpected %s: %s", type(error).__name__, shortened(str(error), 400, 50))
    return JSONResponse({"error": "unexpected error; the log of the server has more"}, 500)

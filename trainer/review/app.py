"""The server behind the page: which pictures come next, their content, decisions and undo."""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from runtime import Classifier, ImageError, PocketlensError
from runtime.errors import describe
from runtime.files import shown
from runtime.serve.connections import Connections
from runtime.serve.guard import Guard
from runtime.serve.limits import BodyReader, RefusedRequestError, ServeLimits

from .class_folders import ClassFolders, ReviewError
from .decisions import LABEL, NONE, SKIP, Decision, Decisions
from .page import REVIEW_PAGE
from .pictures import Examination, find_pictures
from .ranking import Ranking
from .shown_picture import picture_for_page

_log = logging.getLogger(__name__)

#: What a decision is sent as has a few hundred bytes.
_LIMITS = ServeLimits(body_bytes=64 * 1024, all_bodies_bytes=2**20, connections=64)
_EXCHANGE_PATH = "/v1/token"
_MOST_AT_ONCE, _MOST_SCORES = 64, 10

_Result = TypeVar("_Result")


class Review:
    """A review: its pictures, its decisions, and an ASGI application for the page.

    Args:
        folder: the review folder.
        dataset: where labelled pictures go.
        token: what the page must send.
        code: what the page may exchange for the token, once: other accounts can read the arguments of programs, so that
            a browser is started with a code that is of no use afterwards. None for no such code.
        model: as for `Examination`.

    Attributes:
        app: the ASGI application.
        connections: the connections of the server that runs it.

    Raises:
        ReviewError: there are no pictures.
        OSError: the decisions cannot be read or written.
    """

    def __init__(
        self,
        folder: Path,
        dataset: ClassFolders,
        token: str,
        model: Classifier | None = None,
        code: str | None = None,
    ) -> None:
        self._token, self._code = token, code
        self._folder, self._dataset = folder, dataset
        own = folder.resolve()
        if own == dataset.root or own in dataset.root.parents or dataset.root in own.parents:
            raise ReviewError(f"{shown(folder)}: one of it and the data set lies in the other; keep them side by side")
        self._paths = find_pictures(folder)
        self._places = {path: place for place, path in enumerate(self._paths)}
        self._ranking = Ranking(len(self._paths))
        #: How often something was decided or undone: answers may reach the page in another order.
        self._revision = 0
        self._decisions = Decisions(folder, dataset)
        for decision in self._decisions.made:
            self._follow(decision)
        self._examination = Examination(folder, self._paths, self._ranking, dataset, model)
        #: One thread: decisions are carried out in the order in which they arrive.
        self._writer = ThreadPoolExecutor(1, "pocketlens-review-write")
        self._readers = ThreadPoolExecutor(2, "pocketlens-review-read")
        self._bodies = BodyReader(_LIMITS)
        self.connections = Connections(_LIMITS)
        routes = [
            Route("/", self._page),
            Route("/v1/review", self._describe),
            Route("/v1/pictures", self._next),
            Route("/v1/pictures/{place:int}", self._picture),
            Route("/v1/pictures/{place:int}/about", self._about),
            Route("/v1/decisions", self._decide, methods=["POST"]),
            Route("/v1/undo", self._undo, methods=["POST"]),
            Route(_EXCHANGE_PATH, self._exchange, methods=["POST"]),
        ]
        refusals = dict.fromkeys((PocketlensError, OSError, Exception), _answer_refusal)
        handlers: Any = {HTTPException: _answer_http_error, **refusals}
        app = Starlette(routes=routes, exception_handlers=handlers)
        self.app = Guard(app, token, public=("/", _EXCHANGE_PATH))

    def start(self) -> None:
        """Begin to look at the pictures."""
        self._examination.start()

    def close(self) -> None:
        """End the threads; a decision that is being carried out is finished first."""
        self._writer.shutdown()
        self._readers.shutdown(cancel_futures=True)
        self._examination.close()

    def summary(self) -> dict[str, Any]:
        """What was decided so far: pictures of each label, of none of the classes, skipped, and those that are left."""
        made = self._decisions.made
        counts = self._ranking.counts()
        return {
            "labelled": dict(sorted(Counter(one.label for one in made if one.action == LABEL).items())),
            "copies": sum(len(one.copies) for one in made if one.action == LABEL),
            "none": sum(one.action == NONE for one in made),
            "skipped": counts["skipped"],
            "unreadable": counts["unreadable"],
            "left": counts["waiting"],
            "pictures": len(self._paths),
        }

    def _follow(self, decision: Decision, *, back: bool = False) -> None:
        """Let the ranking know of a decision, or of its undo."""
        places = [self._places[file] for file in decision.files if file in self._places]
        if back:
            self._ranking.reopen(places)
        elif decision.action == SKIP:
            self._ranking.skip(places)
        else:
            self._ranking.decide(places, is_labelled=decision.action == LABEL)
        self._revision += 1

    async def _page(self, _request: Request) -> Response:
        return HTMLResponse(REVIEW_PAGE.html, headers=REVIEW_PAGE.headers)

    async def _exchange(self, request: Request) -> Response:
        given = str((await self._body(request)).get("code", ""))
        code, self._code = self._code, None  # also a wrong one ends it: somebody guesses
        if code is None or not hmac.compare_digest(given.encode(errors="replace"), code.encode()):
            raise RefusedRequestError(401, "the code was used already, or is wrong; open the address that was printed")
        return JSONResponse({"token": self._token})

    async def _describe(self, _request: Request) -> Response:
        return JSONResponse(
            {
                "folder": shown(self._folder),
                "dataset": shown(self._dataset.root),
                "classes": self._dataset.classes,
                **self._progress(),
            }
        )

    def _progress(self) -> dict[str, Any]:
        examination = self._examination
        # The revision comes first: counts that are newer than it do no harm.
        revision = self._revision
        return {"stage": examination.stage, "done": examination.done, "revision": revision, **self._ranking.counts()}

    async def _next(self, request: Request) -> Response:
        wanted = request.query_params.get("count", "")
        count = int(wanted) if wanted.isascii() and wanted.isdecimal() and len(wanted) < 4 else 1
        places = self._ranking.first(max(1, min(count, _MOST_AT_ONCE)))
        return JSONResponse({"pictures": [self._item(place) for place in places], **self._progress()})

    def _item(self, place: int) -> dict[str, Any]:
        note = self._examination.note_of(place)
        classes = set(self._dataset.classes)
        scores = sorted(((score, label) for label, score in note.scores.items() if label in classes), reverse=True)
        return {
            "place": place,
            "name": shown(self._paths[place]),
            "scores": [[label, round(score, 4)] for score, label in scores[:_MOST_SCORES]],
            "reason": note.reason,
            "device": note.device,
            "time": note.moment,
            "copies": self._ranking.copies_of(place),
        }

    async def _about(self, request: Request) -> Response:
        return JSONResponse(self._item(self._checked(request.path_params["place"])))

    async def _picture(self, request: Request) -> Response:
        place = self._checked(request.path_params["place"])
        path, small = self._folder / self._paths[place], "small" in request.query_params
        try:
            content, kind = await self._in(self._readers, picture_for_page, path, small)
        except ImageError as error:
            self._ranking.leave_out(place)
            _log.warning("warning: set aside, as it cannot be read: %s", error)
            return JSONResponse({"error": describe(error)}, 410)
        return Response(content, media_type=kind)

    async def _decide(self, request: Request) -> Response:
        given = await self._body(request)
        action, label = given.get("action"), given.get("label", "")
        place = self._checked(given.get("picture"))
        if action not in (LABEL, NONE, SKIP) or not isinstance(label, str) or (action != LABEL and label):
            raise RefusedRequestError(400, "a decision has `picture`, `action` (label, none or skip), and a `label`")
        await self._in(self._writer, self._make, place, action, label, bool(given.get("alone")))
        return JSONResponse(self._progress())

    def _make(self, place: int, action: str, label: str, alone: bool) -> None:
        path = self._paths[place]
        same = self._decisions.of(path)
        if same is not None and same.action != SKIP:
            if (same.action, same.label) == (action, label):
                return  # it was sent twice
            raise RefusedRequestError(409, f"{shown(path)}: has a decision already; undo it first")
        if alone:
            self._ranking.separate(place)
        copies = [self._paths[other] for other in self._ranking.copies_of(place)]
        note = self._examination.note_of(place)
        known = [name for name in note.scores if name in self._dataset.classes]
        guess = max(known, key=note.scores.__getitem__, default="")
        decision = self._decisions.decide(action, path, note, label=label, guess=guess, copies=copies)
        self._follow(decision)

    async def _undo(self, request: Request) -> Response:
        await self._body(request)
        decision = await self._in(self._writer, self._take_back)
        place = None if decision is None else self._places.get(decision.file)
        return JSONResponse({"picture": None if place is None else self._item(place), **self._progress()})

    def _take_back(self) -> Decision | None:
        decision = self._decisions.undo()
        if decision is not None:
            self._follow(decision, back=True)
        return decision

    def _checked(self, place: Any) -> int:
        if not isinstance(place, int) or isinstance(place, bool) or not 0 <= place < len(self._paths):
            raise RefusedRequestError(404, "there is no such picture in this review")
        return place

    async def _body(self, request: Request) -> dict[str, Any]:
        try:
            with await self._bodies.read(request) as content:
                given = json.loads(content or b"{}")
        except (ValueError, RecursionError) as error:
            raise RefusedRequestError(400, "the body is no JSON") from error
        if not isinstance(given, dict):
            raise RefusedRequestError(400, "the body is no JSON object")
        return given

    async def _in(self, pool: ThreadPoolExecutor, function: Callable[..., _Result], *arguments: Any) -> _Result:
        return await asyncio.shield(asyncio.wrap_future(pool.submit(function, *arguments)))


async def _answer_http_error(_request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 500)
    return JSONResponse({"error": "no such address; / shows the page"}, status)


async def _answer_refusal(_request: Request, error: Exception) -> Response:
    if isinstance(error, RefusedRequestError):
        return JSONResponse({"error": str(error)}, error.status)
    if isinstance(error, ReviewError):
        return JSONResponse({"error": describe(error)}, 400)
    _log.warning("warning: %s", describe(error))
    return JSONResponse({"error": describe(error)}, 507 if isinstance(error, OSError) else 500)

"""The description of the server's routes, in OpenAPI 3.1."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .._version import __version__
from .guard import PUBLIC_PATHS
from .limits import ServeLimits

#: The largest number of labels that a model can have.
MOST_PREDICTIONS = 10_000
_STATUSES = {
    "400": "The picture or the request cannot be read.",
    "401": "The token is missing or wrong.",
    "403": "A page of another site has asked.",
    "408": "The body was too slow.",
    "413": "The body is too large.",
    "421": "The host is no name of this server.",
    "500": "The model has failed.",
    "503": "Too much is under way.",
}
_ANY_REQUEST = ("403", "421")
_PICTURE: dict[str, Any] = {"schema": {"type": "string", "contentMediaType": "application/octet-stream"}}


def describe_api(limits: ServeLimits, *, has_token: bool, has_source: bool) -> dict[str, Any]:
    """The description of a server.

    Args:
        limits: named in the texts.
        has_token: whether clients must send a token.
        has_source: whether there is a live picture.
    """
    paths: dict[str, Any] = {
        "/v1/classify": {"post": _classify(limits)},
        "/v1/model": {"get": _get("model", "The labels, the contract and the hash of the model.", _schema("Model"))},
        "/healthz": {"get": _get("health", "Whether the server works.", _schema("Health"), ("503",))},
        "/metrics": {"get": _get("metrics", "Counts, in the text format of Prometheus.", {"text/plain": {}})},
        "/openapi.json": {"get": _get("description", "This description.", {"application/json": {}})},
        "/": {"get": _get("page", "A page that tries a picture.", {"text/html": {}})},
    }
    if has_source:
        live = "The last answer of the source, the last changes and counts."
        paths["/v1/live"] = {"get": _get("live", live, _schema("Live"))}
        paths["/v1/live/picture.jpg"] = {"get": _get("picture", "The last frame.", {"image/jpeg": {}}, ("503",))}
        events = "Server-sent events: history, answer, change and problem."
        paths["/v1/live/events"] = {"get": _get("events", events, {"text/event-stream": {}}, ("503",))}
    if has_token:
        for path, methods in paths.items():
            for operation in methods.values():
                operation["security"] = [] if path in PUBLIC_PATHS else [{"token": []}]
                if path not in PUBLIC_PATHS:
                    operation["responses"] |= _errors(("401",))
    components: dict[str, Any] = {"schemas": _SCHEMAS}
    if has_token:
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Pocketlens", "version": __version__, "description": "Answers pictures with a model."},
        "paths": paths,
        "components": components,
    }


def _classify(limits: ServeLimits) -> dict[str, Any]:
    top = {"type": "integer", "minimum": 1, "maximum": MOST_PREDICTIONS}
    form = {"type": "object", "required": ["picture"], "properties": {"picture": _PICTURE["schema"]}}
    return {
        "operationId": "classify",
        "summary": f"The best labels of a picture of at most {limits.body_bytes:,} bytes.",
        "parameters": [{"name": "top", "in": "query", "schema": top, "description": "The number of predictions."}],
        "requestBody": {
            "required": True,
            "content": {
                "image/*": _PICTURE,
                "application/octet-stream": _PICTURE,
                "multipart/form-data": {"schema": form},
            },
        },
        "responses": {
            "200": {"description": "The predictions, best first.", "content": _schema("Answer")},
            **_errors(("400", *_ANY_REQUEST, "408", "413", "500", "503")),
        },
    }


def _get(name: str, summary: str, content: dict[str, Any], errors: Iterable[str] = ()) -> dict[str, Any]:
    answers = {"200": {"description": summary, "content": content}}
    return {"operationId": name, "summary": summary, "responses": {**answers, **_errors((*_ANY_REQUEST, *errors))}}


def _errors(statuses: Iterable[str]) -> dict[str, Any]:
    return {status: {"description": _STATUSES[status], "content": _schema("Error")} for status in statuses}


def _schema(name: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}


def _object(required: Iterable[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": [*required], "properties": properties}


_TEXT, _NUMBER = {"type": "string"}, {"type": "number"}
_PREDICTION = _object(("label", "score", "index"), label=_TEXT, score=_NUMBER, index={"type": "integer", "minimum": -1})
_SCHEMAS = {
    "Prediction": _PREDICTION,
    "Answer": _object(
        ("path", "predictions"),
        path=_TEXT,
        predictions={"type": "array", "minItems": 1, "items": {"$ref": "#/components/schemas/Prediction"}},
    ),
    "Error": _object(("error",), error=_TEXT, path=_TEXT),
    "Health": _object(("status",), status=_TEXT),
    "Model": _object(
        ("labels", "contract", "sha256", "version"),
        labels={"type": "array", "items": _TEXT},
        contract={"type": "object"},
        sha256=_TEXT,
        version=_TEXT,
    ),
    "Live": _object(
        ("answer", "changes", "statistics"),
        answer={"type": ["object", "null"]},
        changes={"type": "array", "items": {"type": "object"}},
        statistics={"type": "object"},
    ),
}

"""Which models may be published: those whose report says that they passed their gates."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from runtime.files import read_regular_file, shown
from runtime.model_file import read_model

from ..errors import RepositoryError

_MAX_REPORT_BYTES = 2**24
_REPORT_NAME = "report.json"
_FORCE = "; add it all the same with `force`, and the signed metadata says so"


class Admitted(NamedTuple):
    """A model that may be published.

    Attributes:
        content: the model file.
        report: the report, b"" if there is none.
        forced: why its report does not vouch for it; "" where it does.
        notes: texts for the signed metadata.
    """

    content: bytes
    report: bytes
    forced: str
    notes: dict[str, str]


def admit(model: Path, report: Path | None = None, *, force: bool = False) -> Admitted:
    """Read a model and its report, and refuse what the report does not vouch for.

    Args:
        model: a model that `pocketlens export` made.
        report: its report; by default the report.json beside it.
        force: take it all the same, if only the report is against it.

    Raises:
        ModelFileError, ContractError: it is no such model.
        RepositoryError: the report is missing, describes other files, or says that a gate failed.
    """
    file = read_model(model)
    content = bytes(file.content)
    path = model.parent / _REPORT_NAME if report is None else report
    document, notes, problem = b"", {"labels": str(len(file.contract.labels))}, ""
    try:
        document = read_regular_file(path, _MAX_REPORT_BYTES, RepositoryError)[0]
        entry = _entry(document, file.sha256, shown(path))
        problem = _problem(entry)
        notes |= _figures(entry)
    except RepositoryError as error:
        if not force:
            raise RepositoryError(f"{error}{_FORCE}") from error
        problem = str(error)
    if problem and not force:
        raise RepositoryError(f"{shown(model)}: its report says: {problem}{_FORCE}")
    return Admitted(content, document, problem[:300], notes)


def _entry(document: bytes, digest: str, name: str) -> dict[str, Any]:
    """What a report says of the model with a digest; `"passed"` is that of the whole report."""
    try:
        found = json.loads(document)
        entry = next((one for one in found["models"] if one["sha256"] == digest), None)
        passed = found["passed"] is True
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise RepositoryError(f"{name}: no report of `pocketlens export`") from error
    if not isinstance(entry, dict):
        raise RepositoryError(f"{name}: it describes no model with the SHA-256 {digest[:12]}...; export the model anew")
    return {**entry, "passed": passed}


def _problem(entry: dict[str, Any]) -> str:
    """The gates that failed, or "" if all were passed; float32 has none, as it is what the others are held against."""
    gates = entry.get("gates")
    try:
        failed = [str(gate["name"]) for gate in gates or () if gate["passed"] is not True]
    except (TypeError, KeyError) as error:
        raise RepositoryError("its report has gates that cannot be read") from error
    if failed or not isinstance(gates, list):
        return f"failed: {', '.join(failed) or 'no gate was checked'}"
    return "" if entry["passed"] else "another model of the export failed a gate"


def _figures(entry: dict[str, Any]) -> dict[str, str]:
    accuracy = entry.get("accuracy")
    return {"accuracy": f"{accuracy:.4f}"} if isinstance(accuracy, float) else {}

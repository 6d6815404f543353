"""The file of a device profile: JSON, with a version, and read strictly since it comes from elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import PocketlensError, shown_value
from ..files import PathLike, read_regular_file, write_whole
from ..interpreter import LIBRARIES
from ..tflite.workload import OperatorWork
from .probes import Probe

_FORMAT, _VERSION = "pocketlens-device-profile", 1
_FIELDS = {"format", "version", "pocketlens", "device", "machine", "processors", "probes", "settings"}
_PROBE_FIELDS = {"name", "operators", "tensor_bytes", "arena_bytes"}
_OPERATOR_FIELDS = (
    *("count", "name", "type", "inputs", "outputs"),
    *("multiply_adds", "bytes_read", "bytes_written", "weight_bytes"),
)
_SETTING_FIELDS = {"interpreter", "version", "threads", "times_ms", "grown_bytes"}
MAX_PROFILE_BYTES = 4 * 2**20
_MAX_PROBES, _MAX_OPERATORS, _MAX_SETTINGS = 2000, 20_000, 64
_MAX_TEXT, _MAX_NUMBER, _MAX_LENGTH, _MAX_RANK = 200, 10**12, 2**31, 8
_LEAST_MS, _MOST_MS = 1e-6, 1e6


class ProfileError(PocketlensError, ValueError):
    """A device profile cannot be read: it is damaged, of another version, or no profile."""


class Setting(NamedTuple):
    """One way to run a model, and the times of the probes.

    Attributes:
        interpreter, version: the interpreter library, one of `interpreter.LIBRARIES`, and its version.
        threads: the threads of one invocation.
        times_ms: the ms of a call of each probe; None for a probe that it refused.
        grown_bytes: how much memory each probe made the process allocate, from the interpreter to the first answer;
            None where that is not known.
    """

    interpreter: str
    version: str
    threads: int
    times_ms: tuple[float | None, ...]
    grown_bytes: tuple[int | None, ...]

    def describe(self) -> str:
        """In words, for one line."""
        return f"{LIBRARIES[self.interpreter]}, {self.threads} thread{'s' * (self.threads != 1)}"


class DeviceProfile(NamedTuple):
    """What a device measured.

    Attributes:
        device: its name.
        machine: its processor's kind, from `platform.machine()`.
        processors: how many processors the measurement could use.
        pocketlens: the version that measured.
        probes: what was measured.
        settings: how, and the times; at least one.
    """

    device: str
    machine: str
    processors: int
    pocketlens: str
    probes: tuple[Probe, ...]
    settings: tuple[Setting, ...]

    def to_json(self) -> str:
        """The content of its file: one line for each probe and each setting."""
        head = {
            "format": _FORMAT,
            "version": _VERSION,
            **{name: getattr(self, name) for name in ("pocketlens", "device", "machine", "processors")},
        }
        lines = [_compact(head)[:-1] + ',"probes":[']
        lines += [",\n".join(_compact({**_sizes(one), "operators": _grouped(one)}) for one in self.probes)]
        lines += ['],"settings":[', ",\n".join(_compact(one._asdict()) for one in self.settings), "]}"]
        return "\n".join(lines) + "\n"

    def write(self, path: Path) -> None:
        """Write its file beside its place and rename it; raises OSError."""
        write_whole(path, self.to_json().encode())


def read_profile(path: PathLike) -> DeviceProfile:
    """Read the file of a device profile.

    Raises:
        ProfileError: it cannot be read, is damaged, has another version, or is no profile.
    """
    content, name = read_regular_file(path, MAX_PROFILE_BYTES, ProfileError)
    return parse_profile(content, name)


def parse_profile(content: bytes, name: str = "profile") -> DeviceProfile:
    """The profile in the content of a file; `name` is the file's, for messages. Raises ProfileError."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ProfileError(f"{name}: not JSON; name a file that `pocketlens bench` wrote on the device") from error
    if not isinstance(document, dict) or document.get("format") != _FORMAT:
        raise ProfileError(f"{name}: no device profile; name a file that `pocketlens bench` wrote on the device")
    if document.get("version") != _VERSION:
        raise ProfileError(
            f"{name}: a profile of version {shown_value(document.get('version'))}, and this Pocketlens reads "
            f"{_VERSION}; measure the device again with the same Pocketlens"
        )
    try:
        return _profile(document)
    except _DamageError as damage:
        raise ProfileError(f"{name}: damaged: {damage}; copy it again, or measure the device again") from damage


class _DamageError(ValueError):
    """What is wrong with a document."""


def _profile(document: dict[str, Any]) -> DeviceProfile:
    _demand(set(document) == _FIELDS, f"its fields are {_names(document)}")
    probes = tuple(_probe(entry) for entry in _list(document, "probes", 1, _MAX_PROBES))
    _demand(len({probe.name for probe in probes}) == len(probes), "two probes have the same name")
    _demand(sum(len(probe.operators) for probe in probes) <= _MAX_OPERATORS, "it has too many operators")
    settings = tuple(_setting(entry, len(probes)) for entry in _list(document, "settings", 1, _MAX_SETTINGS))
    _demand(len({(one.interpreter, one.threads) for one in settings}) == len(settings), "two settings are the same")
    return DeviceProfile(
        device=_text(document, "device"),
        machine=_text(document, "machine"),
        processors=_integer(document, "processors", 1),
        pocketlens=_text(document, "pocketlens"),
        probes=probes,
        settings=settings,
    )


def _probe(entry: Any) -> Probe:
    _demand(isinstance(entry, dict) and set(entry) == _PROBE_FIELDS, "a probe has other fields")
    operators: list[OperatorWork] = []
    for one in _list(entry, "operators", 1, _MAX_OPERATORS):
        _demand(isinstance(one, dict) and set(one) == set(_OPERATOR_FIELDS), "an operator has other fields")
        inputs, outputs = (tuple(map(_shape, _list(one, name, 1, 16))) for name in ("inputs", "outputs"))
        counts = (_integer(one, name, 0) for name in _OPERATOR_FIELDS[5:])
        work = OperatorWork(_text(one, "name"), _text(one, "type"), (), (), inputs, outputs, *counts)
        copies = _integer(one, "count", 1)
        _demand(len(operators) + copies <= _MAX_OPERATORS, "it has too many operators")
        operators += [work] * copies
    sizes = _integer(entry, "tensor_bytes", 0), _integer(entry, "arena_bytes", 0)
    return Probe(_text(entry, "name"), tuple(operators), *sizes)


def _setting(entry: Any, probes: int) -> Setting:
    _demand(isinstance(entry, dict) and set(entry) == _SETTING_FIELDS, "a setting has other fields")
    library = entry["interpreter"]
    _demand(library in tuple(LIBRARIES), f"interpreter is {shown_value(library)}, expected {' or '.join(LIBRARIES)}")
    times = _list(entry, "times_ms", probes, probes)
    for time in times:
        good = isinstance(time, int | float) and not isinstance(time, bool) and _LEAST_MS <= time <= _MOST_MS
        _demand(time is None or good, f"a time is {shown_value(time)[:_MAX_TEXT]}, expected ms of a call")
    _demand(any(time is not None for time in times), "a setting has no times")
    grown = tuple(_list(entry, "grown_bytes", probes, probes))
    for size in grown:
        good = size is None or (type(size) is int and 0 < size <= _MAX_NUMBER)
        _demand(good, f"a size is {shown_value(size)[:_MAX_TEXT]}, expected a whole number above 0")
    return Setting(library, _text(entry, "version"), _integer(entry, "threads", 1), tuple(times), grown)


def _sizes(probe: Probe) -> dict[str, Any]:
    return {name: getattr(probe, name) for name in ("name", "tensor_bytes", "arena_bytes")}


def _grouped(probe: Probe) -> list[dict[str, Any]]:
    """The operators of a probe, equal ones in a row counted."""
    groups: list[dict[str, Any]] = []
    for work in probe.operators:
        entry = {name: value for name, value in work._asdict().items() if name not in ("reads", "writes")}
        if groups and all(groups[-1][name] == value for name, value in entry.items()):
            groups[-1]["count"] += 1
        else:
            groups.append({"count": 1, **entry})
    return groups


def _compact(document: object) -> str:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def _demand(condition: bool, what: str) -> None:
    if not condition:
        raise _DamageError(what)


def _names(document: dict[str, Any]) -> str:
    return shown_value(", ".join(sorted(document)))[:_MAX_TEXT]


def _list(document: dict[str, Any], name: str, least: int, most: int) -> list[Any]:
    value = document[name]
    good = isinstance(value, list) and least <= len(value) <= most
    _demand(good, f"{name} is no list of {least:,} to {most:,} entries")
    return list(value)


def _text(document: dict[str, Any], name: str) -> str:
    value = document[name]
    good = isinstance(value, str) and value.isprintable() and 0 < len(value) <= _MAX_TEXT
    _demand(good, f"{name} is no text of 1 to {_MAX_TEXT} characters")
    return str(value)


def _integer(document: dict[str, Any], name: str, least: int) -> int:
    value = document[name]
    good = type(value) is int and least <= value <= _MAX_NUMBER
    _demand(good, f"{name} is {shown_value(value)[:_MAX_TEXT]}, expected a whole number from {least}")
    return int(value)


def _shape(value: Any) -> tuple[int, ...]:
    good = isinstance(value, list) and len(value) <= _MAX_RANK
    _demand(good and all(type(n) is int and 0 <= n <= _MAX_LENGTH for n in value), "a shape is no list of lengths")
    return tuple(value)

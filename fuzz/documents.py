"""Changed documents: everything that is read from a file or a command line and is no image. Each is read or refused.

Half of the cases change bytes, as `mutations` does. The others change what the text means: a value of JSON, a cell or a
word becomes something that readers stumble over, such as a number of 400 digits, a deep list or an escape sequence.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fuzz.driver import CASE_SECONDS, PEAK_MB, Outcome
from fuzz.mutations import Rng, mutate
from fuzz.readers import Readers
from runtime import PocketlensError

_DEPTH = 100_000
_DEEP = "a list in a list in a list"
_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2**31, 2**63, -(2**63) - 1, 10**400, -(10**400), 0.5, -0.0, 1e308),
    *(
        float("nan"),
        float("inf"),
        float("-inf"),
        "",
        "0",
        "x" * 300,
        "\x1b[31m",
        "\x9b31m",
        "\0",
        "\ud800",
        "a\nb",
        "\u202e",
    ),
    *("../x", "/etc/passwd", "unknown", "=1+1", [], {}, [[]], [None], {"a": 1}, {"": {}}, [0] * 20, ["a", "a"], _DEEP),
)
_WORDS = (
    *(
        "",
        "0",
        "-1",
        "1e400",
        "9" * 400,
        "nan",
        "inf",
        "-0",
        "1_000",
        "0x10",
        "\u0661",
        '"',
        "'",
        '""',
        ";",
        ",",
        "\t",
        "\r",
    ),
    *(
        "\0",
        "\x1b[31m",
        "\u202e",
        "\ufeff",
        "../x",
        "/etc/passwd",
        "label",
        "path",
        "=1+1",
        "x" * 300,
        "{path}",
        "-",
        "--",
        "--top",
    ),
    *("--top=9", "--min-score", "--features", "--mean", "--labels", "--std", "--background", "--allow", "1,2,3", "0.5"),
)
_JSON = (
    *("contract", "plant contract", "sealed contract", "selftest", "values", "answer", "keras"),
    *("contract.json", "splits.json", "metrics.json", "profile"),
)
_TEXT = ("labels", "rows", "options", "table", "label file", "old journal", "history.csv")
_BINARY = ("flatbuffer", "archive", "journal", "idx", "checkpoint", "images.npy")
TARGETS = (*_JSON, *_TEXT, *_BINARY)


def cases(count: int, seed: int) -> list[list[Any]]:
    """`count` cases [target, seed, number], the targets in turn."""
    return [[TARGETS[number % len(TARGETS)], seed, number // len(TARGETS)] for number in range(count)]


def document(target: str, intact: bytes, seed: int, number: int) -> bytes:
    """The document of a case: the same bytes for the same seed and number."""
    rng = np.random.default_rng([seed, number])
    if number % 2 and target in _JSON:
        return _change_json(intact, rng)
    if number % 2 and target in _TEXT:
        return _change_words(intact, rng)
    return mutate(intact, seed, number // 2)[1]


def _change_json(intact: bytes, rng: Rng) -> bytes:
    """The text with one to three of its values, or the keys of an object, replaced."""
    found = json.loads(intact)
    for _ in range(int(rng.integers(1, 4))):
        place: Any = found
        while True:
            keys: list[Any] = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = keys[int(rng.integers(len(keys)))]
            if not isinstance(place[key], dict | list) or not place[key] or rng.random() < 0.3:
                value = _VALUES[int(rng.integers(len(_VALUES)))]
                if isinstance(place, dict) and rng.random() < 0.2:
                    place[str(value)] = place.pop(key)
                elif rng.random() < 0.1:
                    del place[key]
                else:
                    place[key] = json.loads(json.dumps(value))
                break
            place = place[key]
    text = json.dumps(found, ensure_ascii=rng.random() < 0.5)
    return text.replace(json.dumps(_DEEP), "[" * _DEPTH + "]" * _DEPTH).encode(errors="surrogatepass")


def _change_words(intact: bytes, rng: Rng) -> bytes:
    """The text with one to four of its words replaced, doubled or left out; words stand between separators."""
    words = re.split(rb"([,;:\n\t ])", intact)
    for _ in range(int(rng.integers(1, 5))):
        at = int(rng.integers(len(words)))
        word = _WORDS[int(rng.integers(len(_WORDS)))].encode()
        words[at : at + 1] = ([word], [words[at], word], [words[at]] * 2, [])[int(rng.integers(4))]
    return b"".join(words)


def runner(model: str, folder: Path) -> Callable[[list[Any]], tuple[str, str]]:
    """The function that tries a case in the child."""
    readers = Readers(folder, Path(model).read_bytes()).readers

    def run(case: list[Any]) -> tuple[str, str]:
        read, intact = readers[case[0]]
        content = document(case[0], intact, case[1], case[2])
        try:
            read(content)
        except PocketlensError as error:
            return ("refused" if "\n" not in str(error) else "raised"), str(error)[:1000]
        except Exception as error:
            return "raised", f"{type(error).__name__}: {error}"[:1000]
        return "answered", ""

    return run


def is_finding(outcome: Outcome) -> bool:
    """Whether a document was neither read nor refused in one line, or took too long or too much memory."""
    is_known = outcome.kind in ("refused", "answered")
    return not is_known or outcome.seconds > CASE_SECONDS or outcome.peak_mb > PEAK_MB

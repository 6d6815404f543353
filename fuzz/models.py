"""Mutated sealed models: each must be refused with a ModelFileError that names the file and a cure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fuzz.driver import Outcome
from fuzz.mutations import mutate, truncations
from runtime import Classifier, ModelFileError

#: The cures, as the messages word them.
_CURES = ("copy it again", "fetch it again", "export it")
_TRUNCATION_STEPS = 100


def cases(paths: list[Path], count: int, seed: int) -> list[list[Any]]:
    """`count` cases [kind, path, seed, number] over the models; at most half of them are truncations."""
    chosen: list[list[Any]] = []
    for place, path in enumerate(paths):
        share = count // len(paths) + (place < count % len(paths))
        lengths = truncations(path.stat().st_size, _TRUNCATION_STEPS)
        if len(lengths) > share // 2:
            lengths = [lengths[i * len(lengths) // (share // 2)] for i in range(share // 2)]
        chosen += [["truncate", str(path), seed, length] for length in lengths]
        chosen += [["mutate", str(path), seed, number] for number in range(share - len(lengths))]
    return chosen


def mutant(case: list[Any]) -> bytes:
    """The bytes of a case."""
    kind, path, seed, number = case
    data = Path(path).read_bytes()
    return data[:number] if kind == "truncate" else mutate(data, seed, number)[1]


def runner(folder: Path) -> Callable[[list[Any]], tuple[str, str]]:
    """The function that tries a case in the child."""
    target = folder / "mutant.tflite"

    def run(case: list[Any]) -> tuple[str, str]:
        target.write_bytes(mutant(case))
        try:
            Classifier(target)
        except ModelFileError as error:
            text = str(error)
            is_complete = str(target) in text and any(cure in text for cure in _CURES) and "\n" not in text
            return ("refused" if is_complete else "raised"), text
        except Exception as error:
            return "raised", f"{type(error).__name__}: {error}"
        return "answered", ""

    return run


def is_finding(outcome: Outcome) -> bool:
    """Whether a mutant was not refused."""
    return outcome.kind != "refused"

"""Mutated and hostile images: `classify` must answer or raise ImageError, in little time and memory."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from fuzz.corpus import corpus
from fuzz.driver import CASE_SECONDS, PEAK_MB, Outcome, begin
from fuzz.mutations import mutate, with_png_checksums
from fuzz.specials import FILES, SOURCES
from runtime import Classifier, ImageError
from runtime.image_formats import FIRST_WITH_STABLE_TIFFS, pillow_version

#: Intact files that are refused: floating-point pixels have no range, and older versions of Pillow decode some TIFFs
#: from memory that they have not cleared.
UNREADABLE = (
    "F.tif",
    *(("jpeg.tif", "group3.tif", "group4.tif") if pillow_version() < FIRST_WITH_STABLE_TIFFS else ()),
)
#: Calls for each source that changes while it is read: a single call would rarely meet a change.
_REPEATS = 20
#: Seconds. Some cases build hundreds of megabytes first; CASE_SECONDS limits only `classify`.
BUILD_SECONDS = 60.0


def cases(count: int, seed: int, *, with_specials: bool = True) -> list[list[Any]]:
    """`count` cases: the specials, then the files of the corpus, then mutants of these files in turn."""
    whole = corpus()
    chosen: list[list[Any]] = []
    if with_specials:
        chosen += [["file", name, 0] for name in FILES]
        for name in SOURCES:
            chosen += [["source", name, n] for n in range(_REPEATS if "while read" in name else 1)]
    chosen += [["whole", name, 0] for name in whole]
    names = list(whole)
    chosen += [["mutant", names[n % len(names)], seed, n // len(names)] for n in range(max(0, count - len(chosen)))]
    return chosen[:count]


_corpus = cache(corpus)


def image(case: list[Any]) -> bytes:
    """The bytes of a case of kind file, whole or mutant."""
    kind, name = case[:2]
    if kind == "file":
        return FILES[name]()
    data = _corpus()[name]
    if kind == "whole":
        return data
    mutant = mutate(data, case[2], case[3])[1]
    # Half of the PNGs get past their checksums.
    return with_png_checksums(mutant) if name.endswith(".png") and case[3] % 2 else mutant


def runner(model: str, folder: Path) -> Callable[[list[Any]], tuple[str, str]]:
    """The function that tries a case in the child; files and mutants are given alternately as paths and as bytes."""
    classifier = Classifier(model)
    target = folder / "image"

    def classify(source: Any) -> tuple[str, str]:
        begin()
        try:
            classifier.classify(source)
        except ImageError as error:
            text = str(error)
            return ("refused" if text and "\n" not in text else "raised"), text
        except Exception as error:
            return "raised", f"{type(error).__name__}: {error}"
        return "answered", ""

    def run(case: list[Any]) -> tuple[str, str]:
        if case[0] == "source":
            with SOURCES[case[1]](folder) as source:
                return classify(source)
        if case[0] == "file":
            _write_in_fork(target, case)
            return classify(target)
        data = image(case)
        if case[-1] % 2:
            return classify(data)
        target.write_bytes(data)
        return classify(target)

    return run


def _write_in_fork(target: Path, case: list[Any]) -> None:
    """Write a case's file in a forked process, so that its memory does not count for this one."""
    child = os.fork()
    if child == 0:
        try:
            target.write_bytes(image(case))
            os._exit(0)
        finally:
            os._exit(1)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status:
        raise RuntimeError(f"{case} could not be made: exit status {status}")


def is_finding(outcome: Outcome) -> bool:
    """Whether a case crashed, hung, failed unexpectedly or exceeded a limit, or an intact picture was refused."""
    return (
        outcome.kind not in ("refused", "answered")
        or outcome.peak_mb > PEAK_MB
        or outcome.seconds > CASE_SECONDS
        or (outcome.case[0] == "whole" and outcome.kind != "answered" and outcome.case[1] not in UNREADABLE)
    )

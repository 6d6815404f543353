"""`--index`: one sample of a data set, by its number in a split or in the whole data set, or at random."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from runtime.cli.options import Option
from runtime.errors import UsageError
from runtime.files import shown

from ..data.run_folder import SPLIT_NAMES
from ..data.sources import Indices

_RANDOM = "random"
_WHOLE = "all"
_SPLITS = {**{name: name for name in SPLIT_NAMES}, "val": "validation", _WHOLE: ""}


class SampleIndex(NamedTuple):
    """A sample as people name it.

    Attributes:
        split: the split in which `place` counts; "" for the whole data set.
        place: from 0; None for a random one.
    """

    split: str
    place: int | None

    @property
    def text(self) -> str:
        """The value of the option."""
        place = _RANDOM if self.place is None else str(self.place)
        return f"{self.split}:{place}" if self.split else place

    def find(self, splits: Mapping[str, Indices], count: int, dataset: str, seed: int | None) -> int:
        """The index of the sample in the whole data set.

        Args:
            splits: the splits of the data set by name; empty if it cannot be split.
            count: the number of samples.
            dataset: the name of the data set, for messages.
            seed: of a random choice; None for another sample each time.

        Raises:
            UsageError: there is no such sample.
        """
        if self.split and not len(splits.get(self.split, ())):
            raise UsageError(f"--index {self.text}: {shown(dataset)} has no {self.split} split; use a number alone")
        members = np.sort(splits[self.split]) if self.split else np.arange(count)
        if self.place is None:
            return int(np.random.default_rng(seed).choice(members))
        if not 0 <= self.place < len(members):
            start = f"{self.split}:" if self.split else ""
            raise UsageError(
                f"--index {self.text}: {shown(dataset)} has the samples {start}0 to {start}{len(members) - 1}"
            )
        return int(members[self.place])


def name_in_split(index: int, splits: Mapping[str, Indices]) -> str:
    """The name of a sample within its split, such as `test:12`; "" for a sample in no split."""
    for name, members in splits.items():
        if index in members:
            return f"{name}:{int((np.asarray(members) < index).sum())}"
    return ""


def _parse(text: str) -> SampleIndex:
    head, colon, tail = text.lower().rpartition(":")
    if (colon and head not in _SPLITS) or not (tail == _RANDOM or re.fullmatch(r"-?\d{1,18}", tail)):
        raise ValueError(
            f"{text!r}, expected {_RANDOM}, a number in the whole data set, or one in a split, as in test:12 "
            f"or test:{_RANDOM}"
        )
    return SampleIndex(_SPLITS[head] if colon else "", None if tail == _RANDOM else int(tail))


def index_option(help_text: str) -> Option:
    """`--index` of a command; its value is a `SampleIndex`."""
    return Option(("--index",), f"{help_text} [default: no single image]", type=_parse, metavar="SPLIT:N|N|random")

"""The journal against a plain model of it, over random sequences of steps, restarts and kills."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from unittest import mock

import pytest

pytest.importorskip("hypothesis")

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from runtime.postprocessing import Prediction
from runtime.watch import journal as journals
from runtime.watch.journal import DEFAULT_NAME, Journal
from runtime.watch.journal_file import Answer, History, Identity

pytestmark = pytest.mark.fast

KEPT = 2
LETTERS = "abcde"
PATHS = st.sampled_from([f"{letter}.png" for letter in LETTERS] + ["deep/\udce9.png"])
NUMBERS = st.integers(0, 2**64)
ERRORS = st.sampled_from(["", "truncated"])


class JournalMachine(RuleBasedStateMachine):
    """Steps in any order; `rows` holds what the journal must hold."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.path = self.folder / DEFAULT_NAME
        self.patch = mock.patch.object(journals, "KEPT_ANSWERS", KEPT)
        self.patch.start()
        self.journal = Journal(self.path, self.folder)
        #: Each answer, whether it is delivered, and to where its image was moved.
        self.rows: list[tuple[Answer, bool, str | None]] = []

    def teardown(self) -> None:
        self.journal.close()
        self.patch.stop()
        shutil.rmtree(self.folder)

    @initialize(skipped=st.dictionaries(PATHS, st.builds(Identity, NUMBERS, NUMBERS, NUMBERS), max_size=3))
    def begin(self, skipped: dict[str, Identity]) -> None:
        assert self.journal.is_new
        self.journal.begin(skipped)
        self.rows = [(Answer(path, identity, skipped=True), True, None) for path, identity in skipped.items()]

    @rule(path=PATHS, identity=st.builds(Identity, NUMBERS, NUMBERS, NUMBERS), error=ERRORS, deliver=st.booleans())
    def add(self, path: str, identity: Identity, error: str, deliver: bool) -> None:
        if any(answer.path == path for answer in self.journal.undelivered()):
            return  # a watch delivers what is left before it answers
        answer = Answer(path, identity, () if error else (Prediction("cat", 0.25, 0),), error)
        self.journal.add(answer)
        self.rows.append((answer, False, None))
        if deliver:
            self.journal.mark_delivered(path)
            self.rows[-1] = (answer, True, None)

    @precondition(lambda self: any(not delivered for _, delivered, _ in self.rows))
    @rule(moved_to=st.sampled_from([None, "/out/a.png", "/out/\udce9"]))
    def deliver(self, moved_to: str | None) -> None:
        place = next(place for place, row in enumerate(self.rows) if not row[1])
        answer = self.rows[place][0]
        self.journal.mark_delivered(answer.path, moved_to)
        self.rows[place] = (answer, True, moved_to)

    @rule(present=st.sets(PATHS, max_size=4))
    def compact(self, present: set[str]) -> None:
        is_long = len(self.rows) >= 2 * max(KEPT, len(present))
        assert self.journal.compact_if_long(present) == is_long
        if is_long:
            newest = {row[0].path: place for place, row in enumerate(self.rows)}
            needed = {newest[path] for path in present if path in newest}
            first = len(self.rows) - KEPT
            self.rows = [row for place, row in enumerate(self.rows) if place >= first or place in needed or not row[1]]

    @rule()
    def restart(self) -> None:
        self.journal.close()
        assert [file.name for file in self.folder.iterdir()] == [DEFAULT_NAME]
        self.journal = Journal(self.path, self.folder)

    @rule()
    def kill(self) -> None:
        """What lies on the disk is all that a process that was killed leaves."""
        with tempfile.TemporaryDirectory() as kept:
            for suffix in ("", "-wal"):
                shutil.copy(f"{self.path}{suffix}", kept)
            self.journal.close()
            for file in Path(kept).iterdir():
                shutil.copy(file, self.folder)
        self.journal = Journal(self.path, self.folder)

    @invariant()
    def agrees(self) -> None:
        newest = {answer.path: answer.identity for answer, _, _ in self.rows}
        for path in [f"{letter}.png" for letter in LETTERS]:
            identity = newest.get(path)
            assert identity is None or self.journal.has(path, identity)
            assert not self.journal.has(path, Identity(-1, 0, 0))
            assert identity is not None or not any(self.journal.has(path, one) for one in newest.values())
        assert self.journal.undelivered() == [answer for answer, delivered, _ in self.rows if not delivered]
        if not self.journal.is_new:
            shown = [(answer, moved_to) for answer, _, moved_to in self.rows if not answer.skipped]
            assert list(History(self.path, self.folder)) == shown


def test_the_journal_agrees_with_a_plain_model() -> None:
    checked = settings(
        max_examples=40,
        phases=[Phase.generate],  # shrinking a failure would take minutes, as each step waits for the disk
        stateful_step_count=40,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        derandomize=True,
    )
    run_state_machine_as_test(JournalMachine, settings=checked)

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pytest

from runtime.errors import ActionError
from runtime.postprocessing import Prediction
from runtime.watch.hook import Hook

pytestmark = pytest.mark.fast

BEST = Prediction("sports car", 0.98765432, 4)
#: Writes its arguments and what it may not have into a file.
RECORD = (
    "import json, os, sys; json.dump([sys.argv[2:], 'NOTIFY_SOCKET' in os.environ, sys.stdin.read()], "
    "open(sys.argv[1], 'w'))"
)


@pytest.mark.parametrize(
    "name", ["a b.png", "x; touch INJECTED #.png", "$(touch INJECTED).png", "{label}'\"\\.png", "*"]
)
def test_what_is_filled_in_stays_in_its_argument(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NOTIFY_SOCKET", "/x")
    (tmp_path / "record.py").write_text(RECORD)
    program = Hook(f"{sys.executable} record.py out --in={{path}} '{{label}} is {{score}}' {{path}}")
    program.run(f"in/{name}", BEST)
    expected = [f"--in=in/{name}", "sports car is 0.987654", f"in/{name}"]
    assert json.loads((tmp_path / "out").read_text()) == [expected, False, ""]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "record.py"]


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("false", "ended with status 1"),
        ("sh -c 'kill -9 $$'", "ended with signal 9"),
        ("no-such-program {path}", "cannot be started: No such file"),
        ("/etc/passwd", "cannot be started: Permission denied"),
    ],
)
def test_a_failure_is_told(command: str, reason: str) -> None:
    with pytest.raises(ActionError, match=reason):
        Hook(command).run("a.png", BEST)


def test_one_that_takes_too_long_is_killed_with_its_children(tmp_path: Path) -> None:
    late = tmp_path / "late"
    calls: list[int] = []
    program = Hook(f"sh -c '(sleep 2; touch {late}) & sleep 60'", timeout=0.7)
    began = time.monotonic()
    with pytest.raises(ActionError, match=r"killed after 0\.7 s"):
        program.run("a.png", BEST, lambda: calls.append(1))
    assert time.monotonic() - began < 30
    assert len(calls) >= 2
    time.sleep(2.5)
    assert not late.exists()


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("", "empty"),
        ("echo 'x", "cannot be split"),
        ("echo {lable}", "unknown placeholder {lable}; there is {path}, {label}, {score}"),
        ("{label} x", "cannot choose which program"),
    ],
)
def test_a_command_that_cannot_be_meant(command: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason.replace("{", r"\{").replace("}", r"\}")):
        Hook(command)


def test_other_braces_are_left_alone() -> None:
    program = Hook("awk '{ print $1 }' {path} {}")
    assert program.arguments("x", BEST) == ["awk", "{ print $1 }", "x", "{}"]

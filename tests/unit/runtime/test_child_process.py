"""A function called in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runtime.child_process import ChildError, call_in_child, has_python
from runtime.errors import ImageError
from runtime.progress import progress

pytestmark = pytest.mark.fast

ROOT = Path(__file__).parents[3]


def _sum(*numbers: int) -> dict[str, object]:
    return {"sum": sum(numbers), "process": os.getpid(), "tensorflow": "tensorflow" in sys.modules}


def _refuse() -> None:
    raise ImageError("shoe.jpg: no image; give one")


def _die() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def _length(unit: str, content: bytes) -> str:
    return f"{len(content)} {unit}"


def _print() -> str:
    print("printed")
    os.write(1, b"written")
    return "returned"


def _wait() -> None:
    time.sleep(60)


def _interrupt() -> None:
    raise KeyboardInterrupt


def _variable(name: str) -> str | None:
    return os.environ.get(name)


def _work() -> None:
    with progress(2, "working hard") as bar:
        bar.update(2)


def test_the_result_comes_from_another_process() -> None:
    found = call_in_child(f"{__name__}:_sum", 1, 2, 3)
    assert found["sum"] == 6
    assert found["process"] != os.getpid()
    assert not found["tensorflow"]


def test_an_error_is_told_in_its_own_line() -> None:
    with pytest.raises(ChildError, match=r"^shoe.jpg: no image; give one$") as caught:
        call_in_child(f"{__name__}:_refuse")
    assert caught.value.status == 1


def test_a_signal_is_named() -> None:
    with pytest.raises(ChildError, match="SIGSEGV") as caught:
        call_in_child(f"{__name__}:_die")
    assert caught.value.status == -signal.SIGSEGV


def test_time_is_limited() -> None:
    with pytest.raises(ChildError, match=r"no answer within 0\.5 s") as caught:
        call_in_child(f"{__name__}:_wait", timeout=0.5)
    assert caught.value.status is None


def test_an_interrupted_child_interrupts_its_parent() -> None:
    with pytest.raises(KeyboardInterrupt):
        call_in_child(f"{__name__}:_interrupt")


def test_content_comes_after_the_arguments() -> None:
    assert call_in_child(f"{__name__}:_length", "bytes", content=bytes(100_000)) == "100000 bytes"


def test_what_the_function_prints_is_no_part_of_the_result() -> None:
    assert call_in_child(f"{__name__}:_print") == "returned"


def test_a_python_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/python")
    # Under qemu Python 3.13 learns of it from the status of the child that it has started.
    with pytest.raises(ChildError, match=r"/no/python cannot be started|its process ended with status 127"):
        call_in_child(f"{__name__}:_print")


def test_no_file_of_the_working_folder_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('the wrong json')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    assert call_in_child(f"{__name__}:_print") == "returned"


def test_variables_reach_the_child() -> None:
    assert call_in_child(f"{__name__}:_variable", "SHOE", variables={"SHOE": "left"}) == "left"


def test_progress_is_reported_as_by_the_parent(capfd: pytest.CaptureFixture[str]) -> None:
    call_in_child(f"{__name__}:_work", shows_progress=True)
    assert "working hard" not in capfd.readouterr().err
    from runtime.cli.app import report_progress
    from runtime.progress import Silent, report_to

    report_progress()
    try:
        call_in_child(f"{__name__}:_work", shows_progress=True)
    finally:
        report_to(Silent)
    assert "working hard" in capfd.readouterr().err


APPLICATION = """
import sys, threading
from pathlib import Path
Path(sys.argv[1]).open("a").write("start ")
sys.frozen, sys.executable = True, sys.argv[2]
if "thread" in sys.argv[3:]:
    threading.Thread(target=threading.Event().wait, daemon=True).start()
from runtime.child_process import ChildError, call_in_child, has_python
print("not printed twice", end="")
for name, arguments in (("_sum", (1, 2)), ("_refuse", ()), ("_die", ()), ("_wait", ()), ("_print", ()), ("_depth", ())):
    try:
        print(call_in_child(f"tests.unit.runtime.test_child_process:{name}", *arguments, timeout=5))
    except ChildError as error:
        print(error.status, error)
"""


def _depth() -> str | None:
    return os.environ.get("POCKETLENS_CHILD_DEPTH")


def _application(tmp_path: Path, executable: str, *arguments: str) -> list[str]:
    """What an application prints that would start itself again by `sys.executable`."""
    command = [sys.executable, "-c", APPLICATION, str(tmp_path / "starts"), executable, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    assert (tmp_path / "starts").read_text() == "start "
    return done.stdout.splitlines()


@pytest.mark.skipif(sys.platform != "linux", reason="forking is safe on Linux only")
@pytest.mark.parametrize("executable", [sys.executable, "", "/opt/app/bin/uwsgi"])
def test_a_frozen_application_forks(executable: str, tmp_path: Path) -> None:
    first, *others = _application(tmp_path, executable)
    assert first.startswith("not printed twice{'sum': 3, 'process': ")
    assert others == [
        "1 shoe.jpg: no image; give one",
        f"{-signal.SIGSEGV} its process died of SIGSEGV",
        "None it gave no answer within 5 s; is this machine busy?",
        "returned",
        "1",
    ]


def test_a_frozen_application_with_threads_says_that_it_cannot(tmp_path: Path) -> None:
    lines = _application(tmp_path, "/opt/app/bin/sorter", "thread")
    assert len(lines) == 6
    assert lines[0] == (
        "not printed twiceNone this application has no Python to start (/opt/app/bin/sorter), and forking it is safe "
        "before it has started a second thread only; `trusted=True` needs no child process"
    )


@pytest.mark.parametrize(
    ("executable", "frozen", "expected"),
    [
        ("/usr/bin/python3", False, True),
        ("/opt/pypy3.10/bin/pypy3.10", False, True),
        ("/usr/bin/python3", True, False),
        ("/opt/spyder/spyder", False, False),
        ("", False, False),
        (None, False, False),
    ],
)
def test_what_is_a_python(
    executable: str | None, frozen: bool, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", executable)
    monkeypatch.setattr(sys, "frozen", frozen, raising=False)
    assert has_python() is expected


def test_children_do_not_start_children_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETLENS_CHILD_DEPTH", "2")
    assert call_in_child("runtime.files:shown", "x") == "x"
    monkeypatch.setenv("POCKETLENS_CHILD_DEPTH", "3")
    with pytest.raises(ChildError, match="starts itself again"):
        call_in_child("runtime.files:shown", "x")

from __future__ import annotations

import json
import os
import subprocess
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


@pytest.mark.parametrize(
    "command",
    [
        "sh -c 'echo {path}'",
        "/bin/bash -ec 'echo {label}'",
        "bash -o pipefail -c 'echo {path} | cat'",
        "bash -c -e 'echo {path}'",
        "bash --norc --rcfile x -c 'echo {path}'",
        "timeout 5 nice sh -c 'echo {path}' _ x",
        "busybox ash -c 'echo {score}'",
        "fish --command='echo {path}'",
        "su pi -c 'echo {path}'",
        "su - pi -s /bin/sh -c 'echo {path}'",
        "flock lock -c 'echo {path}'",
        "su '' - -c 'echo {path}'",
        "env -S 'echo {path}'",
        "python3.11 -c 'print(\"{path}\")'",
        "python3 -W ignore '-cprint(\"{path}\")'",
        "perl -ne 'print \"{path}\"'",
        "node --eval 'console.log(\"{path}\")'",
        "ssh door notify {path}",
        "awk '{ print \"{path}\" }' x",
        "sed s/x/{path}/e y",
    ],
)
def test_a_name_in_code_is_refused(command: str) -> None:
    with pytest.raises(ValueError, match="is code") as caught:
        Hook(command)
    assert str(caught.value).endswith("""sh -c 'echo "$1"' _ {path}""")


@pytest.mark.parametrize(
    "command",
    [
        "sh -c 'echo \"$1\"' _ {path}",
        "sh script.sh -c {path}",
        "python3 notify.py -c {path}",
        "python3 -m notify -c {path}",
        "awk -f program.awk {path}",
        "flock lock notify -c {path}",
        "sed -n 1p {path}",
        "curl -F file=@{path} -e {label} https://example.org",
        "cp {path} sh",
        "env LABEL={label} notify {path}",
    ],
)
def test_a_name_that_is_an_argument_is_taken(command: str) -> None:
    assert "a b.png" in " ".join(Hook(command).arguments("a b.png", BEST))


def test_the_command_that_the_message_shows_works(tmp_path: Path) -> None:
    injected = tmp_path / "INJECTED"
    command = f"""sh -c 'printf %s "$1" > {tmp_path}/out' _ {{path}}"""
    Hook(command).run(f"$(touch {injected}); touch {injected}.png", BEST)
    assert (tmp_path / "out").read_text() == f"$(touch {injected}); touch {injected}.png"
    assert not injected.exists()


@pytest.mark.parametrize("locale", ["C", "POSIX", "de_DE.ISO-8859-1"])
def test_arguments_are_utf_8_in_any_locale(locale: str, tmp_path: Path) -> None:
    (tmp_path / "record.py").write_text("import os, sys; open('out', 'wb').write(os.fsencode(sys.argv[1]))")
    code = f"""
import os, sys
from runtime.postprocessing import Prediction
from runtime.watch.hook import Hook
from runtime.watch.sorter import Sorter
best, path = Prediction("\\u732b", 1.0, 0), os.fsdecode(b"\\xc3\\xa9\\xff.png")
Hook({f"{sys.executable} record.py {{label}}={{path}}"!r}).run(path, best)
os.makedirs(Sorter("sorted/{{label}}", ["\\u732b"]).folder("\\u732b"))
"""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("LC_")},
        "PYTHONPATH": str(Path.cwd()),
        "LC_ALL": locale,
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
    }
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)
    assert (tmp_path / "out").read_bytes() == "猫=é".encode() + b"\xff.png"
    assert [os.fsencode(path.name) for path in (tmp_path / "sorted").iterdir()] == ["猫".encode()]

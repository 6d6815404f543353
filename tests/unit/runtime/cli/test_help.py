"""Help texts at 80 columns: options in groups, whole words, every default; and what a shell completes."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click
import pytest
from click.shell_completion import ShellComplete

from runtime.cli.app import LazyGroup
from runtime.cli.main import COMMANDS
from tests.support.commands import answer, invoke, run_pocketlens

pytestmark = pytest.mark.fast

ROOT_GROUP = LazyGroup("pocketlens", lazy=COMMANDS)
#: Their headings, in order, without the last.
GROUPS = {
    "train": ["Data", "Network", "Training", "Output"],
    "find-lr": ["Data", "Network", "Training", "Output"],
    "evaluate": ["Data", "Output"],
    "data show": ["Data", "Output"],
    "search": ["Data", "Budget", "Choice", "Search", "Output"],
    "export": ["Conversion", "Gate", "External model", "Output"],
    "classify": ["Model", "Interpreter", "Answer", "External model", "Input", "Output"],
}


def commands(
    group: click.Group = ROOT_GROUP, before: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name in group.list_commands(click.Context(group)):
        found = group.get_command(click.Context(group), name)
        assert found is not None
        if isinstance(found, click.Group):
            yield from commands(found, (*before, name))
        if found.params or not isinstance(found, click.Group):
            yield (*before, name), found


EVERY = list(commands())
IDS = [" ".join(words) for words, _ in EVERY]


@pytest.mark.parametrize(("words", "command"), EVERY, ids=IDS)
def test_help_fits_80_columns_without_broken_words(
    words: tuple[str, ...], command: click.Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = answer(*words, "--help")
    assert all(len(line) <= 80 for line in text.splitlines())
    shown = {*re.split(r"\s+", text)}
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            described = re.sub(r"\[default.*", "", parameter.help or "", flags=re.DOTALL)
            assert {*described.split()} <= shown
            assert all(flag in text for flag in parameter.opts)
            assert described.strip().endswith("."), f"{parameter.opts}: no whole phrase"
    assert all(heading in text for heading in (f"{group} options:" for group in GROUPS.get(" ".join(words), ())))
    found = re.findall(r"^([A-Z][a-z ]+) options:$", text, re.MULTILINE)
    assert found == [] or found[-1] == "Other"
    assert " ".join(words) not in GROUPS or found[:-1] == GROUPS[" ".join(words)]


@pytest.mark.parametrize(("words", "command"), EVERY, ids=IDS)
def test_every_option_with_a_value_states_its_default(words: tuple[str, ...], command: click.Command) -> None:
    context = click.Context(command)
    for option in command.params:
        if isinstance(option, click.Option) and not option.is_flag:
            record = option.get_help_record(context)
            assert record is not None
            assert "[default: " in record[1] or option.required, f"{' '.join(words)} {option.opts}"
            assert not re.search(r"<=?x|x>=?|INTEGER|FLOAT", " ".join(record)), record


def test_the_words_that_people_look_for_are_there() -> None:
    text = " ".join(answer("train", "--help").split()).lower()
    for word in ("transfer learning", "fine-tuning", "early stopping", "overfitting", "decision boundary"):
        assert word in text


def completions(arguments: list[str], incomplete: str) -> list[str]:
    found = ShellComplete(ROOT_GROUP, {}, "pocketlens", "_POCKETLENS_COMPLETE").get_completions(arguments, incomplete)
    return [f"{item.type}:{item.value}" for item in found]


@pytest.mark.parametrize(
    ("arguments", "incomplete", "wanted"),
    [
        ([], "tr", {"plain:train"}),
        ([], "e", {"plain:evaluate", "plain:explain", "plain:export"}),
        (["data"], "s", {"plain:show", "plain:save"}),
        (["train"], "--learn", {"plain:--learning-rate"}),
        (["train", "--arch"], "mob", {"plain:mobilenet_v2", "plain:mobilenet_v3_small"}),
        (["train", "--dataset"], "fa", {"file:fa", "plain:fashion-mnist"}),
        (["train", "--out"], "runs/", {"file:runs/"}),
        (["classify", "--model"], "int", {"file:int"}),
        (["classify"], "sho", {"file:sho"}),
        (["export"], "runs/", {"file:runs/"}),
        (["completion"], "", {"plain:bash", "plain:zsh", "plain:fish"}),
        (["nonsense"], "x", set()),
    ],
)
def test_a_shell_completes(arguments: list[str], incomplete: str, wanted: set[str]) -> None:
    assert {*completions(arguments, incomplete)} == wanted


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_for_a_shell(shell: str) -> None:
    script = answer("completion", shell)
    assert f"_POCKETLENS_COMPLETE={shell}_complete" in script
    assert invoke("completion", "csh").exit_code == 2


def test_completing_a_command_imports_none_of_them() -> None:
    done = run_pocketlens(
        PYTHONVERBOSE="1", _POCKETLENS_COMPLETE="bash_complete", COMP_WORDS="pocketlens tr", COMP_CWORD="1"
    )
    assert done.stdout.split() == ["plain,train"]
    assert not re.search(r"^import '?(numpy|PIL|trainer|exporter|runtime\.cli\.classify)'? ", done.stderr, re.MULTILINE)


QUIET = {
    *(
        ("train",),
        ("update",),
        ("find-lr",),
        ("evaluate",),
        ("export",),
        ("data", "show"),
        ("data", "save"),
        ("bench",),
    ),
    *(("explain",), ("collect",), ("bundle",), ("compare",), ("data", "errors"), ("search",), ("search", "finish")),
}


def test_what_shows_progress_has_a_quiet_way() -> None:
    assert {words for words, _ in EVERY if "--quiet" in answer(*words, "--help")} == QUIET


@pytest.mark.workstation
def test_quiet_shows_results_alone() -> None:
    shown = invoke("data", "show", "digits")
    assert "looking at images" in shown.stderr
    hushed = invoke("data", "show", "digits", "--quiet")
    assert hushed.stderr == ""
    assert hushed.stdout == shown.stdout
    assert "looking at images" in invoke("data", "show", "digits").stderr, "the next command is not quiet"

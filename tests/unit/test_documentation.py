"""README and docs: links lead somewhere, commands and options exist, README stays short."""

from __future__ import annotations

import ast
import importlib.util
import re
import shlex
from pathlib import Path
from typing import Any

import click
import pytest
from PIL import Image

from runtime.cli.app import LazyGroup
from runtime.cli.main import COMMANDS
from tests.support.commands import ROOT
from tests.support.documentation import PAGES, SKIP, blocks

pytestmark = pytest.mark.fast

_LANGUAGES = {"bash", "python", "text"}


def _slug(heading: str) -> str:
    """The anchor of a heading, as MkDocs and GitHub make it."""
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower())


def _anchors(page: Path) -> set[str]:
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    own = set(COMMANDS) if page.name == "commands.md" else set()
    return own | {_slug(heading) for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_and_picture_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), f"{page.name}: {target}"
        assert not anchor or anchor in _anchors(found), f"{page.name}: {target}"


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:")[2]
    pages = {page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")}
    assert set(re.findall(r"[\w/-]+\.md", navigation)) == pages


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120


def test_pictures_are_small() -> None:
    pictures = sorted((ROOT / "docs/images").iterdir())
    shown = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert {"report.png", "predictions.png"} <= {picture.name for picture in pictures}
    for picture in pictures:
        assert picture.stat().st_size < 150_000, picture.name
        with Image.open(picture) as opened:
            assert opened.format == "PNG"
        assert f"images/{picture.name})" in shown, f"{picture.name} is on no page"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_blocks_say_what_they_are(page: Path) -> None:
    assert page.read_text(encoding="utf-8").count("\n```") == 2 * len(blocks(page))
    for block in blocks(page):
        assert block.language in _LANGUAGES, f"{block}: a block is one of {', '.join(sorted(_LANGUAGES))}"
        hidden = re.search(r"^(\$ )?(pocketlens|make) ", block.text, re.MULTILINE)
        assert block.language == "bash" or not hidden, f"{block}: commands go into a block of bash"
        if block.language == "python":
            compile(block.text, str(block), "exec")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_command_is_understood(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those too that are not run here: each option exists, and its value is of the right kind."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    monkeypatch.setattr(click.Path, "convert", lambda self, value, parameter, context: value)
    for block in blocks(page):
        for line in block.commands() if block.language == "bash" else ():
            if line.startswith("make "):
                assert shlex.split(line, comments=True)[1] in targets, f"{block}: {line}"
            for call in re.findall(r"(?:^|[|/] ?)pocketlens ((?:'[^']*'|\"(?:\\.|[^\"])*\"|[^|>;'\"])*)", line):
                _parse(shlex.split(call), f"{block}: {line}")


def _parse(arguments: list[str], where: str) -> None:
    command: click.Command = LazyGroup("pocketlens", lazy=COMMANDS)
    context = click.Context(command)
    try:
        while isinstance(command, click.Group) and not (command.params and arguments[0].startswith("-")):
            name, found, arguments = command.resolve_command(context, arguments)
            assert found is not None
            command = found
            context = click.Context(command, parent=context, info_name=name, allow_extra_args=True)
        command.parse_args(context, [*arguments])
    except click.UsageError as error:
        pytest.fail(f"{where}: {error.format_message()}")


def test_every_option_that_a_page_names_exists() -> None:
    known = {"--help", "--version", *_options(LazyGroup("pocketlens", lazy=COMMANDS))}
    others = {"--system-site-packages", "--platform"}
    for page in PAGES:
        text = re.sub(r"<!--.*?-->", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        foreign = {option for block in blocks(page) if block.how == SKIP for option in _named(block.text)}
        lines = re.findall(r"^python .*|`python [^`]*`", text, re.MULTILINE)
        foreign |= {option for line in lines for option in _named(line)}
        assert _named(text) <= known | others | foreign | {"--label"}, page.name


def _named(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text))


def _options(command: click.Command) -> set[str]:
    context = click.Context(command)
    found = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    if isinstance(command, click.Group):
        below = (command.get_command(context, name) for name in command.list_commands(context))
        found |= {option for each in below if each for option in _options(each)}
    return found


def test_the_reference_has_every_command_and_option() -> None:
    hooks = _hook("hooks")
    page = hooks.on_page_markdown((ROOT / "docs/reference/commands.md").read_text(encoding="utf-8"))
    assert hooks.PLACE not in page
    for name in COMMANDS:
        assert f"## {name} {{ #{name} }}" in page
    for option in _options(LazyGroup("pocketlens", lazy=COMMANDS)) - {"--json", "--debug"}:
        assert option in page
    assert len((ROOT / "docs/hooks.py").read_text(encoding="utf-8").splitlines()) <= 55


def test_the_messages_that_troubleshooting_quotes_are_in_the_sources() -> None:
    text = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
    rows = [line.split(" | ")[0].strip("| ") for line in text.splitlines() if line.startswith("| ")]
    quoted = [message for row in rows for message in re.findall(r"`([^`]+)`", row) if " " in message]
    written = _texts()
    assert len(quoted) > 60
    patterns = {message: ".*".join(re.escape(part) for part in message.split("...")) for message in quoted}
    assert not [message for message, pattern in patterns.items() if not re.search(pattern, written)]


def _texts() -> str:
    """The texts in the sources, a line each."""
    files = [file for package in ("runtime", "trainer", "exporter") for file in (ROOT / package).rglob("*.py")]
    lines = []
    for file in (ROOT / "pocketlens.py", *files):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                lines.append(
                    "".join(str(part.value) if isinstance(part, ast.Constant) else "*" for part in node.values)
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                lines.append(node.value)
    return "\n".join(" ".join(line.split()) for line in lines)


def test_the_list_of_messages_has_those_of_each_kind() -> None:
    page = _hook("messages").on_page_markdown((ROOT / "docs/reference/messages.md").read_text(encoding="utf-8"))
    for kind, part in {
        "ImageError": "not an image of a known format",
        "DatasetError": "no such folder or file",
    }.items():
        assert part in page.partition(f"## {kind}\n")[2].partition("\n## ")[0]


def _hook(name: str) -> Any:
    """A module of docs/, which MkDocs calls when it builds the site."""
    found = importlib.util.spec_from_file_location(name, ROOT / f"docs/{name}.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module

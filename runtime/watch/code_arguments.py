"""Which arguments of a command are code, so that no file's name may be filled into them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple


class _Interpreter(NamedTuple):
    """How a program takes code.

    Attributes:
        code: the letters of the options that code follows.
        valued: the letters of the options that another value follows.
        operands: the number of plain words that may stand before an option.
        first_is_code: the first plain word is code, unless the option `-f` names a file of code.
    """

    code: str
    valued: str = ""
    operands: int = 0
    first_is_code: bool = False


_SHELL = _Interpreter("c", "oO")
_AWK = _Interpreter("e", "fFvi", first_is_code=True)
_PERL = _Interpreter("eE")
_NODE = _Interpreter("ep", "r")
_SU = _Interpreter("c", "gGsw", operands=2)
_FILE_FIRST = _Interpreter("c", "EwITOBmo", operands=1)
_SHELLS = ("sh", "ash", "bash", "csh", "dash", "fish", "ksh", "mksh", "rbash", "tcsh", "yash", "zsh")
_INTERPRETERS = {
    **dict.fromkeys(_SHELLS, _SHELL),
    **dict.fromkeys(("su", "runuser"), _SU),
    **dict.fromkeys(("flock", "script"), _FILE_FIRST),
    **dict.fromkeys(("awk", "gawk", "mawk", "nawk"), _AWK),
    **dict.fromkeys(("node", "nodejs", "deno", "bun"), _NODE),
    **dict.fromkeys(("perl", "ruby"), _PERL),
    **dict.fromkeys(("python", "pypy"), _Interpreter("c", "WX")),
    **dict.fromkeys(("lua", "osascript"), _Interpreter("e", "l")),
    "sed": _Interpreter("e", "fl", first_is_code=True),
    "php": _Interpreter("rBRE", "dc"),
    "env": _Interpreter("S", "uC"),
}
#: Programs that join their arguments and give them to a shell.
_JOINING = frozenset({"ssh", "eval", "watch", "xterm"})
_LONG = frozenset(
    {"--command", "--eval", "--print", "--session-command", "--split-string", "--init-command", "--expression"}
)
_VALUED_LONG = frozenset({"--rcfile", "--init-file", "--require", "--file"})
_VERSION = re.compile(r"[-\d.]+$")


def code_arguments(arguments: Sequence[str]) -> list[int]:
    """The places of the arguments that a shell or an interpreter takes for code.

    A shell is found at any place, as another program may start it: `timeout 5 sh -c CODE`. The option before the code
    counts too, as some programs take both in one argument.

    Example:
        >>> code_arguments(["nice", "bash", "-o", "pipefail", "-ec", "echo $1", "_", "x"])
        [4, 5]
    """
    found: set[int] = set()
    for place, word in enumerate(arguments):
        name = word.rpartition("/")[2]
        if name in _JOINING and place == 0:
            found.update(range(1, len(arguments)))
        interpreter = _INTERPRETERS.get(name) or _INTERPRETERS.get(_VERSION.sub("", name))
        if interpreter is not None:
            found.update(_code_of(interpreter, arguments, place + 1))
    return sorted(found)


def _code_of(interpreter: _Interpreter, arguments: Sequence[str], place: int) -> list[int]:
    """The places of the code that an interpreter is given; its arguments begin at `place`."""
    found: list[int] = []
    operands, is_next = interpreter.operands, interpreter.first_is_code
    while place < len(arguments):
        word = arguments[place]
        if len(word) < 2 or not word.startswith(("-", "+")):
            if is_next:
                return [*found, place]
            if not operands:
                return found
            operands -= 1
        letters = word[1:] if word.startswith(("-", "+")) and not word.startswith("--") else ""
        if word.partition("=")[0] in _LONG or any(letter in interpreter.code for letter in letters):
            found.append(place)  # the code may be attached: -c'...', --eval=...
            is_next = True
        elif word in _VALUED_LONG or (letters and letters[-1] in interpreter.valued):
            is_next = is_next and letters[-1:] != "f" and word != "--file"
            place += 1
        place += 1
    return found

"""Writes runtime/tflite/_operator_versions.py by trying the installed interpreters.

    python -m tools.operator_versions > runtime/tflite/_operator_versions.py

An interpreter looks up all operators of a model when it is built, even those that no node uses. So a model that
only lists one operator, in one version, shows whether that version is known. Run it where both libraries are installed.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import textwrap

import flatbuffers

from runtime.interpreter import LIBRARIES
from runtime.native_output import held_stderr
from runtime.tflite._schema import IDENTIFIER, OPERATORS

#: When this was written, no operator had more than 13 versions.
_HIGHEST_TRIED = 40
_PLACEHOLDER = 127
_NO_OPERATORS = ("CUSTOM", "DELEGATE", "PLACEHOLDER_FOR_GREATER_OP_CODES")

HEADER = '''"""The versions of each operator that an interpreter knows; written by tools/operator_versions.py.

Measured with models that list one operator in one version; `5` means 1 to 5. Later releases know more, never less.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from .graph import OperatorUse
'''

FOOTER = '''

#: The custom operators that both libraries bring. Measured by hand: a node that lacks their options ends the process.
_CUSTOM = ("TFLite_Detection_PostProcess", "Mfcc", "AudioSpectrogram", "NumericVerify")


@cache
def known(library: str) -> dict[str, range]:
    """The versions of each built-in operator, by name, that the measured release of a library knows."""
    found = {}
    for word in _KNOWN[library].split():
        name, _, versions = word.partition(":")
        low, _, high = versions.rpartition("-")
        found[name] = range(int(low or 1), int(high) + 1)
    return found


def unknown_to(library: str, uses: Iterable[OperatorUse]) -> list[tuple[OperatorUse, int]]:
    """The operators that a library lacks, each with the highest version that it knows; 0 for none at all.

    Custom operators that no library brings count as lacking: a delegate or the model's author provides their code.

    Args:
        library: `"tflite_runtime"` or `"ai_edge_litert"`, in the release of `MEASURED`.
        uses: the operators of a model, from `model.operators`.
    """
    versions = known(library)
    nothing = range(1, 1)
    return [
        (use, versions.get(use.name, nothing).stop - 1)
        for use in uses
        if use.version not in versions.get(use.name, nothing) and use.custom not in _CUSTOM
    ]
'''


def listing(code: int, version: int) -> bytes:
    """A model that lists one operator and has no node."""
    builder = flatbuffers.Builder(256)
    text = builder.CreateString("")
    builder.StartObject(4)  # OperatorCode
    builder.PrependInt8Slot(0, min(code, _PLACEHOLDER), 0)
    builder.PrependInt32Slot(2, version, 1)
    builder.PrependInt32Slot(3, code, 0)
    codes = _vector(builder, builder.EndObject())
    builder.StartObject(3)  # Buffer
    buffers = _vector(builder, builder.EndObject())
    builder.StartVector(4, 1, 4)
    builder.PrependInt32(1)
    shape = builder.EndVector()
    builder.StartObject(4)  # Tensor
    builder.PrependUOffsetTRelativeSlot(0, shape, 0)
    builder.PrependUOffsetTRelativeSlot(3, text, 0)
    tensors = _vector(builder, builder.EndObject())
    builder.StartVector(4, 1, 4)
    builder.PrependInt32(0)
    only = builder.EndVector()
    builder.StartVector(4, 0, 4)
    nodes = builder.EndVector()
    builder.StartObject(5)  # SubGraph
    for slot, offset in enumerate((tensors, only, only, nodes)):
        builder.PrependUOffsetTRelativeSlot(slot, offset, 0)
    graphs = _vector(builder, builder.EndObject())
    builder.StartObject(5)  # Model
    builder.PrependUint32Slot(0, 3, 0)
    for slot, offset in ((1, codes), (2, graphs), (3, text), (4, buffers)):
        builder.PrependUOffsetTRelativeSlot(slot, offset, 0)
    builder.Finish(builder.EndObject(), IDENTIFIER)
    return bytes(builder.Output())


def _vector(builder: flatbuffers.Builder, table: int) -> int:
    builder.StartVector(4, 1, 4)
    builder.PrependUOffsetTRelative(table)
    return int(builder.EndVector())


def accepts(library: str, code: int, version: int) -> bool:
    """Whether a library knows an operator in a version."""
    module = importlib.import_module(f"{library}.interpreter")
    try:
        module.Interpreter(model_content=listing(code, version))
    except ValueError as error:
        if "Didn't find op" not in str(error) and "builtin_code out of range" not in str(error):
            raise
        return False
    return True


def versions(library: str, code: int) -> str:
    """The versions that a library knows: "" for none, "5" for 1 to 5, "2-3" for 2 to 3."""
    known = [version for version in range(1, _HIGHEST_TRIED + 1) if accepts(library, code, version)]
    if not known:
        return ""
    if known != list(range(known[0], known[-1] + 1)) or known[-1] == _HIGHEST_TRIED:
        raise SystemExit(f"{library} knows {OPERATORS[code]} in versions {known}: the table cannot express that")
    return f"{known[0]}-{known[-1]}" if known[0] > 1 else str(known[-1])


def main() -> None:
    """Print the module."""
    found = {}
    with held_stderr():
        for library in LIBRARIES:
            known = {name: versions(library, n) for n, name in enumerate(OPERATORS) if name not in _NO_OPERATORS}
            found[library] = " ".join(f"{name}:{text}" for name, text in known.items() if text)
    print(HEADER)
    print("#: The release of each library that was measured.\nMEASURED = {")
    for library, distribution in LIBRARIES.items():
        print(f'    "{library}": "{importlib.metadata.version(distribution)}",')
    print("}\n\n_KNOWN = {")
    for library, words in found.items():
        print(f'    "{library}": """\n{_filled(words)}\n""",')
    print("}")
    print(FOOTER, end="")


def _filled(words: str) -> str:
    return textwrap.fill(words, 118, break_long_words=False, break_on_hyphens=False)


if __name__ == "__main__":
    main()

"""Checks what a sealed model holds, once for each file: a seal shows that nothing changed, and not who made it.

Anybody can compute a seal. So the structure of a sealed model is checked as that of any other, and it is tried in a
child process where it has an operator beyond plain arithmetic. The verdict is kept under the file's digest, so that the
next start only looks for a file of that name.
"""

from __future__ import annotations

import os
from pathlib import Path

from .cache import cache_folder
from .interpreter import AUTO
from .model_file import ModelFile

_SUBFOLDER = "sealed"
#: Counts up when the check changes.
_VERSION = 1
_DIGEST_LENGTH = 64
#: Operators whose outputs have the shapes that the file says, and that end: they compute, and nothing else.
_PLAIN = frozenset(
    """
    ABS ADD AVERAGE_POOL_2D BATCH_MATMUL CAST CONCATENATION CONV_2D DEPTHWISE_CONV_2D DEQUANTIZE DIV ELU EXP
    FULLY_CONNECTED GELU HARD_SWISH L2_NORMALIZATION LEAKY_RELU LOG LOGISTIC LOG_SOFTMAX MAXIMUM MAX_POOL_2D
    MEAN MINIMUM MUL NEG PRELU QUANTIZE REDUCE_MAX RELU RELU6 RELU_N1_TO_1 RESHAPE RSQRT SOFTMAX SQRT SQUARE
    SQUARED_DIFFERENCE SQUEEZE SUB SUM TANH
    """.split()  # noqa: SIM905 - as a list it would take 40 lines
)

#: The digests that this process knows: even where the cache cannot be written, it checks a model only once.
_known: set[str] = set()


def check_sealed(file: ModelFile, library: str = AUTO, delegate: str | None = None) -> None:
    """Return if a sealed model, whose digest was compared, is sound.

    Args:
        file: the model file.
        library, delegate: the interpreter that tries it, as for `interpreter.build`.

    Raises:
        ModelFileError: its structure is damaged, or it does not run.
        InterpreterError: it has to be tried, and could not be.
    """
    content, contract, name = file
    digest = content[-_DIGEST_LENGTH:].decode("ascii", "replace")
    folder = cache_folder()
    mark = os.path.join(folder, _SUBFOLDER, f"{digest}-v{_VERSION}") if folder else ""  # noqa: PTH118 - a fast start
    if digest in _known or (mark and os.path.exists(mark)):  # noqa: PTH110
        return
    from .external.sandbox import trust  # here, as a model that is known needs neither
    from .tflite.model import check_structure

    structure = check_structure(content, name)
    if any(use.name not in _PLAIN for use in structure.operators):
        trust(content, name, library, delegate, contract)  # keeps its own verdict, for each interpreter
        return
    _known.add(digest)
    if mark:
        _write(Path(mark))


def _write(mark: Path) -> None:
    """Leave a mark; an error is ignored, as the cache only saves time."""
    try:
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()
    except OSError:
        return

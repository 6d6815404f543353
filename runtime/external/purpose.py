"""What a model is for, and what it needs to run: read from its structure, before an interpreter loads it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NoReturn

from ..errors import ModelFileError
from ..tflite.model import Structure

QUANTIZED = ("UINT8", "INT8")
#: The types of tensors that images and scores may have.
TYPES = ("FLOAT32", *QUANTIZED)

#: The operator that stands for everything that the Edge TPU's compiler has taken over.
_EDGE_TPU = "edgetpu-custom-op"
#: TensorFlow's own operators have this before their names.
_FLEX = "Flex"
_SOUND_OPERATORS = frozenset({"Mfcc", "AudioSpectrogram", "RFFT2D"})
_DETECTION = "TFLite_Detection_PostProcess"
#: Samples of sound, at least; a vector of readings is shorter.
_SOUND_SAMPLES = 1000
#: Boxes that a detector without a last step answers, at least, and values of each: a place, a size and a class.
_BOXES, _VALUES_OF_BOX = 100, 5
_COORDINATES = 4
#: The number of points of a body or a hand in the usual models.
_POINTS = (14, 16, 17, 18, 21, 33)
#: Rows and columns of an answer that is a picture, at least.
_PICTURE_SIDE = 8


def unmet_needs(structure: Structure, delegate: str | None) -> str:
    """The reason why no interpreter runs a model without a further library, with the cure; "" if there is none.

    Args:
        delegate: the library that is given for it; a delegate may bring any operator.
    """
    custom = [use.custom for use in structure.operators if use.custom]
    if delegate is not None:
        return ""
    if _EDGE_TPU in custom:
        return "compiled for the Edge TPU (Coral), which must be plugged in: give `delegate=libedgetpu.so.1`"
    flex = [name.removeprefix(_FLEX) for name in custom if name.startswith(_FLEX)]
    if flex:
        return (
            f"needs Flex, TensorFlow's own operators ({', '.join(flex[:5])}), which no interpreter for devices brings; "
            "convert it again without SELECT_TF_OPS, or replace the layers that need them"
        )
    return ""


def refuse_unmet_needs(structure: Structure, name: str, delegate: str | None) -> None:
    """Refuse a model that no interpreter runs without a further library; raises ModelFileError."""
    needs = unmet_needs(structure, delegate)
    if needs:
        raise ModelFileError(f"{name}: {needs}")


def unbounded(structure: Structure) -> str:
    """Why one picture may take any time or memory of a model, with the cure; "" if none may."""
    if not structure.unbounded:
        return ""
    return f"{structure.unbounded}, so that one input may take any time or memory; if you trust it, give `trusted=True`"


def refuse_unbounded(structure: Structure, name: str) -> None:
    """Refuse a model whose time or memory may depend on its input; raises ModelFileError."""
    reason = unbounded(structure)
    if reason:
        raise ModelFileError(f"{name}: {reason}")


def refuse_other_purposes(structure: Structure, name: str) -> int:
    """Refuse a model that is no image classifier, and return its number of outputs.

    Raises:
        ModelFileError: its only input is no image, or its only output no vector of scores; the message says how many
            it has, and what the model seems to be.
    """
    _image_tensor(structure, name)
    return _output_count(structure, name)


def seems_to_be(structure: Structure) -> str:
    """What a model that is no image classifier seems to be, such as "an object detector"; "" if nothing shows it."""
    if len(structure.inputs) == 1:
        given = structure.inputs[0]
        values = math.prod(given.shape)
        if given.type in ("INT32", "INT64", "STRING") and len(given.shape) <= 2:
            return "a model for text"
        if values >= _SOUND_SAMPLES and values == max(given.shape):
            return "a model for sound"
    names = {use.custom or use.name for use in structure.operators}
    if names & _SOUND_OPERATORS:
        return "a model for sound"
    shapes = [answer.shape for answer in structure.outputs]
    if _DETECTION in names or _are_boxes(shapes):
        return "an object detector"
    if _are_points(shapes):
        return "a pose model, which finds points of a body or a hand"
    if len(shapes) == 1 and _is_picture(shapes[0]):
        return "a segmentation model, or another one that answers a picture"
    return ""


def _are_boxes(shapes: Sequence[Sequence[int]]) -> bool:
    """Four coordinates for each of some boxes and further outputs, or many boxes with all their values."""
    if any(len(shape) == 3 and min(shape[1:]) >= _VALUES_OF_BOX and max(shape[1:]) >= _BOXES for shape in shapes):
        # Boxes have few values each; a picture without channels is nearly square.
        return any(len(shape) == 3 and max(shape[1:]) > 4 * min(shape[1:]) for shape in shapes) or len(shapes) > 1
    if len(shapes) > 1 and any(len(shape) >= 3 and shape[-1] == _COORDINATES for shape in shapes):
        return True
    # One grid for each size of objects, with the same values in each cell.
    grids = {tuple(shape[1:-1]) for shape in shapes if len(shape) in (4, 5)}
    return len(grids) > 1 and len({shape[-1] for shape in shapes}) == 1


def _are_points(shapes: Sequence[Sequence[int]]) -> bool:
    if any(len(shape) >= 3 and shape[-1] in (2, 3) and shape[-2] in _POINTS for shape in shapes):
        return True
    if len(shapes) == 1 and tuple(shapes[0][1:]) == (6, 56):  # six people: 17 points, a box and a score each
        return True
    widths = [shape[-1] for shape in shapes if len(shape) == 4]
    return len(shapes) > 1 and any(width in _POINTS and 2 * width in widths for width in widths)


def _is_picture(shape: Sequence[int]) -> bool:
    sides = [length for length in shape[1:] if length >= _PICTURE_SIDE]
    return len(shape) in (3, 4) and len(sides) >= 2


def _guess(structure: Structure) -> str:
    kind = seems_to_be(structure)
    return f"; it seems to be {kind}" if kind else ""


def _image_tensor(structure: Structure, name: str) -> None:
    """Refuse a model whose only input is no image."""

    def refuse(reason: str) -> NoReturn:
        raise ModelFileError(f"{name}: cannot classify pictures with it: {reason}{_guess(structure)}")

    if len(structure.inputs) != 1:
        refuse(f"it has {len(structure.inputs)} inputs, expected 1")
    given = structure.inputs[0]
    shape = list(given.shape)
    if len(shape) not in (3, 4) or shape[0] != 1:
        refuse(f"its input has the shape {shape}, expected 1 x height x width x channels")
    if -1 in given.signature[1:]:
        found = list(given.signature)
        refuse(f"height, width or channels of its input vary {found}; convert it with a fixed size")
    if len(shape) == 4 and shape[3] not in (1, 3):
        order = "; channels must be last, convert it so" if shape[1] in (1, 3) else ""
        refuse(f"its input of shape {shape} has {shape[3]} channels, expected 1 or 3{order}")
    if given.type not in TYPES:
        refuse(f"its input is of type {given.type}, expected one of {', '.join(TYPES)}")
    if given.type in QUANTIZED and (len(given.scale) != 1 or given.scale[0] <= 0):
        refuse(f"its {given.type} input has no quantization scale")


def _output_count(structure: Structure, name: str) -> int:
    """The number of values of the only output, which must be a vector; axes of length 1 do not count."""
    if len(structure.outputs) != 1:
        raise ModelFileError(
            f"{name}: no classifier: it has {len(structure.outputs)} outputs, expected 1{_guess(structure)}"
        )
    answer = structure.outputs[0]
    count = math.prod(answer.shape)
    if not answer.shape or max(answer.shape) != count or answer.type not in TYPES:
        raise ModelFileError(
            f"{name}: no classifier: its output is {answer.type} of shape {list(answer.shape)}, "
            f"expected 1 x labels of one of {', '.join(TYPES)}{_guess(structure)}"
        )
    if answer.type in QUANTIZED and len(answer.scale) != 1:
        raise ModelFileError(f"{name}: no classifier: its {answer.type} output has no quantization scale")
    return count

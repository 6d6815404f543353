"""Tells whether the time and memory that a model takes follow from its file, or from what it is given.

A model with loops can run without end, and one that computes the shape of a tensor can take any memory, for one picture
out of a million. So a trial with a few pictures says little about such a model.
"""

from __future__ import annotations

from collections.abc import Sequence

from .graph import OperatorUse, called_subgraphs
from .reader import Table

#: The inputs that say how large the output is, or which part of it is written.
_SHAPE_INPUTS: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(("FILL", "RANDOM_STANDARD_NORMAL", "RANDOM_UNIFORM", "CONV_3D_TRANSPOSE", "TRANSPOSE_CONV"), (0,)),
    **dict.fromkeys(("BROADCAST_TO", "RESHAPE", "TILE", "EXPAND_DIMS", "TRANSPOSE", "TOPK_V2", "ONE_HOT"), (1,)),
    **dict.fromkeys(("PAD", "PADV2", "MIRROR_PAD", "STABLEHLO_PAD", "SPARSE_TO_DENSE", "MULTINOMIAL"), (1,)),
    **dict.fromkeys(("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "SPLIT_V", "CUMSUM", "SEGMENT_SUM"), (1,)),
    **dict.fromkeys(("MEAN", "SUM", "REDUCE_PROD", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_ANY", "REDUCE_ALL"), (1,)),
    **dict.fromkeys(("SLICE", "BATCH_TO_SPACE_ND", "SPACE_TO_BATCH_ND"), (1, 2)),
    **dict.fromkeys(("BROADCAST_ARGS", "RANGE"), (0, 1, 2)),
    **dict.fromkeys(("UNSORTED_SEGMENT_SUM", "UNSORTED_SEGMENT_MAX"), (2,)),
    **dict.fromkeys(("UNSORTED_SEGMENT_MIN", "UNSORTED_SEGMENT_PROD", "SCATTER_ND"), (2,)),
    "STRIDED_SLICE": (1, 2, 3),
    "DILATE": (1,),
}
#: Operators that run other subgraphs, some of them again and again.
_CONTROL_FLOW = ("CALL", "CALL_ONCE", "IF", "WHILE", "STABLEHLO_CASE", "STABLEHLO_WHILE")
#: Operators whose outputs have as many values as they find.
_FINDING = ("WHERE", "UNIQUE")
#: Operators whose output follows from their inputs' shapes alone.
_OF_SHAPES = ("SHAPE", "RANK")


def unbounded_part(graphs: Sequence[Table], codes: Sequence[OperatorUse]) -> str:
    """Why a model's time or memory may depend on its input; "" if they do not.

    Args:
        graphs: its subgraphs, which `graph.check_graph` has checked.
        codes: the model's operators.
    """
    todo, done = [0], set[int]()
    while todo:
        number = todo.pop()
        if number in done:
            continue
        done.add(number)
        reason = _unbounded_operator(graphs[number], codes)
        if reason:
            return reason
        for table in graphs[number].tables(3):
            todo += called_subgraphs(table, codes[table.number(0, "I")].name)
    return ""


def _unbounded_operator(graph: Table, codes: Sequence[OperatorUse]) -> str:
    given = set(graph.numbers(1, "i"))
    for table in graph.tables(3):
        name = codes[table.number(0, "I")].name
        if name in _CONTROL_FLOW:
            return f"it has control flow ({name})"
        inputs = table.numbers(1, "i")
        depends = not given.isdisjoint(inputs)
        sizes = {inputs[place] for place in _SHAPE_INPUTS.get(name, ()) if place < len(inputs)}
        if not given.isdisjoint(sizes) or (depends and name in _FINDING):
            return f"it computes the shape of a tensor from its input ({name})"
        if depends and name not in _OF_SHAPES:
            given.update(table.numbers(2, "i"))
    return ""

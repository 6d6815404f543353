"""FlatBuffers written from plain values, read back by the verifier and the reader."""

from __future__ import annotations

import pytest

from runtime.tflite.reader import Table
from runtime.tflite.verifier import Schema, verify_flatbuffer
from runtime.tflite.writer import write_flatbuffer

pytestmark = pytest.mark.fast

SCHEMA = Schema(
    b"TEST",
    "Root",
    {"Root": "4 1 s v4 v8 v1 tLeaf vtLeaf 1 uEither v4 2", "Leaf": "8 1 s", "Other": "4"},
    {"Either": "NONE Leaf Other"},
)


def test_every_kind_of_field_comes_back() -> None:
    leaf = {0: -5, 1: 3, 2: "ä leaf"}
    fields = {
        0: 1.5,
        1: -2,
        2: "a text",
        3: [1, -2, 3],
        4: [2**40],
        5: b"bytes",
        6: leaf,
        7: [leaf, {}],
        8: 2,
        9: {0: 9},
        10: [0.5, 2.0],
        11: 700,
    }
    content = write_flatbuffer(SCHEMA, fields)
    assert verify_flatbuffer(content, SCHEMA) <= len(content)
    root = Table.root(content)
    assert (root.number(0, "f"), root.number(1, "b"), root.number(11, "h")) == (1.5, -2, 700)
    assert (root.text(2), root.data(5)) == ("a text", b"bytes")
    assert (root.numbers(3, "i"), root.numbers(4, "q"), root.numbers(10, "f")) == ((1, -2, 3), (2**40,), (0.5, 2.0))
    one, empty = root.tables(7)
    for table in (root.table(6), one):
        assert table is not None
        assert (table.number(0, "q"), table.number(1, "b"), table.text(2)) == (-5, 3, "ä leaf")
    assert not any(empty.has(slot) for slot in range(3))
    union = root.table(9)
    assert union is not None
    assert union.number(0, "i") == 9
    assert root.span(5)[0] % 16 == 0


def test_a_table_without_fields_and_empty_vectors() -> None:
    content = write_flatbuffer(SCHEMA, {3: [], 5: b"", 7: []})
    verify_flatbuffer(content, SCHEMA)
    assert Table.root(content).numbers(3, "i") == ()
    verify_flatbuffer(write_flatbuffer(SCHEMA, {}), SCHEMA)


@pytest.mark.parametrize("fields", [{20: 1}, {2: 5}, {0: "text"}, {8: 9, 9: {}}])
def test_what_does_not_fit_the_schema_is_refused(fields: dict[int, object]) -> None:
    with pytest.raises(Exception, match=r"range|encode|argument|required"):
        write_flatbuffer(SCHEMA, fields)

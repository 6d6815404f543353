"""Writes runtime/tflite/_schema.py from the schema module inside the installed TensorFlow.

    python -m tools.tflite_schema > runtime/tflite/_schema.py

Only facts are extracted: the content of each slot of each table, and the names of operators.
"""

from __future__ import annotations

import importlib.util
import re
import textwrap
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

HEADER = '''"""The TensorFlow Lite schema, as `verifier.verify_flatbuffer` takes it; written by tools/tflite_schema.py.

A table is a line of fields, one a slot: a digit is a scalar of that many bytes, `s` a string, `tName` a table, `uName`
a union (its type is the slot before); `v` before any of these makes it a vector. Tables without fields are left out.
Extracted here because the interpreters' packages have no schema, and a device has no TensorFlow.
Source: the schema of TensorFlow {version}.
"""

from __future__ import annotations

IDENTIFIER = b"TFL3"
ROOT = "Model"
'''


def main() -> None:
    """Print the module."""
    spec = importlib.util.find_spec("tensorflow")
    assert spec is not None
    assert spec.submodule_search_locations
    package = Path(spec.submodule_search_locations[0])
    text = (package / "lite/python/schema_py_generated.py").read_text(encoding="utf-8")
    classes = dict(re.findall(r"^class (\w+)\(object\):\n(.*?)(?=^class |\Z)", text, re.MULTILINE | re.DOTALL))
    print(HEADER.format(version=version("tensorflow")))
    tables = {n: " ".join(_fields(n, body, classes)) for n, body in classes.items() if _is_table(body)}
    print("TABLES = {")
    for name, fields in sorted(tables.items()):
        if fields:
            line = f'    "{name}": "{fields}",'
            print(line + ("  # noqa: E501" if len(line) > 120 else ""))
    print("}\n\n#: Tables of each union, in the order of their type numbers.\nUNIONS = {")
    for name in sorted({kind for fields in tables.values() for kind in re.findall(r"\bu(\w+)", fields)}):
        print(f'    "{name}": {_names(classes[name])},')
    print(
        "}\n\n#: Names of the built-in operators, in the order of their numbers.\nOPERATORS =",
        _names(classes["BuiltinOperator"]) + ".split()",
    )
    print(
        "\n#: Names of the types of tensors, in the order of their numbers.\nTENSOR_TYPES =",
        _names(classes["TensorType"]) + ".split()",
    )


def _is_table(body: str) -> bool:
    return "flatbuffers.table.Table(buf, pos)" in body


def _names(body: str) -> str:
    """The names of an enumeration in the order of their numbers, as a string literal."""
    numbers = {int(number): name for name, number in re.findall(r"^    (\w+) = (\d+)$", body, re.MULTILINE)}
    names = [numbers[n] for n in range(len(numbers))]
    return '"""\n' + textwrap.fill(" ".join(names), 118, break_long_words=False) + '\n"""'


def _fields(name: str, body: str, classes: dict[str, str]) -> Iterator[str]:
    """The content of each slot of a table."""
    count = re.search(r"builder\.StartObject\((\d+)\)", body)
    by_slot = {slot: kind for kind, slot in re.findall(r"builder\.Prepend(\w+?)Slot\((\d+), ", body)}
    assert count, name
    accessors = re.split(r"^    # ", body, flags=re.MULTILINE)
    for slot in range(int(count[1])):
        kind = by_slot.get(str(slot))
        if kind is None:  # deprecated: nothing can set it, so nothing reads it
            yield "0"
        elif kind != "UOffsetTRelative":
            yield str({"Bool": 1}.get(kind) or int(re.sub(r"\D", "", kind)) // 8)
        else:
            own = next(text for text in accessors if f"Offset({4 + 2 * slot}))" in text)
            yield _offset_kind(name, own, body, classes)


def _offset_kind(name: str, accessor: str, body: str, classes: dict[str, str]) -> str:
    field = re.search(r"def (\w+)\(self", accessor)
    assert field, name
    if "self._tab.Union(" in accessor:
        creator = re.search(rf"self\.\w+ = (\w+)Creator\([^\n]*\.{field[1]}\(\)\)", classes[name + "T"])
        assert creator, (name, field[1])
        return f"u{creator[1]}"
    vector = "v" if "self._tab.Vector(" in accessor else ""
    if "self._tab.String(" in accessor:
        return f"{vector}s"
    table = re.search(r"obj = (\w+)\(\)", accessor)
    if table:
        return f"{vector}t{table[1]}"
    start = rf"def {name}Start{field[1]}Vector\(builder, numElems\):\n\s+return builder\.StartVector\((\d+)"
    size = re.search(start, body)
    assert size, (name, field[1])
    return f"v{size[1]}"


if __name__ == "__main__":
    main()

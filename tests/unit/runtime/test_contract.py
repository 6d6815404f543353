"""The contract: its JSON form, and what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from runtime import Confidence, Contract, ContractError, ImageInput, Provenance

pytestmark = pytest.mark.fast

CONTRACT = Contract(
    labels=("Katze", "chien", "鳥"),
    input=ImageInput(24, 32, "bgr", "pad", "bicubic", (1, 2, 3), (10.0, 20.5, 30.0), (50.0, 60.0, 70.25)),
    provenance=Provenance("pets", 7, "2024-02-29", {"tensorflow": "2.21.0"}),
)


def test_round_trip_keeps_every_field() -> None:
    assert Contract.from_json(CONTRACT.to_json()) == CONTRACT
    assert Contract.from_json(CONTRACT.to_json().encode()) == CONTRACT


def test_the_same_contract_gives_the_same_text() -> None:
    assert Contract.from_json(CONTRACT.to_json()).to_json() == CONTRACT.to_json()


def test_a_confidence_is_written_only_where_there_is_one() -> None:
    assert "confidence" not in json.loads(CONTRACT.to_json())
    fitted = replace(CONTRACT, confidence=Confidence(1.25, 0.5))
    assert json.loads(fitted.to_json())["confidence"] == {"temperature": 1.25, "threshold": 0.5}
    assert Contract.from_json(fitted.to_json()) == fitted
    document = json.loads(fitted.to_json())
    del document["confidence"]["threshold"]
    assert Contract.from_json(json.dumps(document)).confidence == Confidence(1.25)


def test_a_decision_is_written_only_where_it_was_chosen() -> None:
    binary = replace(CONTRACT, labels=("no", "yes"), task="binary", confidence=Confidence(1.25, 0.0, 0.3))
    document = json.loads(binary.to_json())
    assert document["confidence"] == {"temperature": 1.25, "threshold": 0.0, "decision": 0.3}
    assert Contract.from_json(binary.to_json()) == binary
    with pytest.raises(ContractError, match="decision"):
        replace(CONTRACT, confidence=Confidence(decision=0.3))


def test_an_orientation_is_written_only_where_it_is_ignored() -> None:
    assert "orientation" not in json.loads(CONTRACT.to_json())["input"]
    ignoring = replace(CONTRACT, input=replace(CONTRACT.image_input, orientation="ignore"))
    assert json.loads(ignoring.to_json())["input"]["orientation"] == "ignore"
    assert Contract.from_json(ignoring.to_json()) == ignoring


def test_defaults_scale_to_one() -> None:
    spec = ImageInput(8, 8, "grey")
    assert (spec.mean, spec.std, spec.shape) == ((0.0,), (255.0,), (8, 8, 1))


def test_a_contract_is_a_frozen_value() -> None:
    with pytest.raises(AttributeError):
        CONTRACT.task = "binary"  # type: ignore[misc]


def changed(path: str, value: Any) -> str:
    """The contract's JSON with one field, named by a dotted path, set to another value."""
    document = json.loads(CONTRACT.to_json())
    *parents, last = path.split(".")
    place = document
    for name in parents:
        place = place[name]
    place[last] = value
    return json.dumps(document)


@pytest.mark.parametrize(
    ("path", "value", "names"),
    [
        ("version", 2, "version"),
        ("version", True, "version"),
        ("version", "1", "version"),
        ("format", "other", "format"),
        ("task", "regression", "task"),
        ("task", "binary", "2 names"),
        ("task", 7, "task"),
        ("labels", ["one"], "labels"),
        ("labels", ["a", "a"], "labels"),
        ("labels", ["a", ""], "label"),
        ("labels", ["a", "b\x1b[31m"], "label"),
        ("labels", ["a", "x" * 201], "label"),
        ("labels", "ab", "labels"),
        ("labels", ["a", 3], "label"),
        ("input", None, "input"),
        ("input.height", 0, "height"),
        ("input.height", 4097, "height"),
        ("input.height", 8.5, "height"),
        ("input.width", "8", "width"),
        ("input.width", True, "width"),
        ("input.colour", "yuv", "colour"),
        ("input.colour", ["rgb"], "colour"),
        ("input.resize", "zoom", "resize"),
        ("input.filter", "magic", "filter"),
        ("input.filter", "tf-bicubic", "filter"),
        ("input.orientation", "upright", "orientation"),
        ("input.orientation", 6, "orientation"),
        ("input.kind", "sound", "kind"),
        ("input.background", [0, 0], "background"),
        ("input.background", [0, 0, 256], "background"),
        ("input.background", "white", "background"),
        ("input.mean", [1.0], "mean"),
        ("input.mean", [1, 2, 256], "mean"),
        ("input.mean", [1, 2, float("nan")], "mean"),
        ("input.std", [1, 2, 0], "std"),
        ("input.std", [1, 2, float("inf")], "std"),
        ("input.std", [1, 2, "3"], "std"),
        ("input.crop", 4, "crop"),
        ("provenance.seed", "x", "seed"),
        ("provenance.packages", [], "packages"),
        ("provenance.packages", {"a": 1}, "packages"),
        ("provenance.date", "a\nb", "date"),
        ("threshold", 0.5, "threshold"),
        ("confidence", None, "confidence"),
        ("confidence", [1.5, 0.5], "confidence"),
        ("confidence", {"temperature": 1.5, "bias": 0}, "bias"),
        ("confidence", {"temperature": 0}, "temperature"),
        ("confidence", {"temperature": 101}, "temperature"),
        ("confidence", {"temperature": float("nan")}, "temperature"),
        ("confidence", {"temperature": "1"}, "temperature"),
        ("confidence", {"threshold": -0.1}, "threshold"),
        ("confidence", {"threshold": 1.1}, "threshold"),
        ("confidence", {"threshold": True}, "threshold"),
        ("confidence", {"decision": 0}, "decision"),
        ("confidence", {"decision": 1.1}, "decision"),
        ("confidence", {"decision": 0.3}, "multiclass"),
    ],
)
def test_a_field_out_of_range_is_named(path: str, value: Any, names: str) -> None:
    with pytest.raises(ContractError, match=names):
        Contract.from_json(changed(path, value))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000, b"\xff\xfe\x00", "{}"])
def test_what_is_no_contract_is_refused(text: str | bytes) -> None:
    with pytest.raises(ContractError, match="not"):
        Contract.from_json(text)


def test_a_missing_field_is_named() -> None:
    document = json.loads(CONTRACT.to_json())
    del document["input"]["height"]
    with pytest.raises(ContractError, match="height"):
        Contract.from_json(json.dumps(document))


def test_a_huge_document_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(ContractError, match="bytes long"):
        Contract.from_json(" " * (5 * 2**20))


def test_an_embedding_and_taught_labels_are_left_out_unless_they_are_there() -> None:
    plain = Contract(("a", "b", "c"), ImageInput(8, 8))
    assert "embedding" not in plain.to_json()
    assert "taught" not in plain.to_json()
    taught = replace(plain, embedding="embedding", taught=1)
    assert Contract.from_json(taught.to_json()) == taught
    assert (taught.outputs, taught.network_labels) == (2, ("a", "b"))


@pytest.mark.parametrize(
    "fields",
    [{"embedding": 3}, {"embedding": "a\nb"}, {"taught": 1}, {"taught": True, "embedding": "e"}]
    + [{"taught": n, "embedding": "e"} for n in (-1, 2, 1.0)],
)
def test_an_embedding_or_a_number_of_taught_labels_that_cannot_be_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ContractError, match=r"contract: (embedding|taught) is"):
        replace(Contract(("a", "b", "c"), ImageInput(8, 8)), **fields)

from __future__ import annotations

from pathlib import Path

import pytest

from runtime import ContractError
from runtime.external.labels import load_labels, parse_label_lines, parse_labels, read_labels


@pytest.mark.parametrize(
    "content",
    [
        "0 cat\n1 dog\n2 sea bird\n",
        "2 sea bird\n0 cat\n1 dog\n",
        "0: cat\n1: dog\n2: sea bird",
        "0:cat\r\n1:dog\r\n2:sea bird\r\n",
        "1,dog\n0,cat\n2,sea bird\n\n",
        "0\tcat\n1\tdog\n2\tsea bird  \n",
        '"0";"cat"\n"1";"dog"\n"2";"sea bird"',
        "0: 'cat'\n1: 'dog'\n2: 'sea bird'",
        "1 cat\n2 dog\n3 sea bird\n",
        "001.cat\n003.sea bird\n002.dog\n",
        "0 - cat\n1 - dog\n2 - sea bird\n",
        "0) cat\n1) dog\n2) sea bird\n",
        "  cat \ndog\nsea bird\t\n",
        '"cat"\n"dog"\n"sea bird"\n',
    ],
)
def test_numbers_place_the_labels_and_are_taken_off(content: str) -> None:
    assert parse_labels(content.encode(), "labels.txt") == ("cat", "dog", "sea bird")


@pytest.mark.parametrize(
    "labels",
    [
        ("0", "1", "2", "3"),  # the digits themselves
        ("3d printer", "4x4 car", "7up"),
        ("background", "1 euro", "2 euro"),
        ("1.5 volt", "3.7 volt", "9.0 volt"),
        ("tench, Tinca tinca", "'s-Hertogenbosch", "[none]"),
    ],
)
def test_what_is_no_number_of_an_output_stays(labels: tuple[str, ...]) -> None:
    assert parse_label_lines("\n".join(labels).encode(), "labels.txt") == (labels, "")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"0 cat\n1 dog\n3 owl\n", "numbered up to 3, and 2 is missing"),
        (b"2 cat\n3 dog\n", "and 1 is missing"),
        (b"0 cat\n0 dog\n", "line 2 has the number 0 again"),
        (b"id,name\n0,cat\n1,dog\n", "a table with the header 'id,name'"),
        (b"cat\rdog\rowl", "its lines end with CR alone"),
        (b'["cat", "dog"]', "a JSON file"),
        (b'{\n  "0": "cat"\n}', "a JSON file"),
        (b"{0: 'tench, Tinca tinca',\n 1: 'goldfish'}", "a JSON file"),
        (b"names:\n  0: cat\n  1: dog\n", "a YAML file"),
        (b"- cat\n- dog\n", "a YAML file"),
        (b"item {\n  id: 1\n  name: 'cat'\n}\n", "a pbtxt file"),
        (b"<?xml version='1.0'?>", "an? XML file"),
    ],
)
def test_gaps_doubles_and_other_formats_are_refused(content: bytes, message: str) -> None:
    with pytest.raises(ContractError, match=message) as caught:
        parse_labels(content, "labels.txt")
    assert str(caught.value).startswith("labels.txt: ")


@pytest.mark.parametrize("suffix", ["json", "yaml", "yml", "pbtxt"])
def test_other_formats_are_known_by_their_name(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"labels.{suffix}"
    path.write_text("cat\ndog\n")
    with pytest.raises(ContractError, match=r"write the labels into a text file, one a line"):
        read_labels(path)


def test_a_note_says_that_numbers_were_taken_off(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_text("1 dog\n2 owl\n")
    assert load_labels(path).note == f"the labels of {path} are placed by their numbers, from 1, which are taken off"
    assert load_labels(["1 dog", "2 owl"]) == (("1 dog", "2 owl"), "")

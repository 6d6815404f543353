"""The model that goes into a bundle, our own wheel, and the archive."""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest

from exporter.bundle import own_wheel as own_wheel_module
from exporter.bundle.archive import archive_content
from exporter.bundle.bundle import bundle_name, make_bundle
from exporter.bundle.model import bundled_model
from exporter.bundle.own_wheel import own_wheel
from exporter.bundle.wheels import BundleError, Wheel
from runtime.errors import ModelFileError, UpdateError, UsageError
from runtime.model_file import sha256
from tests.support.bundles import small_bundle, this_machine, unpacked
from tests.support.slots import slot_model
from tests.support.updates import Publisher

pytestmark = pytest.mark.fast
LIBRARY = "tflite-runtime"


def test_the_same_inputs_give_the_same_bytes(
    wheels: list[Wheel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = small_bundle(slot_model(), tmp_path / "a", wheels)
    os.utime(tmp_path / "a" / "int8.tflite", (1, 1))
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    second = small_bundle(slot_model(), tmp_path / "b", wheels)
    folders = unpacked(first, tmp_path / "x"), unpacked(second, tmp_path / "y")
    assert (folders[0] / "bundle.json").read_bytes() == (folders[1] / "bundle.json").read_bytes()
    assert {path.stat().st_mtime for path in folders[1].rglob("*")} == {1700000000}
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    names = sorted(path.relative_to(folders[1]).as_posix() for path in folders[1].rglob("*") if path.is_file())
    files = {name: (folders[1] / name).read_bytes() for name in reversed(names)}
    assert archive_content("door", files) == first.path.read_bytes()
    # Each file has its digest, but for the list itself.
    listed = {entry["path"]: entry["sha256"] for entry in json.loads(files["bundle.json"])["files"]}
    assert listed == {name: sha256(content) for name, content in files.items() if name != "bundle.json"}


def test_the_root_of_a_repository_comes_along(tmp_path: Path, wheels: list[Wheel]) -> None:
    root = Publisher(tmp_path / "published").folder / "metadata" / "root.json"
    bundle = small_bundle(slot_model(), tmp_path / "made", wheels, root=root)
    assert (unpacked(bundle, tmp_path / "x") / "root.json").read_bytes() == root.read_bytes()
    changed = tmp_path / "root.json"
    document = json.loads(root.read_bytes())
    document["signed"]["version"] += 1
    changed.write_text(json.dumps(document))
    with pytest.raises(UpdateError, match=r"root\.json: not a root\.json that is signed by its own keys"):
        small_bundle(slot_model(), tmp_path / "other", wheels, root=changed)
    assert not (tmp_path / "other" / "door.tar.gz").exists()


def test_with_a_root_the_packages_for_updates_come_along(
    tmp_path: Path, wheels: list[Wheel], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def find(_own: object, _target: object, extras: list[str], _constraint: object) -> list[Wheel]:
        asked.append(extras)
        return wheels

    monkeypatch.setattr("exporter.bundle.bundle.own_wheel", lambda _path: None)
    monkeypatch.setattr("exporter.bundle.bundle.find_wheels", find)
    (tmp_path / "int8.tflite").write_bytes(slot_model())
    root = Publisher(tmp_path / "published").folder / "metadata" / "root.json"
    make_bundle(tmp_path, this_machine(), tmp_path / "door.tar.gz", extras=("mqtt",), root=root)
    assert asked == [["mqtt", "update"]]


def test_a_date_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(UsageError, match="SOURCE_DATE_EPOCH is 'yesterday', expected seconds since 1970"):
        archive_content("door", {"a": b""})


def test_an_archive_that_exists_stays(tmp_path: Path, wheels: list[Wheel]) -> None:
    (tmp_path / "door.tar.gz").write_bytes(b"mine")
    with pytest.raises(BundleError, match=r"door\.tar\.gz: exists already; name another `out`, or give `force`"):
        small_bundle(slot_model(), tmp_path, wheels)
    assert (tmp_path / "door.tar.gz").read_bytes() == b"mine"


@pytest.mark.parametrize("name", ["door.zip", "Door.tar.gz", "a b.tar.gz"])
def test_the_archive_names_the_installation(name: str) -> None:
    assert bundle_name(Path("out/front-door.tar.gz")) == "front-door"
    with pytest.raises(UsageError, match="expected"):
        bundle_name(Path(name))


def test_the_model_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "float32.tflite").write_bytes(slot_model(1))
    assert bundled_model(tmp_path, LIBRARY).file.name.endswith("float32.tflite")
    (tmp_path / "int8.tflite").write_bytes(slot_model(2, selftest=False))
    (tmp_path / "int8.rejected.tflite").write_bytes(slot_model(3))
    found = bundled_model(tmp_path, LIBRARY)
    assert (Path(found.file.name).name, found.has_selftest, found.is_ours) == ("int8.tflite", False, True)
    assert bundled_model(tmp_path, LIBRARY, "float32.tflite").has_selftest
    with pytest.raises(BundleError, match=r"it failed a gate of its export; see report\.html"):
        bundled_model(tmp_path, LIBRARY, "int8.rejected.tflite")
    with pytest.raises(BundleError, match=r"no such file; the folder holds float32\.tflite, int8\.tflite"):
        bundled_model(tmp_path, LIBRARY, "int4.tflite")
    with pytest.raises(UsageError, match="is no folder; leave out `model`"):
        bundled_model(tmp_path / "int8.tflite", LIBRARY, "int8.tflite")
    with pytest.raises(UsageError, match="carries its labels; leave out `labels`"):
        bundled_model(tmp_path, LIBRARY, labels=tmp_path / "labels.txt")


def test_a_folder_without_a_published_model_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"a folder without a \.tflite file"):
        bundled_model(tmp_path, LIBRARY)
    (tmp_path / "int8.rejected.tflite").write_bytes(slot_model())
    with pytest.raises(BundleError, match="its gates failed, so no model is published"):
        bundled_model(tmp_path, LIBRARY)
    for name in ("a.tflite", "b.tflite"):
        (tmp_path / name).write_bytes(slot_model())
    with pytest.raises(BundleError, match=r"no int8\.tflite; choose one by `model`: a\.tflite, b\.tflite"):
        bundled_model(tmp_path, LIBRARY)
    (tmp_path / "run").mkdir()
    for name in ("contract.json", "model.keras"):
        (tmp_path / "run" / name).touch()
    with pytest.raises(BundleError, match="a run folder; export it first"):
        bundled_model(tmp_path / "run", LIBRARY)
    with pytest.raises(ModelFileError, match="cannot be opened"):
        bundled_model(tmp_path / "none", LIBRARY)


def test_a_damaged_model_is_refused(tmp_path: Path) -> None:
    content = bytearray(slot_model())
    content[1000] ^= 1
    (tmp_path / "int8.tflite").write_bytes(content)
    with pytest.raises(ModelFileError, match="damaged"):
        bundled_model(tmp_path, LIBRARY)


def test_operators_that_the_device_lacks_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "int8.tflite").write_bytes(slot_model())
    monkeypatch.setattr("exporter.bundle.model.unknown_to", lambda _library, uses: [(uses[0], 3)])
    with pytest.raises(BundleError, match="the target's tflite-runtime knows it up to version 3; export it for that"):
        bundled_model(tmp_path, LIBRARY)


def test_an_installed_package_is_packed_as_it_was(wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = tmp_path / "site-packages"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    info = next(site.glob("pocketlens-*.dist-info"))
    record = info / "RECORD"
    for extra in ("INSTALLER", "direct_url.json", "REQUESTED"):
        (info / extra).write_text("{}")
    (site / "runtime" / "__pycache__").mkdir()
    (site / "runtime" / "__pycache__" / "files.pyc").touch()
    extra_lines = (f"{info.name}/INSTALLER,,", f"{info.name}/direct_url.json,,", "../../../bin/pocketlens,,")
    record.write_text(
        record.read_text() + "".join(f"{line}\n" for line in (*extra_lines, "runtime/__pycache__/files.pyc,,"))
    )
    monkeypatch.setattr(own_wheel_module, "PACKAGE_ROOT", site)
    assert own_wheel().content == wheel.read_bytes()
    (site / "runtime" / "files.py").unlink()
    with pytest.raises(BundleError, match=r"runtime/files\.py: No such file or directory; install pocketlens again"):
        own_wheel()
    shutil.rmtree(info)
    with pytest.raises(BundleError, match="nothing says what belongs to pocketlens; name a wheel by `wheel`"):
        own_wheel()


def test_a_checkout_that_cannot_be_built_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pyproject.toml").write_text("not toml")
    monkeypatch.setattr(own_wheel_module, "PACKAGE_ROOT", tmp_path)
    with pytest.raises(BundleError, match=r"no wheel can be built from it .* or name a wheel by `wheel`"):
        own_wheel()


def test_a_wheel_that_is_none_is_refused(wheel: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="expected a wheel of pocketlens"):
        own_wheel(Path(shutil.copy(wheel, tmp_path / "other-1.0-py3-none-any.whl")))
    damaged = tmp_path / wheel.name
    damaged.write_bytes(wheel.read_bytes()[:-1000])
    with pytest.raises(BundleError, match="damaged, or no wheel"):
        own_wheel(damaged)
    with pytest.raises(BundleError, match="cannot be opened"):
        own_wheel(tmp_path / "none.whl")


def test_the_wheel_has_what_the_bundle_needs(wheel: Path) -> None:
    """A device's own `pocketlens bundle`, and one from an installed wheel, need the installer as a file."""
    with zipfile.ZipFile(wheel) as archive:
        assert {"exporter/bundle/install.sh", "exporter/bundle/check_device.py"} <= {*archive.namelist()}


def test_a_full_disk_is_named_and_leaves_nothing(
    wheels: list[Wheel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_path: Path, _content: bytes) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("exporter.bundle.bundle.write_whole", full)
    with pytest.raises(OSError, match=r"door\.tar\.gz") as caught:
        small_bundle(slot_model(), tmp_path, wheels)
    assert caught.value.errno == 28


def test_the_archive_has_nobodys_files(tmp_path: Path) -> None:
    content = archive_content("door", {"install.sh": b"#!/bin/sh\n", "wheels/a.whl": b"a"})
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        members = archive.getmembers()
    assert [(one.name, oct(one.mode), one.uid, one.gid) for one in members] == [
        ("door", "0o755", 0, 0),
        ("door/wheels", "0o755", 0, 0),
        ("door/install.sh", "0o755", 0, 0),
        ("door/wheels/a.whl", "0o644", 0, 0),
    ]
    assert content[4:8] == bytes(4)  # gzip's time

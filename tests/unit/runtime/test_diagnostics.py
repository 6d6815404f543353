"""What `doctor` finds on this machine and in a model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runtime import Contract, ImageInput, hardware, seal
from runtime import diagnostics as doctor
from runtime.diagnostics import Finding, examine, picamera_finding, throttling, wheel_advice
from runtime.interpreter import installed
from tests.support.commands import run_pocketlens, succeed
from tests.support.exports import Exported


def test_every_interpreter_here_is_built_and_run() -> None:
    findings = {finding.subject.split()[0]: finding for finding in examine()}
    for name in installed():
        assert findings[name] == Finding(findings[name].subject, "ok", "built and ran a model, 2 outputs")
    assert findings["python"].status == "ok"


def test_a_model_is_run_too(digits_export: Exported) -> None:
    result = succeed(run_pocketlens("doctor", "--json", digits_export.int8))
    findings = [json.loads(line) for line in result.stdout.splitlines()]
    run = [f["text"] for f in findings if f["subject"].startswith("model on")]
    assert run == ["built and ran a model, 10 outputs"] * len(installed())
    assert all(set(f) == {"subject", "status", "text", "cure"} for f in findings)


@pytest.mark.parametrize(
    ("version", "libraries", "texts"),
    [
        ("9.4.0", "Pillow.libs", ["CVE-2023-4863", "TIFFs (fax, JPEG)"]),
        ("10.0.0", "pillow.libs", ["CVE-2023-4863", "TIFFs (fax, JPEG)"]),
        ("10.0.1", "pillow.libs", ["libraries of its own", "TIFFs (fax, JPEG)"]),
        ("12.3.0", "pillow.libs", ["libraries of its own", "TIFFs (fax, JPEG)"]),
        ("13.0.0", "pillow.libs", ["libraries of its own"]),
        ("9.4.0", "", ["the system's libwebp, which apt keeps up to date", "TIFFs (fax, JPEG)"]),
    ],
)
def test_pillow_with_known_weaknesses_is_named_with_the_cure(
    version: str, libraries: str, texts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = tmp_path / "dist-packages"
    (packages / "PIL").mkdir(parents=True)
    if libraries:
        (packages / libraries).mkdir()
    monkeypatch.setattr("PIL.__version__", version)
    monkeypatch.setattr("PIL.Image.__file__", str(packages / "PIL" / "Image.py"))
    findings = doctor.pillow_findings()
    assert len(findings) == len(texts)
    for finding, text in zip(findings, texts, strict=True):
        assert text in finding.text
        assert version in finding.text
        is_weak = "CVE" in text or "TIFFs" in text
        assert (finding.status, bool(finding.cure)) == (("warning", True) if is_weak else ("ok", False))


@pytest.mark.parametrize("name", ["runtime.py", "runtime/__init__.py"])
def test_a_file_that_hides_our_package_is_named(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "installed", list)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runtime").mkdir()  # without code in it, a folder hides nothing
    assert "imports" not in {finding.subject for finding in examine()}
    (tmp_path / name).write_text("")
    if name == "runtime.py":
        (tmp_path / "runtime").rmdir()
    (finding,) = (finding for finding in examine() if finding.subject == "imports")
    assert finding.status == "warning"
    assert finding.text.startswith(f"{tmp_path / name} hides Pocketlens's package `runtime`")
    assert finding.cure == "rename it"


def test_a_damaged_model_is_an_error_with_a_cure(tmp_path: Path) -> None:
    path = tmp_path / "bad.tflite"
    path.write_bytes(b"\x1c\0\0\0TFL3 and no more")
    result = run_pocketlens("doctor", path)
    assert result.returncode == 1
    assert "error    model: " in result.stdout
    assert "cure: copy it again" in result.stdout


def test_a_model_that_kills_its_process_kills_only_that(tmp_path: Path) -> None:
    # A FlatBuffer whose table lies far outside. The structure check refuses it; it reaches an interpreter here only.
    path = tmp_path / "killer.tflite"
    content = b"\x10\xff\xff\x7fTFL3" + bytes(64)
    path.write_bytes(seal(content, Contract(("a", "b"), ImageInput(8, 8))))
    assert [f.status for f in examine(str(path)) if f.subject.startswith("model")] == ["error"]
    findings = [doctor._run("model", library, path, "export it again") for library in installed()]
    assert findings
    assert all(f.status == "error" and f.cure for f in findings)


@pytest.mark.parametrize(
    ("version", "machine", "system", "glibc", "advice"),
    [
        ((3, 11), "x86_64", "linux", (2, 36), "tflite-runtime"),
        ((3, 11), "aarch64", "linux", (2, 36), "tflite-runtime"),
        ((3, 11), "armv7l", "linux", (2, 36), "tflite-runtime"),
        ((3, 11), "aarch64", "linux", (2, 31), "needs glibc 2.34"),
        ((3, 13), "aarch64", "linux", (2, 41), "pip install ai-edge-litert"),
        ((3, 13), "armv7l", "linux", (2, 41), "64-bit"),
        ((3, 11), "arm64", "darwin", (0, 0), "pip install ai-edge-litert"),
    ],
)
def test_which_interpreter_suits_a_machine(
    version: tuple[int, int], machine: str, system: str, glibc: tuple[int, int], advice: str
) -> None:
    assert advice in wheel_advice(version, machine, system, glibc)


def test_no_interpreter_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "installed", list)
    (finding,) = (f for f in examine() if f.subject == "interpreter")
    assert finding.status == "error"
    assert finding.cure


@pytest.mark.parametrize(
    ("text", "status", "words"),
    [
        ("throttled=0x0\n", "ok", "none"),
        ("throttled=0x50005\n", "warning", "under-voltage now, throttled now, under-voltage since start, throttled"),
        ("throttled=0x8", "warning", "temperature"),
        ("", "warning", "not understood"),
    ],
)
def test_throttling_is_read_from_the_bits(text: str, status: str, words: str) -> None:
    assert throttling(text).status == status
    assert words in throttling(text).text


def test_picamera2_of_the_system_beside_a_virtual_environment(tmp_path: Path) -> None:
    found = picamera_finding(tmp_path)
    assert (found.subject, found.status) == ("picamera", "ok")
    assert "sudo apt install python3-picamera2" in found.text
    (tmp_path / "picamera2").mkdir()
    found = picamera_finding(tmp_path)
    assert found.status == "warning"
    assert "--system-site-packages" in found.cure


def test_a_board_is_told_apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    board = tmp_path / "model"
    board.write_text("Raspberry Pi 4 Model B Rev 1.4\0")
    monkeypatch.setattr(hardware, "BOARD", board)
    monkeypatch.setenv("PATH", str(tmp_path))
    program = tmp_path / "vcgencmd"
    program.write_text("#!/bin/sh\necho throttled=0x1\n")
    program.chmod(0o755)
    findings = {finding.subject: finding for finding in examine()}
    assert findings["board"].text == "Raspberry Pi 4 Model B Rev 1.4"
    assert findings["camera"].status == "warning"
    assert findings["throttling"].text == "under-voltage now"

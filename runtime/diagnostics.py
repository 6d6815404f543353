"""Finds out what is wrong with this machine, or with a model on it, and the cure.

An import proves nothing: every interpreter is built and run, in a process of its own, since some faults end the
process.
"""

from __future__ import annotations

import importlib.util
import itertools
import platform
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from .child_process import PACKAGE_ROOT, ChildError, call_in_child
from .errors import InterpreterError, ModelFileError, PocketlensError
from .external.adopt import refuse_ours
from .external.purpose import refuse_other_purposes, unmet_needs
from .external.sandbox import LIMITS
from .files import shown
from .hardware import board_model
from .interpreter import LIBRARIES, installed, version_of
from .model_file import is_sealed, read_model, read_model_bytes
from .recognition import why_no_model
from .tflite.model import Structure, check_structure

OK, WARNING, ERROR = "ok", "warning", "error"
#: A Dense(2) of 1.1 kB, to try an interpreter with where no model is at hand.
TINY_MODEL = Path(__file__).with_name("data") / "tiny.tflite"

_TIMEOUT_S = 60
_PACKAGE = __name__.partition(".")[0]
_CAMERA_PROGRAMS = ("rpicam-still", "libcamera-still")
#: Where Debian's packages of Python lie, such as picamera2.
_SYSTEM_PACKAGES = Path("/usr/lib/python3/dist-packages")
#: Bits of `vcgencmd get_throttled`; source: Raspberry Pi documentation, "vcgencmd".
_THROTTLED = {
    0: "under-voltage now",
    1: "processor speed capped now",
    2: "throttled now",
    3: "soft temperature limit reached now",
    16: "under-voltage since start",
    18: "throttled since start",
}
#: Its wheels bring libwebp 1.3.2.
_FIRST_WITH_SAFE_WEBP = (10, 0, 1)
#: The oldest glibc that tflite-runtime 2.14's ARM wheel for Python 3.11 runs on.
_GLIBC_OF_ARM_WHEEL = (2, 34)


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        subject: what was checked.
        status: "ok", "warning" or "error".
        text: the result, in words.
        cure: what to do; "" if nothing need be done.
    """

    subject: str
    status: str
    text: str
    cure: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def examine(model: str | None = None, delegate: str | None = None) -> list[Finding]:
    """Check Python, the interpreters, the board, and optionally a model, with a delegate if it needs one."""
    findings = [_python(), *_hidden(), *pillow_findings(), *_interpreters(), *_board()]
    if model is not None:
        findings += _model(model, delegate)
    return findings


def _python() -> Finding:
    libc = " ".join(platform.libc_ver()).strip()
    text = f"Python {platform.python_version()} on {platform.machine()}{', ' + libc if libc else ''}"
    return Finding("python", OK, text)


def _hidden() -> list[Finding]:
    """A user's own `runtime.py` or `runtime/`, which programs that are started beside it import in place of ours."""
    before_ours = itertools.takewhile(lambda folder: Path(folder).resolve() != PACKAGE_ROOT, sys.path)
    folders = dict.fromkeys([str(Path.cwd()), *(folder for folder in before_ours if folder)])
    specs = (PathFinder.find_spec(_PACKAGE, [folder]) for folder in folders if Path(folder).resolve() != PACKAGE_ROOT)
    return [
        Finding(
            "imports",
            WARNING,
            f"{spec.origin} hides Pocketlens's package `{_PACKAGE}` from programs that are started in its folder",
            "rename it",
        )
        for spec in specs
        if spec is not None and spec.origin is not None  # a folder without code has none, and hides nothing
    ]


def pillow_findings() -> list[Finding]:
    """Whether the installed Pillow has known weaknesses."""
    try:
        import PIL
        from PIL import Image

        from .image_formats import FIRST_WITH_STABLE_TIFFS, pillow_version
    except ImportError as error:
        return [Finding("pillow", ERROR, f"cannot be imported: {error}", "install it again: pip install pillow")]
    version, name = pillow_version(), f"Pillow {PIL.__version__}"
    folder = Path(Image.__file__).resolve().parent
    findings = []
    if not _has_own_libraries(folder):
        by = "apt" if folder.parent.name == "dist-packages" else "the system's package manager"
        findings.append(Finding("pillow", OK, f"{name}, with the system's libwebp, which {by} keeps up to date"))
    elif version < _FIRST_WITH_SAFE_WEBP:
        text = f"{name} has a libwebp of its own that runs a stranger's code from a crafted WebP (CVE-2023-4863)"
        findings.append(Finding("pillow", WARNING, text, "pip install -U 'pillow>=10.0.1'"))
    else:
        findings.append(Finding("pillow", OK, f"{name}, with libraries of its own"))
    if version < FIRST_WITH_STABLE_TIFFS:
        text = (
            f"{name} takes what damaged TIFFs (fax, JPEG) lack from memory that it has not cleared, so TIFFs with "
            "these compressions are refused"
        )
        cure = "pip install -U 'pillow>=13' (Python 3.11 or newer), or save such images as PNG"
        findings.append(Finding("tiff", WARNING, text, cure))
    return findings


def _has_own_libraries(folder: Path) -> bool:
    """Whether a folder of Pillow's package comes from a wheel, which brings its libraries."""
    if sys.platform == "win32":  # linked into its modules
        return True
    beside = [folder.parent / name for name in ("pillow.libs", "Pillow.libs")]
    return any(path.is_dir() for path in (*beside, folder / ".dylibs"))


def wheel_advice(version: tuple[int, int], machine: str, system: str, glibc: tuple[int, int]) -> str:
    """How to install an interpreter on such a machine: a command, or the reason why there is none.

    Args:
        version: Python's version, such as (3, 11).
        machine: `platform.machine()`.
        system: `sys.platform`.
        glibc: its version; (0, 0) for none.
    """
    arm = machine in ("aarch64", "arm64", "armv7l")
    if system == "linux" and version <= (3, 11) and machine in ("x86_64", "aarch64", "armv7l"):
        if arm and version == (3, 11) and glibc < _GLIBC_OF_ARM_WHEEL:
            found = f"{glibc[0]}.{glibc[1]}"
            return (
                f"tflite-runtime needs glibc 2.34 and this system has {found}: upgrade it to Debian bookworm or newer"
            )
        return "pip install tflite-runtime 'numpy<2'"
    if machine == "armv7l":
        return "no interpreter has wheels for 32-bit ARM and Python 3.12 or newer: use Python 3.11, or a 64-bit system"
    return "pip install ai-edge-litert"


def _interpreters() -> list[Finding]:
    found = installed()
    if not found:
        libc = platform.libc_ver()[1].split(".")
        glibc = (int(libc[0]), int(libc[1])) if len(libc) >= 2 and libc[1].isdigit() else (0, 0)
        cure = wheel_advice(sys.version_info[:2], platform.machine(), sys.platform, glibc)
        return [Finding("interpreter", ERROR, "none is installed", cure)]
    findings = [_run(f"{name} {version_of(name)}", name, TINY_MODEL, cure="") for name in found]
    if found == ["tflite_runtime"] and platform.machine() == "x86_64":
        findings.append(
            Finding(
                "speed",
                WARNING,
                "tflite-runtime runs int8 on slow kernels on this processor",
                "pip install 'pocketlens[litert]', then compare with `pocketlens bench MODEL`",
            )
        )
    return findings


def _run(subject: str, library: str, model: Path, cure: str, delegate: str | None = None) -> Finding:
    """Build the interpreter and run it once, in a process of its own."""
    try:
        # A delegate may look for its device by a socket.
        limits = LIMITS._replace(network=delegate is not None)
        text = call_in_child(f"{__name__}:run_once", library, str(model), delegate, timeout=_TIMEOUT_S, limits=limits)
    except ChildError as error:
        died = error.status is not None and error.status < 0
        return Finding(subject, ERROR, str(error), cure or ("install it again" if died else ""))
    return Finding(subject, OK, text)


def run_once(library: str, model: str, delegate: str | None = None) -> str:
    """Run a model once on zeros in this process and describe the result.

    Raises:
        InterpreterError: it cannot be built or run, or an output is not a number.
    """
    import numpy as np

    from . import interpreter

    try:
        engine = interpreter.build(Path(model).read_bytes(), library=library, delegate=delegate)
        for given in engine.get_input_details():
            engine.set_tensor(given["index"], np.zeros(given["shape"], given["dtype"]))
        engine.invoke()
    except (RuntimeError, ValueError) as error:
        raise InterpreterError(" ".join(str(error).split())) from error
    answers = [np.asarray(engine.get_tensor(answer["index"])) for answer in engine.get_output_details()]
    if not all(np.isfinite(values).all() for values in answers if values.dtype.kind == "f"):
        raise InterpreterError("the model's answer is not a number")
    if len(answers) == 1:
        return f"built and ran a model, {answers[0].size} outputs"
    return (
        f"built and ran a model, {len(answers)} outputs of {', '.join(str(values.size) for values in answers)} values"
    )


def _board() -> list[Finding]:
    """Findings about a Raspberry Pi; none on other machines."""
    board = board_model()
    if not board:
        return []
    findings = [Finding("board", OK, board)]
    if "Raspberry Pi" not in board:
        return findings
    if not any(map(shutil.which, _CAMERA_PROGRAMS)):
        cure = "sudo apt install rpicam-apps, if a camera is to be used"
        findings.append(Finding("camera", WARNING, f"none of {', '.join(_CAMERA_PROGRAMS)} is installed", cure))
    findings.append(picamera_finding())
    program = shutil.which("vcgencmd")
    if program:
        done = subprocess.run([program, "get_throttled"], capture_output=True, text=True, timeout=10, check=False)
        findings.append(throttling(done.stdout))
    return findings


def picamera_finding(system: Path = _SYSTEM_PACKAGES) -> Finding:
    """Whether this Python finds picamera2, which comes with Raspberry Pi OS and not from PyPI.

    Args:
        system: the folder of the system's packages.
    """
    if importlib.util.find_spec("picamera2") is not None:
        return Finding("picamera", OK, "picamera2 can be imported")
    if (system / "picamera2").is_dir():
        text = "picamera2 is installed, but this virtual environment does not see the system's packages"
        cure = "make it again by `python3 -m venv --system-site-packages FOLDER`, if `picamera` is to be used"
        return Finding("picamera", WARNING, text, cure)
    return Finding(
        "picamera", OK, "picamera2 is not installed; sudo apt install python3-picamera2, if it is to be used"
    )


def throttling(text: str) -> Finding:
    """The finding for the output of `vcgencmd get_throttled`, such as `throttled=0x50000`."""
    try:
        bits = int(text.strip().partition("=")[2], 16)
    except ValueError:
        return Finding("throttling", WARNING, f"vcgencmd says {text.strip()!r}, which is not understood")
    reasons = [reason for bit, reason in _THROTTLED.items() if bits >> bit & 1]
    if not reasons:
        return Finding("throttling", OK, "none since start")
    return Finding("throttling", WARNING, ", ".join(reasons), "use a stronger power supply, and cool the processor")


def _model(path: str, delegate: str | None) -> list[Finding]:
    sealed = False
    try:
        content, name = read_model_bytes(path)
        sealed = is_sealed(content)
        if sealed:
            read_model(path)
        else:
            refuse_ours(content, name)
        check_structure(content, name)
    except PocketlensError as error:
        other = why_no_model(path)
        if other and not sealed and Path(path).is_file():
            what, _, cure = other.partition("; ")
            return [Finding("model", ERROR, f"{shown(path)}: not a TensorFlow Lite model, but {what}", cure)]
        return [Finding("model", ERROR, str(error), "copy it again, or export it again")]
    whole = "intact" if sealed else "not made by Pocketlens; nothing shows whether its weights are whole"
    findings = [Finding("model", OK, f"{name}: {len(content):,} bytes, {whole}")]
    try:
        structure = check_structure(content, name)
    except PocketlensError as error:
        structure = None
        findings.append(Finding("structure", ERROR, str(error), "copy it again, or export it again"))
    if structure is not None:
        findings += _purpose(structure, name, sealed)
        needs = unmet_needs(structure, delegate)
        if needs:
            return [*findings, Finding("needs", ERROR, needs)]
        if structure.unbounded:
            text = f"{structure.unbounded}, so that one input may take any time or memory"
            findings.append(Finding("bounds", WARNING, text, "use it only if you trust who made it, by `trusted=True`"))
        findings += _operators(structure, delegate)
    for library in installed():
        cure = "export it for this interpreter, or install the other one"
        findings.append(_run(f"model on {LIBRARIES[library]}", library, Path(path), cure, delegate))
    return findings


def _purpose(structure: Structure, name: str, sealed: bool) -> list[Finding]:
    """A finding if the model is no image classifier; one of ours is, or takes readings."""
    if sealed:
        return []
    try:
        refuse_other_purposes(structure, name)
    except ModelFileError as error:
        outputs = ", ".join(str(list(answer.shape)) for answer in structure.outputs)
        text = f"{str(error).removeprefix(f'{name}: ')} ({len(structure.outputs)} outputs: {outputs})"
        return [Finding("purpose", WARNING, text, "use a model that takes one image and answers one score a label")]
    return []


def _operators(structure: Structure, delegate: str | None) -> list[Finding]:
    from .model_info import lacking_operators  # here: nothing else needs numpy

    cure = "export it for that interpreter, or install ai-edge-litert in its newest version"
    return [Finding("operators", WARNING, text, cure) for text in lacking_operators(structure, delegate)]

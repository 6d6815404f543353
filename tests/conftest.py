"""What several tests share: a real digits run and its exported models, made once a session.

Where there is no TensorFlow, $POCKETLENS_TEST_MODELS names a folder in which `tools.device.material` has put the same
models beforehand; tests marked `workstation`, and whatever asks for the run itself, are skipped there.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from runtime.cache import CACHE_VARIABLE
from runtime.interpreter import choose
from runtime.progress import Silent, report_to
from tests.support.commands import run_pocketlens, succeed
from tests.support.datasets import SHADES, draw_colour_image, fill_class, write_marks
from tests.support.exports import READY_MADE, Exported, Samples, Trip, made_once

# tflite-runtime does not work where TensorFlow was imported before it, as some tests of this process do.
importlib.import_module(f"{choose()}.interpreter")

#: `serve` and `update` need extras, which the environments of `make slim` and `make device` lack; signing needs more.
collect_ignore = [] if importlib.util.find_spec("uvicorn") else ["unit/runtime/serve", "unit/runtime/cli/test_serve.py"]
if not all(map(importlib.util.find_spec, ("tuf", "cryptography"))):
    collect_ignore += ["unit/runtime/update", "unit/exporter/repository"]

#: What the digits run and its export, which take most of a minute, come with.
_MADE_OF_DIGITS = {"digits_run", "digits_export", "digits_samples", "io_models", "nan_model"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # One process begins with these modules and makes the models; the other meanwhile runs what needs none.
    first = {item.path for item in items if _MADE_OF_DIGITS & {*getattr(item, "fixturenames", ())}}
    items.sort(key=lambda item: item.path not in first)
    if READY_MADE is not None:
        for item in items:
            if item.get_closest_marker("workstation"):
                item.add_marker(pytest.mark.skip(reason="needs TensorFlow, and models are given ready-made"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Escape lone surrogates in captured output and logs: they would end the worker of pytest-xdist that sends them."""
    report = yield
    report.sections = [(name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections]
    return report


@pytest.fixture(autouse=True)
def no_progress_bar() -> Iterator[None]:
    """A command run within the process installs its bar, which is not for the tests after it."""
    yield
    report_to(Silent)


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The tests, and the commands that they start, leave a person's cache alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(tmp_path_factory.getbasetemp() / "cache"))
        yield


@pytest.fixture
def messages() -> Iterator[list[str]]:
    """What our packages log, from level INFO on, whether or not a command shows it."""
    lines: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    collector, loggers = Collector(), [logging.getLogger(name) for name in ("runtime", "trainer", "exporter")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(collector)
        logger.setLevel(logging.INFO)
    yield lines
    for logger, level in zip(loggers, levels, strict=True):
        logger.removeHandler(collector)
        logger.setLevel(level)


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder that `pocketlens train --dataset digits` writes with its defaults."""
    if READY_MADE is not None:
        pytest.skip("needs the trainer, and models are given ready-made")

    def make(folder: Path) -> None:
        succeed(run_pocketlens("train", "--dataset", "digits", "--out", folder / "run"))

    return made_once(tmp_path_factory, "digits", make) / "run"


@pytest.fixture(scope="session")
def digits_export(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """float32.tflite and int8.tflite of the digits run, as `pocketlens export` makes them with its defaults."""
    if READY_MADE is not None:
        return Exported(READY_MADE, "")
    run: Path = request.getfixturevalue("digits_run")

    def make(folder: Path) -> None:
        result = succeed(run_pocketlens("export", run, "--out", folder / "models"))
        (folder / "stdout.txt").write_text(result.stdout)

    folder = made_once(tmp_path_factory, "digits-export", make)
    return Exported(folder / "models", (folder / "stdout.txt").read_text())


@pytest.fixture(scope="session")
def io_models(
    request: pytest.FixtureRequest, digits_export: Exported, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """The digits model as float32, and as int8 with each type of input and output."""
    models = {"float32": digits_export.float32, "uint8": digits_export.int8}

    def make(folder: Path) -> None:
        from tests.support import models as models_for_tests

        for io in ("int8", "float32"):
            models_for_tests.export_with_io(request.getfixturevalue("digits_run"), io, folder / f"io-{io}.tflite")

    folder = READY_MADE or made_once(tmp_path_factory, "digits-io", make)
    return models | {f"int8 with {io}": folder / f"io-{io}.tflite" for io in ("int8", "float32")}


@pytest.fixture(scope="session")
def nan_model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits model with a NaN among its weights, and a seal that says it is whole."""
    if READY_MADE is not None:
        return READY_MADE / "nan.tflite"
    from tests.support import models as models_for_tests

    path = tmp_path_factory.mktemp("nan") / "nan.tflite"
    path.write_bytes(models_for_tests.with_nan_weights(request.getfixturevalue("digits_run")))
    return path


@pytest.fixture(scope="session")
def task_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with {binary,multilabel}-{float32,int8}.tflite: the sigmoid of 0.25 + the mean pixel, 0 to 1."""
    if READY_MADE is not None:
        return READY_MADE
    from tests.support import models as models_for_tests

    folder = tmp_path_factory.mktemp("tasks")
    models_for_tests.write_task_models(folder)
    return folder


@pytest.fixture(scope="session")
def embedding_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with embedding-{float32,int8}.tflite, to which colours beside red, green and blue can be taught."""
    if READY_MADE is not None:
        return READY_MADE
    from tests.support import models as models_for_tests

    folder = tmp_path_factory.mktemp("embedding")
    models_for_tests.write_embedding_models(folder)
    return folder


@pytest.fixture(scope="session")
def digits_samples(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Samples:
    """The first forty of the test split."""
    if READY_MADE is not None:
        return Samples.read(READY_MADE / "samples")
    run: Path = request.getfixturevalue("digits_run")
    return Samples.read(made_once(tmp_path_factory, "samples", lambda folder: Samples.write(run, folder)))


@pytest.fixture(scope="session")
def marks_csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The CSV file of 300 pictures with none, one or several of three marks; not to be written to."""
    return write_marks(tmp_path_factory.mktemp("marks") / "marks")


@pytest.fixture
def colour_folder(tmp_path: Path) -> Path:
    """Three classes of thirty pictures, any size, three formats, no splits."""
    root = tmp_path / "shades"
    for label in SHADES:
        fill_class(root / label, label, range(30))
    return root


@pytest.fixture
def photo(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a picture of a class that no data set here contains."""

    def write(label: str) -> Path:
        path = tmp_path / f"new-{label}.jpg"
        draw_colour_image(label, 77_777).save(path)
        return path

    return write


@pytest.fixture(scope="session")
def binary_trip(tmp_path_factory: pytest.TempPathFactory) -> Trip:
    """The digit 8 told from all the rest."""
    settings = ("--arch", "dense", "--units", "64", "--epochs", "12")
    return Trip.make(tmp_path_factory.mktemp("binary"), "--dataset", "digits", "--positive", "8", *settings)


@pytest.fixture(scope="session")
def multilabel_trip(tmp_path_factory: pytest.TempPathFactory, marks_csv: Path) -> Trip:
    """Pictures with none, one or several of three marks."""
    settings = ("--arch", "dense", "--units", "32", "--epochs", "20")
    return Trip.make(tmp_path_factory.mktemp("multilabel"), "--dataset", marks_csv, *settings)

"""The golden images that an export puts into a file."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from exporter.errors import ExportError
from exporter.recipe import Recipe
from exporter.selftest import make_selftest_member
from runtime import Contract, ImageInput, read_model, seal
from runtime.child_worker import ChildWorker
from runtime.interpreter import LIBRARIES, installed
from runtime.selftest.format import MEMBER, read_selftest
from runtime.selftest.runner import run_selftest
from tests.support.external_models import LABELS, changed, converted

pytestmark = pytest.mark.workstation
SIDE = 48
CONTRACT = Contract(LABELS, ImageInput(SIDE, SIDE, "rgb", mean=(127.0,) * 3, std=(127.0,) * 3))
PIXELS = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), dtype=np.uint8).repeat(6, axis=1).repeat(6, axis=2)


def selftest_files(
    flatbuffer: bytes, contract: Contract, recipe: Recipe, pixels: npt.NDArray[np.uint8]
) -> dict[str, bytes]:
    with ChildWorker() as worker:
        path = worker.folder / "model.tflite"
        path.write_bytes(flatbuffer)
        return make_selftest_member(worker, path, contract, recipe, pixels)


@pytest.mark.parametrize(("kind", "allowed"), [("float32", 1e-4), ("int8", 0.0)])
def test_every_interpreter_that_is_here_answers(kind: str, allowed: float) -> None:
    flatbuffer = converted(kind, CONTRACT.input.shape)
    files = selftest_files(flatbuffer, CONTRACT, Recipe.of(kind), PIXELS)
    assert files == selftest_files(flatbuffer, CONTRACT, Recipe.of(kind), PIXELS), "not the same bytes twice"
    content = seal(flatbuffer, CONTRACT, files)
    carried = read_selftest(read_model(content))
    assert [answers.library for answers in carried.answers] == [name for name in LIBRARIES if name in installed()]
    assert len(carried.images) in (2, 3)
    assert len(files[MEMBER]) < 20_000
    for library in installed():
        found = run_selftest(content, library)
        assert found.passed
        assert (found.allowed, found.different) == (allowed, 0)


def test_a_model_with_one_output_and_one_image() -> None:
    contract = Contract(("no", "yes"), CONTRACT.input, "binary")
    flatbuffer = converted("float32", contract.input.shape, outputs=1)
    content = seal(flatbuffer, contract, selftest_files(flatbuffer, contract, Recipe.float32(), PIXELS[:1]))
    assert run_selftest(content).passed
    assert len(read_selftest(read_model(content)).images) == 1


def test_a_model_that_no_interpreter_takes() -> None:
    def unknown(model) -> None:  # type: ignore[no-untyped-def]
        for code in model.operatorCodes:
            code.version = 99

    with pytest.raises(ExportError, match=r"int8: no self-test can be made for it: .*refuses the model"):
        selftest_files(changed(converted("int8", CONTRACT.input.shape), unknown), CONTRACT, Recipe.int8(), PIXELS)

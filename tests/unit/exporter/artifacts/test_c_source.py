"""The model as C++ source: what a compiler makes of it is the FlatBuffer."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from exporter.artifacts.c_source import C_FILES, write_c_source
from runtime import Contract, ImageInput, read_model, seal
from runtime.tflite.model import check_structure
from tests.support.external_models import converted

pytestmark = pytest.mark.workstation
COMPILER = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
LABELS = ('trousers "A"', "Stra\u00dfe??/\\n7", "\u9774")
PROGRAM = r"""
#include <cstdio>
#include "model_data.h"
#include "model_data.h"
int main() {
  std::printf("%d %d %d %d %d %.9g %d %.9g %d\n", (int)(reinterpret_cast<std::uintptr_t>(model_data) % 16),
              model_label_count, model_input_height, model_input_width, model_input_channels, model_input_scale,
              model_input_zero_point, model_output_scale, model_output_zero_point);
  for (double value : model_input_mean) std::printf("%.17g ", value);
  for (double value : model_input_std) std::printf("%.17g ", value);
  std::printf("\n");
  for (const char* label : model_labels) std::printf("%s\n", label);
  std::fwrite(model_data, 1, model_data_len, stdout);
}
"""


@pytest.mark.skipif(COMPILER is None, reason="no C++ compiler on this machine")
@pytest.mark.parametrize("kind", ["uint8", "int8", "float32"])
def test_a_compiler_gives_the_flatbuffer_back(kind: str, tmp_path: Path) -> None:
    contract = Contract(LABELS, ImageInput(8, 8, "rgb", mean=(0.1, 2.0, 127.5), std=(60.0, 1e-3, 1e6)))
    flatbuffer = converted(kind)
    write_c_source(tmp_path, read_model(seal(flatbuffer, contract, {"other": b"x"})))
    assert {path.name for path in tmp_path.iterdir()} == set(C_FILES)
    (tmp_path / "main.cc").write_text(PROGRAM)
    strict = ("-std=c++11", "-Wall", "-Wextra", "-Werror", "-pedantic")
    command = [str(COMPILER), *strict, "main.cc", "model_data.cc", "-o", "program"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

    printed = subprocess.run([tmp_path / "program"], capture_output=True, check=True).stdout
    figures, scaling, *labels, content = printed.split(b"\n", 2 + len(LABELS))
    assert content == flatbuffer
    given, answer = check_structure(flatbuffer).inputs[0], check_structure(flatbuffer).outputs[0]
    scales = [(t.scale or (0.0,))[0] for t in (given, answer)]
    points = [(t.zero_point or (0,))[0] for t in (given, answer)]
    found = [float(word) for word in figures.split()]
    assert found == pytest.approx([0, 3, 8, 8, 3, scales[0], points[0], scales[1], points[1]], rel=1e-7)
    assert [float(word) for word in scaling.split()] == [0.1, 2.0, 127.5, 60.0, 1e-3, 1e6]
    assert tuple(label.decode() for label in labels) == LABELS
    assert (scales[0] == 0) == (kind == "float32")

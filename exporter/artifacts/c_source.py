"""A model as C++ source, for TensorFlow Lite Micro, which has no file system to read it from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from runtime import Contract, FeaturesInput, ImageInput
from runtime.model_file import ModelFile
from runtime.tflite.graph import TensorInfo
from runtime.tflite.model import check_structure

HEADER, SOURCE = "model_data.h", "model_data.cc"
#: In the order of publishing.
C_FILES = (SOURCE, HEADER)
_BYTES_A_LINE = 16


def write_c_source(folder: Path, file: ModelFile) -> None:
    """Write `model_data.h` and `model_data.cc` into a folder.

    The array holds only the FlatBuffer: a microcontroller has no use for the archive behind it. The header also
    declares the labels, and the numbers that fill the input and read the output.
    """
    flatbuffer = file.flatbuffer
    structure = check_structure(flatbuffer, file.name)
    tensors = {"input": structure.inputs[0], "output": structure.outputs[0]}
    if file.contract.embedding:  # `tflite_metadata` puts it second
        tensors["embedding"] = structure.outputs[1]
    header = _header(file.contract, tensors, len(flatbuffer))
    (folder / HEADER).write_text("\n".join(header) + "\n", encoding="ascii")
    with (folder / SOURCE).open("w", encoding="ascii") as out:
        out.writelines(f"{line}\n" for line in _source(flatbuffer, file.contract))


def _header(contract: Contract, tensors: Mapping[str, TensorInfo], size: int) -> Iterator[str]:
    yield "// Made by Pocketlens."
    yield "#ifndef POCKETLENS_MODEL_DATA_H_"
    yield "#define POCKETLENS_MODEL_DATA_H_"
    yield ""
    yield "#include <cstddef>"
    yield "#include <cstdint>"
    yield ""
    yield "// The FlatBuffer, for tflite::GetModel(model_data)."
    yield f"constexpr std::size_t model_data_len = {size};"
    yield "alignas(16) extern const unsigned char model_data[model_data_len];"
    yield ""
    yield "// The labels in UTF-8, in the order of the outputs."
    yield f"constexpr int model_label_count = {len(contract.labels)};"
    yield "extern const char* const model_labels[model_label_count];"
    yield ""
    spec = contract.input
    yield from _features(spec) if spec.kind == "features" else _image(spec)
    yield f"constexpr double model_input_mean[] = {{{_numbers(spec.mean)}}};"
    yield f"constexpr double model_input_std[] = {{{_numbers(spec.std)}}};"
    yield ""
    yield "// real = scale * (stored - zero_point); a scale of 0 means that the tensor is not quantized."
    for name, tensor in tensors.items():
        scale, zero_point = (tensor.scale or (0.0,))[0], (tensor.zero_point or (0,))[0]
        place = {"output": ", interpreter.output(0)", "embedding": ", interpreter.output(1)"}.get(name, "")
        yield f"// {name}: {tensor.type.lower()}{place if contract.embedding else ''}"
        yield f"constexpr float model_{name}_scale = {scale!r}f;"
        yield f"constexpr std::int32_t model_{name}_zero_point = {zero_point};"
    yield ""
    yield "#endif  // POCKETLENS_MODEL_DATA_H_"


def _features(spec: FeaturesInput) -> Iterator[str]:
    yield "// The names of the features in UTF-8, in the order of the input."
    yield f"constexpr int model_input_features = {len(spec.names)};"
    yield "extern const char* const model_feature_names[model_input_features];"
    yield "// The input is (feature - mean) / std, with one mean and std a feature."


def _image(spec: ImageInput) -> Iterator[str]:
    order = {"rgb": "red, green, blue", "bgr": "blue, green, red"}.get(spec.colour, "grey")
    yield f"// The image: rows, columns, channels ({order})."
    yield f"constexpr int model_input_height = {spec.height};"
    yield f"constexpr int model_input_width = {spec.width};"
    yield f"constexpr int model_input_channels = {spec.channels};"
    yield "// The input is (pixel - mean) / std, with pixels from 0 to 255 and one mean and std a channel."


def _source(flatbuffer: bytes, contract: Contract) -> Iterator[str]:
    yield "// Made by Pocketlens."
    yield f'#include "{HEADER}"'
    yield ""
    yield "alignas(16) const unsigned char model_data[model_data_len] = {"
    for start in range(0, len(flatbuffer), _BYTES_A_LINE):
        yield "    " + ",".join(map(str, flatbuffer[start : start + _BYTES_A_LINE])) + ","
    yield "};"
    yield ""
    names = {"model_labels[model_label_count]": contract.labels}
    if contract.input.kind == "features":
        names["model_feature_names[model_input_features]"] = contract.input.names
    for array, texts in names.items():
        yield f"const char* const {array} = {{"
        yield from (f'    "{_escaped(text)}",' for text in texts)
        yield "};"


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(repr(float(value)) for value in values)


def _escaped(text: str) -> str:
    """Text inside a string literal: ASCII letters and digits as they are, every other byte as three octal digits.

    Three is the most that C++ reads, so that a digit that follows is never taken for a part of the escape.
    """
    return "".join(
        chr(byte) if chr(byte).isascii() and chr(byte).isalnum() else f"\\{byte:03o}" for byte in text.encode()
    )

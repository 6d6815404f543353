"""The int8 file of a trial. `convert_trial` is called by its name in the child process, which has TensorFlow loaded."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from runtime import Contract
from trainer.data.run_folder import RUN_MARKER


def convert_trial(folder: str, samples: str, out: str, target: str) -> None:
    """Convert the model of a trial to int8, without its self-test.

    Args:
        folder: of the trial, with its model and contract.
        samples: a file of numpy with those of a `RepresentativeDataset`.
        out: the file to write: a FlatBuffer with metadata, not yet sealed.
        target: the interpreter of the device, one of `operator_support.TARGETS`.

    Raises:
        ExportError: the converter refuses the model, or the target lacks an operator.
    """
    from trainer.keras_inspection.graph import layer_names

    from ..artifacts.tflite_metadata import with_metadata
    from ..candidate import convert_for_target
    from ..keras_loading import load_model
    from ..model_converter import ModelConverter, converter_child
    from ..recipe import Recipe

    place = Path(folder)
    contract = Contract.from_json((place / RUN_MARKER).read_bytes())
    model = load_model(place / "model.keras", contract)
    with converter_child() as child:  # not started: all layers of a search convert in this process
        converter = ModelConverter(model, contract, np.load(samples), child)
        converted = convert_for_target(converter.convert, layer_names(model), Recipe.int8(), target)
    Path(out).write_bytes(with_metadata(converted.flatbuffer, contract))

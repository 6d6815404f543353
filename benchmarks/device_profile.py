"""Predicted against measured: latency and memory of 30 networks that no profile was fitted to, on this machine.

`python -m benchmarks.device_profile` measures this machine's profile and the networks, with each installed interpreter
and one thread. Nothing else should run meanwhile. The networks are those of `cnn` and `dense` with other widths,
resolutions and numbers of classes than the probes, untrained, in int8 and float32, and some in float16. Making them
takes minutes; `--networks DIR` keeps them. `--memory-only` takes seconds and needs no quiet machine. The exit status is
1 if a bound on the time is missed.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from exporter.budget.predict import Predictor
from runtime import Contract, ImageInput, interpreter
from runtime._version import __version__
from runtime.child_process import call_in_child
from runtime.device_profile.format import DeviceProfile, Setting, read_profile
from runtime.device_profile.measurement import grown_call, measure_call, measure_device
from runtime.device_profile.probes import all_probes, count_probes
from trainer.config import TrainingConfig

_CNN, _DENSE = 20, 10
#: The bounds: the median of the relative errors of the latency, the rank correlation, and for memory the relative error
#: and the bytes that each network keeps.
_MEDIAN_ERROR, _RANK, _MEMORY_SHARE, _MEMORY_BYTES = 0.10, 0.95, 0.10, 200_000


def networks(seed: int) -> Iterator[tuple[str, TrainingConfig, ImageInput, int, tuple[str, ...]]]:
    """Name, configuration, input, number of classes and modes of each network."""
    choose = random.Random(seed)
    for number in range(_CNN + _DENSE):
        colour = choose.choice(("grey", "rgb"))
        modes = ("int8", "float32", "float16")[: 3 if number % 3 == 0 else 2]
        if number < _CNN:
            side = choose.choice((8, 12, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96))
            first = choose.choice((6, 8, 10, 12, 16, 20, 24))
            widths = (first, choose.choice((first, first * 3 // 2, first * 2)), choose.choice((2, 3, 4)) * first)
            config = TrainingConfig(architecture="cnn", widths=widths, blocks=choose.choice((0, 1, 1, 2)))
            name = f"cnn-{side}-{colour}-{'x'.join(map(str, widths))}-{config.blocks}"
        else:
            side = choose.choice((8, 16, 20, 28, 32))
            units = tuple(choose.choice((12, 24, 40, 72, 100, 160, 256)) for _ in range(choose.choice((1, 2, 3))))
            config = TrainingConfig(architecture="dense", units=units, activation=choose.choice(("relu", "tanh")))
            name = f"dense-{side}-{colour}-{'x'.join(map(str, units))}-{config.activation}"
        yield name, config, ImageInput(side, side, colour), choose.choice((2, 5, 10, 20)), modes


def make_networks(folder: Path, seed: int) -> list[Path]:
    """Make the networks of a seed that are not in a folder yet; the paths of all of them."""
    paths = []
    for name, config, spec, classes, modes in networks(seed):
        wanted = [folder / f"{name}-{mode}.tflite" for mode in modes]
        paths += wanted
        missing = [(path, mode) for path, mode in zip(wanted, modes, strict=True) if not path.exists()]
        if missing:
            for path, content in _converted(config, spec, classes, missing):
                path.write_bytes(content)
    return paths


def _converted(
    config: TrainingConfig, spec: ImageInput, classes: int, missing: Sequence[tuple[Path, str]]
) -> Iterator[tuple[Path, bytes]]:
    import keras

    from exporter.converter import convert
    from exporter.recipe import Recipe
    from trainer.models.factory import build_model

    network = build_model(config, spec.shape, classes)
    given = keras.Input(batch_shape=(1, *spec.shape))
    model = keras.Model(given, network(given))
    contract = Contract(tuple(f"class {number}" for number in range(classes)), spec)
    samples = np.random.default_rng(0).integers(0, 256, (8, *spec.shape), dtype=np.uint8)
    for path, mode in missing:
        yield path, convert(model, Recipe.of(mode), contract, samples)


def measure_here(library: str, paths: Sequence[str], timed: bool) -> list[tuple[float | None, int | None]]:
    """The ms of a call of each file in this process, None where it is not `timed`, and the bytes that it allocated."""
    grown_call(Path(paths[0]).read_bytes(), library, 1)  # what a library allocates for its first model
    contents = (Path(path).read_bytes() for path in paths)
    if timed:
        return [measure_call(content, library, 1) for content in contents]
    return [(None, grown_call(content, library, 1)[1]) for content in contents]


def memory_profile() -> DeviceProfile:
    """The memory of the probes on this machine with each interpreter; all times are 1 ms."""
    settings = [
        Setting(library, interpreter.version_of(library), 1, (1.0,) * count_probes(), tuple(sizes))
        for library in interpreter.installed()
        for sizes in [call_in_child("benchmarks.device_profile:probe_sizes_here", library)]
    ]
    probes = tuple(probe._replace(content=b"") for probe in all_probes())
    return DeviceProfile("this machine", platform.machine(), 1, __version__, probes, tuple(settings))


def probe_sizes_here(library: str) -> list[int | None]:
    """The bytes that each probe makes this process allocate."""
    grown_call(next(all_probes()).content, library, 1)
    return [grown_call(probe.content, library, 1)[1] for probe in all_probes()]


def compare(profile: DeviceProfile, library: str, paths: Sequence[Path], timed: bool = True) -> list[dict[str, Any]]:
    """Predicted and measured figures of each file with an interpreter and one thread; the times if `timed`."""
    predictor = Predictor(profile, library, 1)
    measured = call_in_child("benchmarks.device_profile:measure_here", library, list(map(str, paths)), timed)
    rows = []
    for path, (latency, grown) in zip(paths, measured, strict=True):
        found = predictor.predict(path.read_bytes())
        rows.append(
            {
                "network": path.stem,
                "predicted_ms": found.known_latency_ms(),
                "low_ms": found.low_ms,
                "high_ms": found.high_ms,
                "measured_ms": latency,
                "predicted_bytes": found.arena_bytes,
                "measured_bytes": grown,
            }
        )
    return rows


def memory_summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The figures of the memory; shares are of the networks."""
    counted = [(row["predicted_bytes"], row["measured_bytes"]) for row in rows if row["measured_bytes"]]
    shares = np.array([abs(one / other - 1) for one, other in counted])
    sizes = np.array([abs(one - other) for one, other in counted])
    return {
        "networks": len(rows),
        "memory_median_error": float(np.median(shares)),
        "memory_within_a_tenth": float(np.mean(shares <= _MEMORY_SHARE)),
        "memory_within_200_kb": float(np.mean(sizes <= _MEMORY_BYTES)),
        "memory_within_both": float(np.mean((shares <= _MEMORY_SHARE) & (sizes <= _MEMORY_BYTES))),
    }


def summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The figures that the bounds are about; shares are of the networks."""
    from scipy.stats import spearmanr

    predicted, measured = (np.array([row[f"{name}_ms"] for row in rows]) for name in ("predicted", "measured"))
    errors = np.abs(predicted / measured - 1)
    inside = [row["low_ms"] <= row["measured_ms"] <= row["high_ms"] for row in rows]
    return {
        "median_error": float(np.median(errors)),
        "p90_error": float(np.quantile(errors, 0.9)),
        "rank_correlation": float(spearmanr(predicted, measured)[0]),
        "in_interval": float(np.mean(inside)),
        **memory_summary(rows),
    }


def main() -> int:
    """Measure, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", type=Path, help="a profile of this machine; by default it is measured now")
    parser.add_argument("--networks", type=Path, help="a folder that keeps the networks")
    parser.add_argument("--seed", type=int, default=1, help="chooses the networks")
    parser.add_argument("--memory-only", action="store_true", help="measure no times")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.networks or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        paths = make_networks(folder, arguments.seed)
        measure = memory_profile if arguments.memory_only else partial(measure_device, 1)
        profile = measure() if arguments.profile is None else read_profile(arguments.profile)
        timed = not arguments.memory_only
        rows = {library: compare(profile, library, paths, timed) for library in interpreter.installed()}
    summarize = summary if timed else memory_summary
    found = {
        library: {
            kind: summarize([row for row in rows[library] if row["network"].endswith(kind)])
            for kind in ("int8", "float32", "float16", "")
        }
        for library in rows
    }
    if arguments.json:
        print(json.dumps({"summary": found, "rows": rows}, indent=2))
    for library, kinds in found.items() if not arguments.json else ():
        for kind, figures in kinds.items():
            print(library, kind or "all", *(f"{name} {value:.4g}" for name, value in figures.items()), sep="  ")
    kept = [
        not timed or (kinds[""]["median_error"] <= _MEDIAN_ERROR and kinds[""]["rank_correlation"] >= _RANK)
        for kinds in found.values()
    ]
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())

"""The largest pictures that are decoded, many at once: a process must stay under 300 MB with any number of threads.

Each case is a way to classify a folder of these pictures in a process of its own, which reports its peak.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from PIL import Image, features

from fuzz.corpus import corpus, encoded, scene
from fuzz.driver import PEAK_MB, Outcome
from fuzz.mutations import mutate
from fuzz.specials import FILES
from runtime.memory import peak_memory_mb

THREADS = (1, 4, 8)
_REPEATS = 3
_SECONDS = 900
_ROTATED = 6
#: Of the way "random": its time, the share of its pictures that are large or hostile, and the number of hostile files.
_RANDOM_SECONDS = 45
_LARGE_SHARE = 0.06
_SPECIALS = 40


def _exif() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = _ROTATED
    return exif


def _large(mode: str, megapixels: float) -> Image.Image:
    """A picture with structure, at this size."""
    side = int((megapixels * 10**6) ** 0.5)
    return scene(mode, (64, 64)).resize((side, side), Image.Resampling.NEAREST)


def _encoded(mode: str, megapixels: float, kind: str, **options: Any) -> bytes:
    return encoded(_large(mode, megapixels), kind, **options)


def _noise(megapixels: float) -> bytes:
    """A file as large as its pixels."""
    side = int((megapixels * 10**6) ** 0.5)
    return encoded(Image.frombytes("RGB", (side, side), os.urandom(3 * side * side)), "BMP")


def _animation() -> bytes:
    frames = [_large("P", 6), _large("P", 6).rotate(90)]
    return encoded(frames[0], "GIF", save_all=True, append_images=frames[1:], transparency=3)


_TURNED_TIFF = {"compression": "tiff_lzw", "tiffinfo": {274: _ROTATED}}
#: Functions that make the files: each format and mode at the largest size that is accepted, and smaller ones between.
PICTURES: dict[str, Callable[[], bytes]] = {
    "rotated-l.tif": partial(_encoded, "L", 31.9, "TIFF", **_TURNED_TIFF),
    "rotated-rgb.tif": partial(_encoded, "RGB", 22, "TIFF", **_TURNED_TIFF),
    "rgb.tif": partial(_encoded, "RGB", 31.9, "TIFF", compression="tiff_lzw"),
    "rotated-strips.tif": partial(_encoded, "RGB", 15, "TIFF", tiffinfo={274: _ROTATED}),
    "cmyk.tif": partial(_encoded, "CMYK", 19, "TIFF", compression="tiff_lzw"),
    "lab.tif": partial(_encoded, "LAB", 19, "TIFF", compression="tiff_lzw"),
    "deep.tif": partial(_encoded, "I;16", 31.9, "TIFF", compression="tiff_lzw"),
    "small.png": partial(_encoded, "RGB", 6, "PNG", compress_level=1),
    "rgb.png": partial(_encoded, "RGB", 31.9, "PNG", compress_level=1),
    "rotated-rgb.png": partial(_encoded, "RGB", 15.9, "PNG", compress_level=1, exif=_exif()),
    "rgba.png": partial(_encoded, "RGBA", 25, "PNG", compress_level=1),
    "deep.png": partial(_encoded, "I;16", 31.9, "PNG", compress_level=1),
    "palette.png": partial(_encoded, "P", 31.9, "PNG", compress_level=1, transparency=3),
    "progressive.jpg": partial(_encoded, "RGB", 20, "JPEG", progressive=True, subsampling=0, quality=50),
    "cmyk-progressive.jpg": partial(_encoded, "CMYK", 15.9, "JPEG", progressive=True, quality=50),
    "cmyk.jpg": partial(_encoded, "CMYK", 31.9, "JPEG", quality=50),
    "rotated.jpg": partial(_encoded, "RGB", 31.9, "JPEG", quality=50, exif=_exif()),
    "animated.gif": _animation,
    "whole.gif": partial(_encoded, "P", 31.9, "GIF", transparency=3),
    "noise.bmp": partial(_noise, 20),
}
if features.check("webp"):
    for _mode in ("RGB", "RGBA"):
        for _lossless in (False, True):
            PICTURES[f"{_mode}-{_lossless}.webp"] = partial(
                _encoded, _mode, 11.9, "WEBP", lossless=_lossless, method=0, quality=1
            )
#: Folders of several pictures at once, beside one folder for each picture.
MIXTURES = {
    "rotated TIFFs": ("rotated-rgb.tif", "rotated-l.tif", "rotated-strips.tif"),
    "TIFFs and PNGs": ("rotated-rgb.tif", *["small.png"] * 8),
    "small PNGs": ("small.png",),
    "all": tuple(PICTURES),
}


def make_pictures(folder: Path) -> dict[str, Path]:
    """The path of each picture, by name; each is made once."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in PICTURES.items():
        _make(folder / name, make)
    return {name: folder / name for name in PICTURES}


def make_specials(folder: Path, seed: int) -> list[Path]:
    """A sample of the hostile files: they take 3 GB together."""
    names = random.Random(seed).sample(sorted(FILES), _SPECIALS)
    for name in names:
        _make(folder / name, FILES[name])
    return [folder / name for name in names]


def _make(path: Path, make: Callable[[], bytes]) -> None:
    """Make a file in a forked process, so that its memory does not count."""
    if path.exists():
        return
    child = os.fork()
    if child == 0:
        partial_path = path.with_suffix(".partial")
        partial_path.write_bytes(make())
        partial_path.replace(path)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        raise RuntimeError(f"{path.name} could not be made")


def random_sources(seed: int, seconds: float, paths: list[str]) -> Iterator[str | bytes]:
    """Files from `paths`, and mutants of the corpus between them, until the time has passed."""
    chance, whole = random.Random(seed), corpus()
    names = list(whole)
    end = time.monotonic() + seconds
    for number in itertools.count():
        if time.monotonic() > end:
            return
        if chance.random() < _LARGE_SHARE:
            yield chance.choice(paths)
        else:
            yield mutate(whole[chance.choice(names)], seed, number)[1]


def cases(*, every_picture: bool = True) -> list[list[Any]]:
    """[way, threads, model, mixture] for each case; of the way "random" the mixture is its seed."""
    names = [*MIXTURES, *(PICTURES if every_picture else ())]
    ways = [("command", 1), *((way, threads) for threads in THREADS for way in ("batch", "threads"))]
    ways += [("command", threads) for threads in THREADS[1:]]
    chosen: list[list[Any]] = [["random", threads, "colour-cnn", seed] for seed, threads in enumerate((4, 8, 1))]
    chosen += [[way, threads, model, "all"] for way, threads in ways for model in ("digits-int8", "colour-cnn")]
    chosen += [[way, 4, "colour-cnn", name] for name in names if name != "all" for way in ("batch", "command")]
    return chosen


def run_case(case: list[Any], models: dict[str, Path], pictures: dict[str, Path]) -> Outcome:
    """Run a case in a new process; `answered` stands for its end without an error of the wrong kind."""
    way, name = case[0], case[3]
    if way == "random":
        with tempfile.TemporaryDirectory(dir=pictures["rgb.tif"].parent) as folder:
            specials = make_specials(Path(folder), name)
            arguments = [str(name), str(_RANDOM_SECONDS), *map(str, [*pictures.values(), *specials])]
            return _run(case, arguments, models)
    names = MIXTURES.get(name, (name,))
    paths = [str(pictures[name]) for name in names] * (_REPEATS if len(names) > 8 else 24 // len(names))
    return _run(case, paths, models)


def _run(case: list[Any], arguments: list[str], models: dict[str, Path]) -> Outcome:
    way, threads, model = case[:3]
    command = [sys.executable, "-m", "fuzz.memory", way, str(threads), str(models[model]), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        return Outcome(case, "hang", "", _SECONDS, 0.0)
    try:
        report = json.loads(done.stderr.splitlines()[-1])
    except (IndexError, ValueError):
        return Outcome(case, "died", f"exit status {done.returncode}: {done.stderr[-300:]}", 0.0, 0.0)
    return Outcome(case, "answered", "", report["seconds"], report["peak_mb"])


def run_cases(chosen: list[list[Any]], models: dict[str, Path], folder: Path) -> Iterator[Outcome]:
    """The outcome of each case, in order."""
    pictures = make_pictures(folder)
    return (run_case(case, models, pictures) for case in chosen)


def is_finding(outcome: Outcome) -> bool:
    """Whether a process died, hung, or took more memory than promised."""
    return outcome.kind != "answered" or outcome.peak_mb > PEAK_MB


def _work(way: str, threads: int, model: str, paths: list[str]) -> None:
    import threading

    from runtime import Classifier, ImageError

    if way == "command":
        from runtime.cli.main import main

        end = os._exit

        def report_and_end(status: int) -> NoReturn:
            _report()
            end(status)

        os._exit = report_and_end
        os.cpu_count = lambda: threads
        sys.argv = ["pocketlens", "classify", "--model", model, *paths]
        main()
    with Classifier(model) as classifier:
        if way == "random":
            seed, seconds, *paths = paths
            kept: deque[object] = deque(maxlen=2000)
            kept.extend(
                classifier.classify_batch(
                    random_sources(int(seed), float(seconds), paths), workers=threads, return_errors=True
                )
            )
        elif way == "batch":
            # The errors are kept, as a caller would who counts them at the end.
            answers = list(classifier.classify_batch(paths, workers=threads, return_errors=True))
            assert len(answers) == len(paths)
        else:
            errors = []

            def work(first: int) -> None:
                for path in paths[first::threads]:
                    try:
                        classifier.classify(path)
                    except ImageError as error:
                        errors.append(error)

            workers = [threading.Thread(target=work, args=(n,)) for n in range(threads)]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
    _report()


def _report() -> None:
    peak = peak_memory_mb()
    print(json.dumps({"peak_mb": peak, "seconds": round(time.process_time(), 2)}), file=sys.stderr, flush=True)


if __name__ == "__main__":
    _work(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4:])

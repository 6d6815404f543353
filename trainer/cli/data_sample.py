"""What `pocketlens data` prints, draws and saves of one sample."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from runtime.cli.output import print_json, print_line
from runtime.errors import UsageError
from runtime.files import shown, write_whole
from runtime.image_formats import open_encoded
from runtime.memory import DecodingRoom

from ..data.samples import describe_sample, label_of, splits_or_reason
from ..data.sources import FileSource
from ..plots.image_grid import save_image
from .options import typed_options
from .sample_index import SampleIndex, name_in_split

if TYPE_CHECKING:
    from ..data import Dataset
    from ..data.sources import Indices

#: The values of images up to this many rows and columns are printed.
_MAX_PRINTED_SIDE = 32
#: What PNG can hold of what is decoded; other modes become RGB.
_PNG_MODES = ("1", "L", "LA", "I;16", "P", "RGB", "RGBA")


def find_sample(found: Dataset, index: SampleIndex, seed: int) -> tuple[int, dict[str, Indices]]:
    """The index of a sample in the whole data set, and the splits by name.

    Args:
        seed: of the splits; and of a random choice, if it was typed.

    Raises:
        UsageError: there is no such sample.
    """
    splits = dict(splits_or_reason(found, seed)[0])
    chosen = seed if "seed" in typed_options() else None
    return index.find(splits, len(found.targets), found.name, chosen), splits


def print_sample(found: Dataset, index: SampleIndex, seed: int, plot: Path | None, as_json: bool) -> None:
    """Print one sample, and draw it if it is an image.

    Raises:
        UsageError: there is no such sample, or it is a vector and cannot be drawn.
    """
    place, splits = find_sample(found, index, seed)
    description, pixels = describe_sample(found, place, seed)
    in_split = name_in_split(place, splits)
    description |= {"sample": in_split} if in_split else {}
    if found.input.kind == "features":
        if plot:
            raise UsageError(f"--plot with --index draws an image; {found.name} has vectors: leave --index out")
        _show_vector(description, dict(zip(found.input.names, pixels.tolist(), strict=True)), as_json)
        return
    if plot:
        save_image(plot, pixels, f"{found.name} {in_split or f'#{place}'}: {description['label']}")
    if as_json:
        print_json(description | {"values": pixels.tolist(), "plot": str(plot) if plot else None})
        return
    for name, value in description.items():
        print_line(f"{name}: {shown(value)}")
    for line in _matrix(pixels):
        print_line(line)
    if plot:
        print_line(f"picture: {shown(plot)}")


def save_sample(found: Dataset, index: SampleIndex, seed: int, out: Path, as_json: bool) -> None:
    """Write one sample into a file that `pocketlens classify` takes: an image as it is, or a vector as a row of CSV.

    Raises:
        UsageError: there is no such sample, or the file's name has another suffix than it needs.
        DatasetError: the image's own file cannot be read any more.
        OSError: the file cannot be written.
    """
    place, splits = find_sample(found, index, seed)
    write_whole(out, _content(found, place, out))
    name, label = name_in_split(place, splits) or f"#{place}", label_of(found, place)
    if as_json:
        print_json({"dataset": found.name, "index": place, "sample": name, "label": label, "file": str(out)})
        return
    print_line(f"{shown(out)}: {shown(found.name)} {name}, true label: {shown(label)}")


def _content(found: Dataset, place: int, out: Path) -> bytes:
    """The bytes of the file."""
    sample, suffix = found.source.sample(place), out.suffix.lower()
    if found.input.kind == "features":
        _check_suffix(suffix, (".csv",), out, f"{found.name} has vectors")
        rows = io.StringIO(newline="")
        csv.writer(rows).writerows([found.input.names, np.asarray(sample).tolist()])
        return rows.getvalue().encode()
    if not isinstance(sample, bytes) or not isinstance(found.source, FileSource):
        _check_suffix(suffix, (".png",), out, f"{found.name} has images without files")
        return _png(Image.fromarray(np.asarray(sample)))
    path = found.source.paths[place]
    own = Path(path).suffix.lower()
    _check_suffix(suffix, tuple(dict.fromkeys((own, ".png"))), out, f"the image is {path}")
    if suffix == own:
        return sample
    with DecodingRoom() as room:
        return _png(open_encoded(sample, shown(path), room)[0])


def _check_suffix(suffix: str, allowed: tuple[str, ...], out: Path, reason: str) -> None:
    if suffix not in allowed:
        raise UsageError(f"{shown(out)}: {shown(reason)}; name a file that ends in {' or '.join(allowed)}")


def _png(image: Image.Image) -> bytes:
    """An image as PNG, with its pixels as they are stored; an EXIF orientation stays beside them."""
    exif = image.getexif()
    if image.mode not in _PNG_MODES:
        image = image.convert("RGB")
    content = io.BytesIO()
    image.save(content, "PNG", exif=exif)
    return content.getvalue()


def _show_vector(description: dict[str, Any], values: dict[str, float], as_json: bool) -> None:
    if as_json:
        print_json(description | {"values": values})
        return
    for name, value in (*description.items(), *values.items()):
        print_line(f"{name}: {shown(value)}")


def _matrix(pixels: npt.NDArray[np.uint8]) -> list[str]:
    height, width, channels = pixels.shape
    if max(height, width) > _MAX_PRINTED_SIDE:
        return ["values: too many to print; --json has them, --plot draws them"]
    lines = []
    for channel, name in enumerate(("",) if channels == 1 else ("red", "green", "blue")):
        lines += [f"{name} values:".strip()]
        lines += ["".join(f"{value:4d}" for value in row) for row in pixels[:, :, channel].tolist()]
    return lines

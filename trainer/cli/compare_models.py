"""`pocketlens compare OLD NEW --dataset`: two models on the same images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from runtime.cli.output import print_json, print_line, print_wrapped
from runtime.cli.tables import columns
from runtime.errors import UsageError
from runtime.files import shown
from runtime.recognition import recognize

from ..data.run_folder import RunFolder
from ..evaluation.model_comparison import SAME, WORSE, ClassChange, ModelComparison, compare_models, points
from ..evaluation.paired_set import KnownModel, PairedSet, pair_samples
from ..evaluation.predictions import Predictions
from ..pages.change_page import change_page
from ..plots.image_grid import SMALL_TILES, input_pixels, prediction_tile, save_tiles
from .measured_model import load_as_input, open_model, score
from .options import write_page

#: Classes that are printed; --json and --html have all.
_MAX_PRINTED = 16
#: Images that --json lists.
_MAX_IMAGES = 500


class _Model(NamedTuple):
    path: Path
    known: KnownModel

    @property
    def run(self) -> RunFolder | None:
        return self.known.run


class _Answers(NamedTuple):
    """What both models answer, and what that comes to."""

    paired: PairedSet
    old: Predictions
    new: Predictions
    comparison: ModelComparison


def compare_named(
    models: Sequence[Path],
    dataset: str,
    out: Path | None,
    html: Path | None,
    as_json: bool,
    options: dict[str, Any],
    in_its_words: Callable[[str], str],
) -> bool:
    """Compare two models and print the result; the arguments are those of `compare`.

    Args:
        in_its_words: names the command's options in a message.

    Returns:
        Whether the new model is worse.
    """
    if len(models) != 2:
        raise UsageError(f"models to compare with --dataset: {len(models)}, expected two, the old one and the new one")
    old, new = map(_open, models)
    split, seed = options.pop("split"), options.pop("seed")
    contract = new.known.contract
    if out and contract.input.kind != "image":
        raise UsageError("--out draws images, and these models take features; leave it out")
    data = load_as_input(contract, dataset, options)
    paired = pair_samples(data, old.known, new.known, split, contract.provenance.seed if seed is None else seed)
    notes = [in_its_words(line) for line in _notes(paired)]
    for line in notes:
        print_line(f"note: {line}", error=True)
    (old_scores, ran_old), (new_scores, ran_new) = (score(each.run, each.path, paired.samples) for each in (old, new))
    before, after = paired.predictions(old.known, old_scores), paired.predictions(new.known, new_scores)
    found = _Answers(paired, before, after, compare_models(before, after, paired.samples.labels))
    drawn = _draw(out, found) if out else False
    page = write_page(html, lambda: change_page(paired, found.old, found.new, found.comparison, notes))
    if as_json:
        figures = _as_dict(found, (ran_old, ran_new), notes)
        print_json(figures | {"plot": str(out) if drawn else None, "html": str(page) if page else None})
    else:
        _print(found)
        if out:
            print_line(f"images whose answer changed: {shown(out) if drawn else 'none'}")
        if page:
            print_line(f"page: {shown(page)}")
    return found.comparison.verdict == WORSE


def _open(path: Path) -> _Model:
    name = shown(path)
    found = recognize(path)
    file = Path(found.model) if found.kind == "models" else path
    run, contract = open_model(file)
    return _Model(file, KnownModel(name, contract, run))


def _notes(paired: PairedSet) -> list[str]:
    """What a person should know of the images that were compared, a line each."""
    old, new = paired.models
    lines = []
    for model, other in ((old, new), (new, old)):
        only = [label for label in model.contract.labels if label not in other.contract.labels]
        if only:
            lines.append(f"only {model.name} has the labels {', '.join(map(shown, only))}")
    if paired.left_out:
        lines.append(f"{paired.left_out:,} images are left out, as only one model has their label")
    if paired.samples.caution:
        lines.append(
            f"{paired.samples.caution}; a comparison is fair on images that neither was trained on, such as those of "
            "a test folder that stays the same"
        )
    return lines


def _draw(out: Path, found: _Answers) -> bool:
    """Draw images that one model alone answers correctly, half of the sheet for each; False where there are none."""
    paired, comparison = found.paired, found.comparison
    spec = paired.models[1].contract.image_input
    half = SMALL_TILES.max_tiles // 2
    tiles = [
        prediction_tile(
            input_pixels(paired.samples.source.sample(int(paired.samples.chosen[place])), spec),
            paired.samples.describe(found.new, place),
            correct,
        )
        for correct, places in ((False, comparison.lost), (True, comparison.won))
        for place in places[:half].tolist()
    ]
    if tiles:
        lost, won = len(comparison.lost), len(comparison.won)
        save_tiles(out, tiles, f"{paired.models[1].name} against {paired.models[0].name}: lost {lost:,}, won {won:,}")
    return bool(tiles)


def _as_dict(found: _Answers, interpreters: tuple[str, str], notes: list[str]) -> dict[str, Any]:
    paired, samples = found.paired, found.paired.samples
    models = [
        {"model": model.name, "interpreter": interpreter, "labels": list(model.contract.labels)}
        for model, interpreter in zip(paired.models, interpreters, strict=True)
    ]
    return {
        "models": models,
        "dataset": samples.name,
        "split": samples.split,
        "samples": len(samples.chosen),
        "left_out": paired.left_out,
        "labels": list(paired.compared),
        "notes": notes,
        **found.comparison.as_dict(),
        "lost": _images(found, found.comparison.lost),
        "won": _images(found, found.comparison.won),
    }


def _images(found: _Answers, places: Any) -> list[dict[str, Any]]:
    samples = found.paired.samples
    rows = []
    for place in places[:_MAX_IMAGES].tolist():
        old, new = (samples.describe(predictions, place) for predictions in (found.old, found.new))
        rows.append(
            {name: new[name] for name in ("index", "name", "truth")}
            | {"old_answer": old["answer"], "old_score": old["score"]}
            | {"new_answer": new["answer"], "new_score": new["score"]}
        )
    return rows


def _print(found: _Answers) -> None:
    comparison, samples = found.comparison, found.paired.samples
    old, new = found.paired.models
    print_wrapped(
        f"{old.name} -> {new.name} on {shown(samples.name)}, {samples.split}: {len(samples.chosen):,} samples"
    )
    print_wrapped(comparison.sentence())
    lost, won = len(comparison.lost), len(comparison.won)
    print_wrapped(
        f"answers: {comparison.both_right:,} right in both, {won:,} won, {lost:,} lost, "
        f"{comparison.both_wrong:,} wrong in both ({comparison.other_mistakes:,} with another answer)"
    )
    print_line("")
    for line in _class_lines(comparison.classes):
        print_line(line)


def _class_lines(classes: Sequence[ClassChange]) -> list[str]:
    worst = classes[:_MAX_PRINTED]
    rows = [
        [
            shown(each.label),
            f"{each.samples:,}",
            f"{each.old:.4f}",
            f"{each.new:.4f}",
            points(each.change),
            f"{points(each.interval[0])} to {points(each.interval[1])}",
            "" if each.verdict == SAME else each.verdict,
        ]
        for each in worst
    ]
    lines = columns([["class", "samples", "old recall", "new recall", "points", "interval", ""], *rows])
    if len(classes) > len(worst):
        lines.append(f"and {len(classes) - len(worst):,} classes that lost less or won (--json has all)")
    lower = [shown(each.label) for each in classes if each.change < 0]
    worse = [shown(each.label) for each in classes if each.verdict == WORSE]
    return [*lines, f"lower recall: {', '.join(lower) or 'none'}; shown to be worse: {', '.join(worse) or 'none'}"]

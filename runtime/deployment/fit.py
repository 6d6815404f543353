"""Whether a model can take another one's place: those who use its answers must not have to be changed."""

from __future__ import annotations

from ..contract import Contract
from ..files import shown
from ..input_spec import FeaturesInput

#: Labels that a message names.
_MOST_NAMED = 3


def other_input(new: Contract, old: Contract) -> str:
    """How the kind of input differs, in words; "" if it does not. The size of an image does not matter."""
    takes = [spec.describe() if isinstance(spec := each.input, FeaturesInput) else "images" for each in (new, old)]
    same = takes[0] == takes[1] and getattr(new.input, "names", None) == getattr(old.input, "names", None)
    return "" if same else f"it takes {takes[0]}, the model before it {takes[1]}"


def other_answers(new: Contract, old: Contract) -> str:
    """How the answers differ, in words: the labels, the task, or the kind of scores; "" if they do not."""
    if new.task != old.task:
        return f"its task is {new.task}, that of the model before it {old.task}"
    if new.gives_probabilities != old.gives_probabilities:
        return "its scores and those of the model before it are not both probabilities"
    if new.labels == old.labels:
        return ""
    added = [shown(label) for label in new.labels if label not in old.labels]
    gone = [shown(label) for label in old.labels if label not in new.labels]
    both = (("new:", added), ("missing:", gone))
    parts = [f"{word} {', '.join(labels[:_MOST_NAMED])}" for word, labels in both if labels]
    return f"its labels are not those of the model before it: {'; '.join(parts) or 'in another order'}"

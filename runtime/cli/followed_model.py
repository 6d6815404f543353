"""The model of a command that runs until it is stopped: another file in its place answers from then on."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from ..service import Service
from .click_options import option_in
from .model_options import check_choice, named_model, print_notes, without_none

if TYPE_CHECKING:
    from ..contract import Contract
    from ..model_follower import ModelFollower
    from ..postprocessing import Prediction

RELOAD = option_in("Model")(
    "--reload/--no-reload",
    default=True,
    show_default=True,
    help="Take up another model that is renamed into FILE's place, between two answers.",
)


class RunningModel(NamedTuple):
    """A model that answers, and may be replaced by another one with the same labels and the same kind of input.

    Attributes:
        contract: of the first model.
        classify: gives the predictions for an image, by the newest model.
        follower: gives the newest model.
    """

    contract: Contract
    classify: Callable[..., list[Prediction]]
    follower: ModelFollower


@contextmanager
def running_model(
    kind: str,
    service: Service,
    *,
    reload: bool,
    model_path: str | None,
    threads: int,
    interpreter: str,
    delegate: str | None,
    top: int | None = None,
    min_score: float | None,
    allow: tuple[str, ...],
    deny: tuple[str, ...],
    **external: Any,
) -> Iterator[RunningModel]:
    """Load the model that the options describe, and follow its file while the block runs.

    Where a model with other labels comes, a service of systemd ends, and is started again with it.

    Args:
        kind: the command, such as "live".
        service: the process.
        reload: look for another file.

    Raises:
        UsageError: as `build_classifier` does.
        ModelFileError, ContractError, InterpreterError: as `Classifier` does.
    """
    from ..classifier import Classifier
    from ..model_follower import ModelFollower
    from ..native_output import held_stderr

    path = named_model(model_path)
    options: dict[str, Any] = {"num_threads": threads, "interpreter": interpreter, "delegate": delegate}
    loads = itertools.count()

    def load(source: Any) -> Classifier:
        # The interpreter announces its delegates. Later loads are in a thread, beside which others may write.
        with held_stderr() if next(loads) == 0 else nullcontext():
            return Classifier(source, **options, **without_none(external))

    with ModelFollower(path, follows=reload, kind=kind, load=load, needs_restart=service.stop_for_restart) as follower:
        classifier = follower.current()
        print_notes(path, classifier)
        choice: dict[str, Any] = {"top": top, "min_score": min_score, "allow": allow or None, "deny": deny}
        check_choice(classifier, **choice)
        yield RunningModel(classifier.contract, partial(follower.classify, **choice), follower)

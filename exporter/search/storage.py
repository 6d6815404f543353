"""The study of a search: in a SQLite file on one machine, or in a PostgreSQL that many machines share."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from ..errors import StorageError

if TYPE_CHECKING:
    import optuna
    from sqlalchemy import URL

#: A lost trial is begun anew so often; a trial that kills each worker must come to an end.
_RETRIES = 3


def open_study(
    storage: str | os.PathLike[str],
    data: str,
    directions: Sequence[Literal["minimize", "maximize"]],
    *,
    name: str = "search",
    heartbeat: int = 60,
    sampler: optuna.samplers.BaseSampler | None = None,
    pruner: optuna.pruners.BasePruner | None = None,
) -> optuna.Study:
    """The study of this name and data, which is created if there is none.

    The hash of the data is a part of the study's name in the database: creating and naming are one transaction, so that
    two searches that start at once cannot mix their data. The older study is the valid one.

    Args:
        storage: path of a SQLite file, or `postgresql://USER:PASSWORD@HOST/DATABASE`.
        data: the hash that identifies the data set.
        directions: `"maximize"` or `"minimize"` for each objective.
        name: several searches in one database need several names.
        heartbeat: seconds between two signs of life of a running trial, from 1 on. A trial without one for twice as
            long counts as failed and is queued again, at most three times.
        sampler, pruner: Optuna's; None for its defaults.

    Raises:
        StorageError: Optuna or psycopg is not installed; the database is not there, refuses, or is none; or its study
            has other data.
    """
    try:
        import optuna
        import sqlalchemy
    except ImportError as error:
        raise StorageError(f"a search needs {error.name}: install pocketlens[search]") from error
    url = _url(storage)
    shown = url.render_as_string(hide_password=True)
    full_name = f"{name}@{data}"
    try:
        database = _storage(url, heartbeat)
        _check_data(database, name, full_name, shown)
        study = optuna.create_study(
            storage=database,
            study_name=full_name,
            directions=list(directions),
            load_if_exists=True,
            sampler=sampler,
            pruner=pruner,
        )
        _check_data(database, name, full_name, shown)
    except ImportError as error:
        raise StorageError(f"{shown} needs psycopg: install pocketlens[search]") from error
    except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.OptunaError, RuntimeError) as error:
        if isinstance(error, StorageError):
            raise
        cause = getattr(error, "orig", None) or error.__cause__ or error
        lines = str(cause).strip().splitlines() or [type(cause).__name__]
        raise StorageError(f"{shown} cannot be used: {lines[0]}; check the address and that its server runs") from error
    return study


def _url(storage: str | os.PathLike[str]) -> URL:
    import sqlalchemy

    text = os.fspath(storage)
    if "://" not in text:
        return sqlalchemy.URL.create("sqlite", database=text)
    try:
        url = sqlalchemy.make_url(text)
    except (sqlalchemy.exc.ArgumentError, ValueError) as error:
        raise StorageError("`storage` is no address: give a path, or postgresql://USER@HOST/DATABASE") from error
    if url.drivername not in ("postgresql", "postgres"):
        raise StorageError(
            f"`storage` begins with {url.drivername}://: give a path, or postgresql://USER@HOST/DATABASE"
        )
    return url.set(drivername="postgresql+psycopg")


def _storage(url: URL, heartbeat: int) -> optuna.storages.RDBStorage:
    import optuna

    engine: dict[str, Any] = {"connect_args": {"timeout": 60}}
    if url.drivername != "sqlite":
        # One connection stays open; that of the heartbeat's thread comes and goes.
        engine = {"connect_args": {"connect_timeout": 10}, "pool_size": 1, "pool_pre_ping": True}
    # Optuna fills in braces.
    address = url.render_as_string(hide_password=False).replace("{", "{{").replace("}", "}}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.storages.RDBStorage(
            address,
            engine,
            heartbeat_interval=heartbeat,
            grace_period=2 * heartbeat,
            heartbeat_stale_trial_callback=optuna.storages.RetryHeartbeatStaleTrialCallback(max_retry=_RETRIES),
        )


def _check_data(database: optuna.storages.RDBStorage, name: str, full_name: str, shown: str) -> None:
    """Refuse where the oldest study of this name has other data."""
    names = [study.study_name for study in database.get_all_studies() if study.study_name.startswith(f"{name}@")]
    if names and names[0] != full_name:
        theirs, ours = (text.rpartition("@")[2][:12] for text in (names[0], full_name))
        raise StorageError(
            f"the search {name!r} in {shown} has the data set {theirs}, not {ours}: use its data, or another `name`"
        )

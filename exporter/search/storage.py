"""The study of a search: in a SQLite file on one machine, or in a PostgreSQL that many machines share."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from runtime.files import shown

from ..errors import StorageError

if TYPE_CHECKING:
    import optuna
    from sqlalchemy import URL

Direction = Literal["minimize", "maximize"]

#: How SQLAlchemy names PostgreSQL by psycopg.
_DRIVER = "postgresql+psycopg"

#: Attribute of the study: its choices, to say what is different.
_CHOICES = "choices"
#: libpq notices a network that is gone only after hours without these. Heartbeats of machines in several time zones
#: must be comparable, and a database without an encoding gives bytes instead of text.
_POSTGRESQL = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "client_encoding": "utf8",
    "options": "-c timezone=UTC",
}

#: How often tables are created that several processes create at once, and what PostgreSQL and SQLite say then.
_CREATIONS, _EXISTS = 8, ("already exists", "duplicate key", "UNIQUE constraint")


def open_study(
    storage: str | os.PathLike[str],
    data: str,
    directions: Sequence[Direction],
    *,
    choices: Mapping[str, Any] | None = None,
    name: str = "search",
    heartbeat: int = 60,
) -> optuna.Study:
    """The study of this name, data and choices, which is created if there is none.

    The hashes of the data and of the choices are a part of the study's name in the database: creating and naming are
    one transaction, so that two searches that start at once cannot mix their data. The older study is the valid one.

    Args:
        storage: path of a SQLite file, or `postgresql://USER:PASSWORD@HOST/DATABASE`.
        data: the hash that identifies the data set.
        directions: for each objective.
        choices: what makes the trials of the study comparable, as values that JSON can hold.
        name: several searches in one database need several names.
        heartbeat: seconds between two signs of life of a running trial, from 1 on. A trial without one for twice as
            long is stale.

    Raises:
        StorageError: Optuna or psycopg is not installed; the database is not there, refuses, or is none; or its study
            has other data or choices.
    """
    if not re.fullmatch(r"[\w.-]{1,100}", name):
        raise StorageError(f"`name` {shown(name)}: a search is named by up to 100 letters, digits, dots and dashes")
    with plain_errors(storage):
        import optuna

        text = json.dumps(choices or {}, sort_keys=True)
        full_name = f"{name}@{data}+{hashlib.sha256(text.encode()).hexdigest()[:16]}"
        database = _storage(database_url(storage), heartbeat)
        _check_study(database, name, full_name, json.loads(text), storage)
        study = optuna.create_study(
            storage=database,
            study_name=full_name,
            directions=list(directions),
            load_if_exists=True,
        )
        study.set_user_attr(_CHOICES, json.loads(text))
        _check_study(database, name, full_name, json.loads(text), storage)
    return study


@contextmanager
def plain_errors(storage: str | os.PathLike[str]) -> Iterator[None]:
    """Turn what a database, its driver and Optuna raise inside of the context into a StorageError of one line.

    Args:
        storage: its address, which the line names without the password.
    """
    try:
        import optuna
        import sqlalchemy
    except ImportError as error:
        raise StorageError(f"a search needs {error.name}: install pocketlens[search]") from error
    address = shown_address(storage)
    try:
        yield
    except ImportError as error:
        raise StorageError(f"{address} needs psycopg: install pocketlens[search]") from error
    except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.OptunaError, RuntimeError) as error:
        if isinstance(error, StorageError):
            raise
        cause = getattr(error, "orig", None) or error.__cause__ or error
        cause = getattr(cause, "orig", None) or cause
        lines = str(cause).strip().splitlines() or [type(cause).__name__]
        raise StorageError(
            f"{address} cannot be used: {lines[0]}; check the address and that its server runs"
        ) from error


def database_url(storage: str | os.PathLike[str]) -> URL:
    """The URL of a path or address.

    Raises:
        StorageError: the text is no address, or one of another kind of database.
    """
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
    return url.set(drivername=_DRIVER)


def shown_address(storage: str | os.PathLike[str]) -> str:
    """The address as people write it, without the password.

    Raises:
        StorageError: as `database_url`.
    """
    url = database_url(storage)
    name = "postgresql" if url.drivername == _DRIVER else url.drivername
    return url.set(drivername=name).render_as_string(hide_password=True)


def _storage(url: URL, heartbeat: int) -> optuna.storages.RDBStorage:
    import optuna
    import sqlalchemy

    engine: dict[str, Any] = {"connect_args": {"timeout": 60}}
    if url.drivername != "sqlite":
        # One connection stays open; that of the heartbeat's thread comes and goes.
        engine = {"connect_args": _POSTGRESQL, "pool_size": 1, "pool_pre_ping": True}
    # Optuna fills in braces.
    address = url.render_as_string(hide_password=False).replace("{", "{{").replace("}", "}}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        for attempt in range(_CREATIONS):
            try:
                database = optuna.storages.RDBStorage(
                    address, engine, heartbeat_interval=heartbeat, grace_period=2 * heartbeat
                )
                break
            except sqlalchemy.exc.DBAPIError as error:  # another process creates the tables at this moment
                if attempt == _CREATIONS - 1 or not any(words in str(error) for words in _EXISTS):
                    raise
                time.sleep(random.uniform(0.1, 0.5))
    if url.drivername == "sqlite":
        database.engine.dispose()  # its connections were opened before the listener
        sqlalchemy.event.listen(database.engine, "connect", _prepare)
        sqlalchemy.event.listen(database.engine, "begin", _begin)
    return database


def _begin(connection: Any) -> None:
    """Let SQLite read and write in one transaction.

    Python begins one at the first write. Two processes that look for a waiting step at once would both find it, and
    both train it. PostgreSQL locks the row; SQLite knows only a lock for the whole file.
    """
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _prepare(connection: Any, _: Any) -> None:
    """Let SQLite write once for a transaction instead of three times: a step has about 20 of them.

    A process that is killed loses nothing by this; a power cut may lose the last seconds, and damages nothing.
    """
    connection.isolation_level = None  # `_begin` begins transactions, not Python
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")


def _check_study(
    database: optuna.storages.RDBStorage,
    name: str,
    full_name: str,
    choices: Mapping[str, Any],
    storage: str | os.PathLike[str],
) -> None:
    """Refuse where the oldest study of this name has other data or choices."""
    found = [study for study in database.get_all_studies() if study.study_name.startswith(f"{name}@")]
    if not found or found[0].study_name == full_name:
        return
    address, other = shown_address(storage), "another `name`" if "://" in os.fspath(storage) else "another folder"
    (their_data, _, _), (our_data, _, _) = (
        text.rpartition("@")[2].partition("+") for text in (found[0].study_name, full_name)
    )
    if their_data != our_data:
        raise StorageError(
            f"the search {name!r} in {address} has the data set {their_data[:12]}, not {our_data[:12]}: use its data "
            f"and seed, or {other}"
        )
    theirs = found[0].user_attrs.get(_CHOICES, {})
    different = [key for key in sorted({*theirs, *choices}) if theirs.get(key) != choices.get(key)]
    said = (
        f" `{different[0]}` {theirs.get(different[0])}, not {choices.get(different[0])}" if theirs else " other choices"
    )
    raise StorageError(f"the search {name!r} in {address} has{said}: use the same, or {other}")

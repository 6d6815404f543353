"""One PostgreSQL for all tests of the search, with a database for each test that asks for one."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.support.postgresql import temporary_postgresql


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The address of the server's first database."""
    pytest.importorskip("psycopg", reason="needs psycopg")
    with temporary_postgresql() as address:
        yield address


@pytest.fixture
def run_sql(postgresql: str) -> Iterator[Callable[[str], None]]:
    """Runs a statement in the server's first database."""
    import psycopg

    with psycopg.connect(postgresql, autocommit=True) as connection:

        def run(statement: str) -> None:
            connection.execute(statement.encode())

        yield run

"""A PostgreSQL of Debian's package for one test: temporary folder, free port, an account without rights."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_ACCOUNT = "nobody"


def programs() -> Path:
    """The folder of PostgreSQL's programs; skips the test where they are missing."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if not found or (os.geteuid() == 0 and shutil.which("setpriv") is None):
        pytest.skip("needs Debian's packages postgresql and util-linux")
    return found[-1].parent


@contextmanager
def temporary_postgresql() -> Iterator[str]:
    """The address of a running server, `postgresql://...`; the server and its folder end with the context."""
    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
    try:
        root = os.geteuid() == 0
        if root:  # PostgreSQL refuses root
            account = pwd.getpwnam(_ACCOUNT)
            os.chown(folder, account.pw_uid, account.pw_gid)
        drop = ["setpriv", f"--reuid={_ACCOUNT}", "--regid=nogroup", "--clear-groups"] if root else []

        def run(program: str, *arguments: str) -> None:
            command = [*drop, str(programs() / program), "-D", str(folder / "data"), *arguments]
            environment = {**os.environ, "HOME": str(folder), "LC_ALL": "C"}
            subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, check=True, timeout=120)

        # In an SQL_ASCII database, the default of the locale C, psycopg gives bytes instead of text.
        run("initdb", "--username=pocketlens", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C")
        port = _free_port()
        options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        run("pg_ctl", "--wait", f"--log={folder / 'log'}", f"--options={options}", "start")
        try:
            yield f"postgresql://pocketlens@127.0.0.1:{port}/postgres"
        finally:
            run("pg_ctl", "--wait", "--mode=immediate", "stop")
    finally:
        shutil.rmtree(folder)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])

"""A PostgreSQL for a test: real, empty, and gone afterwards."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.tracked import Server, wait_for

_SYSTEM_USER = "postgres"  # PostgreSQL refuses to run as root


class Postgres:
    """A database server that listens on nothing but a socket in a folder of its own.

    with Postgres() as database:
        Server(tmp_path, database.uri)
    """

    def __enter__(self) -> "Postgres":
        programs = folder_of_programs()
        if programs is None:
            pytest.skip("PostgreSQL is not installed; apt-get install postgresql")
        with ExitStack() as undone:
            # Not within pytest's folders, which other users cannot enter; and the path of a socket has to be short.
            self._folder = Path(undone.enter_context(tempfile.TemporaryDirectory(prefix="postgres-")))
            who: dict[str, Any] = {"cwd": self._folder}
            if os.geteuid() == 0:
                shutil.chown(self._folder, _SYSTEM_USER, _SYSTEM_USER)
                who |= {"user": _SYSTEM_USER, "group": _SYSTEM_USER, "extra_groups": []}
            data, log = self._folder / "data", undone.enter_context((self._folder / "log").open("ab"))
            words = ["--auth=trust", "--username=mlflow", "--encoding=UTF8", "--no-sync", "--pgdata", str(data)]
            subprocess.run([programs / "initdb", *words], check=True, stdout=log, stderr=log, **who)
            words = ["-D", str(data), "-k", str(self._folder), "-c", "listen_addresses=", "-c", "fsync=off"]
            process = subprocess.Popen([programs / "postgres", *words], stdout=log, stderr=log, **who)
            undone.callback(process.wait)
            undone.callback(process.send_signal, signal.SIGQUIT)  # "immediate": it ends its children and itself
            wait_for(lambda: b"ready to accept connections" in (self._folder / "log").read_bytes(), 60)
            self._undone = undone.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._undone.close()

    @property
    def uri(self) -> str:
        """Its database, as SQLAlchemy takes it."""
        return f"postgresql+psycopg2://mlflow@/postgres?host={self._folder}"


def folder_of_programs() -> Path | None:
    """Find PostgreSQL; Debian keeps `initdb` off the path, beside whatever other version there is."""
    on_path = shutil.which("initdb")
    found = [Path(on_path).resolve().parent] if on_path else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return found[-1] if found else None


def kinds() -> list[str]:
    """Say on what a test's server keeps its rows: PostgreSQL where that is installed, and both in long runs."""
    if "INPAINT_LONG" in os.environ:
        return ["sqlite", "postgresql"]
    return ["postgresql" if folder_of_programs() else "sqlite"]


@contextmanager
def server_on(kind: str, folder: Path) -> Iterator[Server]:
    """Start `mlflow server` on a database of one of `kinds`, with artifacts in a folder that only it reads."""
    with ExitStack() as opened:
        database = opened.enter_context(Postgres()).uri if kind == "postgresql" else ""
        yield opened.enter_context(Server(folder, database))

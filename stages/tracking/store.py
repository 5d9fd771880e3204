"""Reaching MLflow: which store, how patiently, and how to know what it holds without importing MLflow.

The store is `MLFLOW_TRACKING_URI`, or the file `mlflow.db` in the project's root with artifacts beside it.
"""

import fcntl
import logging
import os
import sqlite3
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit
from urllib.request import url2pathname

from stages.runtime import project
from stages.runtime.errors import TrackingError
from stages.tracking.record import Point

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

# Every run and version of ours has this tag, set last: the hash of what was sent. What lacks it is sent again.
PUBLISHED = "inpaint.published"
# Every run of a training has this tag: the record's id.
RECORD = "inpaint.record"
# The process at work on a run, as `processes.named` says it: what is still RUNNING without it was abandoned.
PROCESS = "inpaint.process"

# A dead server costs seconds, where MLflow's own settings wait for minutes.
_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_UV_AUTO_DETECT": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "GIT_PYTHON_REFRESH": "quiet",
}
_URI = "MLFLOW_TRACKING_URI"
_SQLITE = "sqlite:///"
_METRICS_PER_BATCH = 1000
_ARTIFACTS = "/mlartifacts/"
_PLACES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)

_PUBLISHED_RUNS = """\
SELECT tags.value FROM tags JOIN runs USING (run_uuid)
WHERE tags.key = ? AND runs.lifecycle_stage = 'active' AND runs.status = 'FINISHED'"""
_PUBLISHED_VERSIONS = """\
SELECT tags.name, tags.value FROM model_version_tags tags JOIN model_versions USING (name, version)
WHERE tags.key = ? AND model_versions.current_stage != 'Deleted_Internal'"""
_RUNNING = """\
SELECT 1 FROM runs JOIN tags USING (run_uuid)
WHERE tags.key = ? AND runs.lifecycle_stage = 'active' AND runs.status = 'RUNNING'"""

T = TypeVar("T")


def uri() -> str:
    """Return where MLflow keeps its runs: anchored on the project's root, not on the working directory."""
    return os.environ.get(_URI) or f"{_SQLITE}{project.root() / 'mlflow.db'}"


def database() -> Path | None:
    """Return the file of the store, None where the store is a server's."""
    return Path(uri().removeprefix(_SQLITE)).absolute() if uri().startswith(_SQLITE) else None


@contextmanager
def reached() -> Iterator[None]:
    """Do something with MLflow: quietly, and what goes wrong there comes out as one kind of error.

    Raises:
        TrackingError: MLflow cannot be reached, or refuses.
    """
    address = uri()
    with _said_to_mlflow(address), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside MLflow's own dependencies
        from mlflow.exceptions import MlflowException
        from requests import RequestException

        for name in ("mlflow", "alembic", "sqlalchemy", "urllib3"):
            logging.getLogger(name).setLevel(logging.ERROR)
        try:
            yield
        except (MlflowException, RequestException) as error:
            first_line = str(error).strip().split("\n")[0]
            raise TrackingError(f"MLflow at {address} cannot be used: {first_line[:300]}") from error


@contextmanager
def _said_to_mlflow(address: str) -> Iterator[None]:
    """Name the store to those parts of MLflow that ask the environment, whatever store a client was given."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    before = os.environ.get(_URI)
    os.environ[_URI] = address
    try:
        yield
    finally:
        if before is None:
            del os.environ[_URI]
        else:
            os.environ[_URI] = before


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Wait for and hold a lock of the whole project: two processes never bring the same thing into MLflow at once."""
    folder = project.root() / ".locks"
    folder.mkdir(exist_ok=True)
    with (folder / f"mlflow-{name}.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def connect() -> "MlflowClient":
    """Open the store; a new database gets its tables, once, however many processes come at the same time."""
    from mlflow import MlflowClient

    with locked("store"):
        _make_database()
        _keep_artifacts_at_home()
        client = MlflowClient(tracking_uri=uri(), registry_uri=uri())
        client.search_experiments(max_results=1)
    return client


def _make_database() -> None:
    """Make a new database under another name first: one whose making was cut off half way, MLflow cannot open again."""
    from mlflow import MlflowClient

    path = database()
    if path is None or path.exists():
        return
    draft = path.with_name(f"{path.name}.draft")
    for left in path.parent.glob(f"{draft.name}*"):  # with its journal
        left.unlink()
    address = f"{_SQLITE}{draft}"
    with _said_to_mlflow(address):
        MlflowClient(tracking_uri=address, registry_uri=address).search_experiments(max_results=1)
    draft.replace(path)


def _keep_artifacts_at_home() -> None:
    """Have the database of a project that was moved or copied name the files beside it.

    MLflow writes absolute paths down: a moved project would lose its models, and a copy publish into the original.

    Raises:
        TrackingError: the files are gone.
    """
    path, home = database(), project.root() / "mlartifacts"
    if path is None or path.parent != home.parent:
        return
    with closing(sqlite3.connect(path, timeout=10)) as tables, tables:
        named = {str(place) for (place,) in tables.execute("SELECT artifact_location FROM experiments")}
        homes = {place[: place.rindex(_ARTIFACTS)] for place in named if _ARTIFACTS in place}
        if homes and not home.is_dir():
            raise TrackingError(
                f"MLflow's files should be in {home}, which is not there; bring the folder back, or delete {path}: the "
                "next dvc repro builds both anew"
            )
        for old in homes - {project.root().as_uri()}:
            for table, column in _PLACES:
                tables.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE {column} LIKE ?",  # noqa: S608
                    (project.root().as_uri(), len(old) + 1, f"{old}{_ARTIFACTS}%"),
                )


def experiment_id(client: "MlflowClient", name: str) -> str:
    """Find or create an experiment.

    Only a store in a file is told where artifacts go: a server decides that itself, and would take a path for one of
    its own machine.
    """
    with locked("store"):
        found = client.get_experiment_by_name(name)
        if found is None:
            artifacts = _folder(name).as_uri() if uri().startswith(_SQLITE) else None
            with made_once():
                return str(client.create_experiment(name, artifact_location=artifacts))
            found = client.get_experiment_by_name(name)
        if found.lifecycle_stage != "active":
            client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)


def _folder(name: str) -> Path:
    folder = project.root() / "mlartifacts" / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def made_once() -> Iterator[None]:
    """Let a name that another machine, which shares no lock with this one, made at the same moment be there."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def set_twice_if_need_be(setting: Callable[[], object]) -> None:
    """Set a tag or an alias, once more if that fails.

    MLflow looks whether there is one, then inserts it: where another machine inserted between the two, PostgreSQL
    refuses the later one, which finds it when it looks again.
    """
    from mlflow.exceptions import MlflowException

    try:
        setting()
    except MlflowException:
        setting()


def holds(published: Iterable[str], versions: Iterable[tuple[str, str]]) -> bool:
    """Look whether all is in the store and at rest, in milliseconds instead of the seconds that MLflow's import takes.

    Reads the tables of a store in a file directly (MLflow's version, and so its schema, is pinned). "No" also when
    it cannot tell: asking again through MLflow is then slow but sure.

    Args:
        published: `PUBLISHED` tags that active runs should have.
        versions: (registered model, `PUBLISHED` tag) that versions should have.

    Returns:
        whether all are there and no run of ours is still marked as running.
    """
    path = database()
    if path is None:
        return False
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=1)) as tables:
            places = [str(place) for (place,) in tables.execute("SELECT artifact_location FROM experiments")]
            homes = [Path(url2pathname(urlsplit(place).path)) for place in places if _ARTIFACTS in place]
            return (
                all(home.is_dir() and home.is_relative_to(project.root()) for home in homes)
                and set(published) <= {value for (value,) in tables.execute(_PUBLISHED_RUNS, (PUBLISHED,))}
                and set(versions) <= set(tables.execute(_PUBLISHED_VERSIONS, (PUBLISHED,)))
                and tables.execute(_RUNNING, (PROCESS,)).fetchone() is None
            )
    except sqlite3.Error:
        return False


def find_run(
    client: "MlflowClient", experiment_id: str, tags: Mapping[str, str], finished: bool = False
) -> "Run | None":
    """Return the oldest run that has all the tags, or None; deleted ones do not count."""
    wanted = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
    wanted += " and attributes.status = 'FINISHED'" if finished else ""
    found = client.search_runs([experiment_id], wanted, max_results=1, order_by=["attributes.start_time ASC"])
    return found[0] if found else None


def log_points(client: "MlflowClient", run_id: str, points: Sequence[Point]) -> None:
    """Log values of curves, in as few requests as MLflow takes."""
    from mlflow.entities import Metric

    for batch in batches(points, _METRICS_PER_BATCH):
        metrics = [Metric(point.name, point.value, point.timestamp_ms, point.step) for point in batch]
        client.log_batch(run_id, metrics=metrics)


def log_scores(client: "MlflowClient", run_id: str, scores: Mapping[str, float]) -> None:
    """Log those scores that the run does not have with this value; the newest value is the one that counts."""
    there = client.get_run(run_id).data.metrics
    now_ms = time.time_ns() // 1_000_000
    changed = [Point(name, 0, now_ms, value) for name, value in scores.items() if there.get(name) != value]
    log_points(client, run_id, changed)


def batches(items: Sequence[T], size: int) -> Iterator[list[T]]:
    """Yield the items in lists of at most `size`."""
    for start in range(0, len(items), size):
        yield list(items[start : start + size])

"""Access to MLflow: which store, with which timeouts, and its errors as `TrackingError`.

Runs are in the store `MLFLOW_TRACKING_URI`, by default the file `mlflow.db` in the project's root with artifacts beside
it; registered models in `MLFLOW_REGISTRY_URI`, by default with the runs.
"""

import errno
import fcntl
import logging
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from stages.runtime import project
from stages.runtime.errors import LoginError, TrackingError, without_passwords
from stages.runtime.locks import flock
from stages.tracking import moved
from stages.tracking.record import Point

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

# Tag of complete runs and versions, set last: the hash of their content. What lacks it is sent again.
PUBLISHED = "inpaint.published"
# Tag of the runs of trainings: the id of the record.
RECORD = "inpaint.record"
# Tag of runs: the process that writes them, from `processes.named`. If it has ended, a RUNNING run is abandoned.
PROCESS = "inpaint.process"

_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # a dead server costs seconds instead of minutes
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_UV_AUTO_DETECT": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "GIT_PYTHON_REFRESH": "quiet",
}
_URI, _TIMEOUT = "MLFLOW_TRACKING_URI", "MLFLOW_HTTP_REQUEST_TIMEOUT"
_FIRST_ANSWER_S = "10"
# Packages whose exceptions mean that a database or an artifact store cannot be used.
_STORES = (
    *("mlflow", "requests", "urllib3", "http", "ssl", "sqlalchemy", "alembic"),
    *("botocore", "boto3", "s3transfer", "azure", "google", "paramiko", "databricks"),
)
_REFUSED = (401, 403)
_SQLITE = "sqlite:///"
_METRICS_PER_BATCH = 1000

T = TypeVar("T")


def uri() -> str:
    """Return the URI of the store; its default is relative to the project's root, not the working directory."""
    return os.environ.get(_URI) or f"{_SQLITE}{project.root() / 'mlflow.db'}"


def shown() -> str:
    """Return the URI without user name and password."""
    return without_passwords(uri())


def database() -> Path | None:
    """Return the file of the store, None if a server holds it."""
    return Path(uri().removeprefix(_SQLITE)).absolute() if uri().startswith(_SQLITE) else None


def registry_file() -> Path | None:
    """Return the file of the registry, None if a server holds it."""
    return None if os.environ.get("MLFLOW_REGISTRY_URI") else database()


def is_begun() -> bool:
    """Return whether models may be registered: the registry is on a server, or its file exists."""
    path = registry_file()
    return path is None or path.exists()


@contextmanager
def reached() -> Iterator[None]:
    """Use MLflow inside the block, without its warnings, and turn its exceptions into errors of this project.

    Raises:
        LoginError: MLflow rejects the credentials.
        TrackingError: MLflow cannot be reached, or refuses for another reason.
    """
    at = shown()
    with _environment({_URI: uri()}), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside MLflow's own dependencies
        for name in ("mlflow", "alembic", "sqlalchemy", "urllib3"):
            logging.getLogger(name).setLevel(logging.ERROR)
        try:
            yield
        except Exception as error:
            if type(error).__module__.split(".")[0] not in _STORES and not isinstance(error, ConnectionError):
                raise
            message = without_passwords(str(error).strip().split("\n")[0][:300])
            if _status(error) in _REFUSED:
                raise LoginError(
                    f"MLflow at {at} refuses the login: {message}; set MLFLOW_TRACKING_USERNAME and "
                    "MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
                ) from error
            raise TrackingError(f"MLflow at {at} cannot be used: {message}") from error


def _status(error: Exception) -> int:
    """Return the HTTP status of an error, 0 if it has none."""
    from mlflow.exceptions import MlflowException

    if isinstance(error, MlflowException):
        return int(error.get_http_status_code())  # type: ignore[no-untyped-call]
    response = getattr(error, "response", None)
    if isinstance(response, dict):  # of botocore
        return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    return int(getattr(response, "status_code", 0) or 0)


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables for those parts of MLflow that read the environment."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, earlier in before.items():
            if earlier is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = earlier


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold a lock of the project, so that two processes never send the same content to MLflow at once.

    In a read-only project nothing is locked, since nothing can be sent from it.
    """
    folder = project.root() / ".locks"
    with ExitStack() as held:
        try:
            folder.mkdir(exist_ok=True)
            file = held.enter_context((folder / f"mlflow-{name}.lock").open("a"))
            flock(file, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EROFS, errno.EPERM):
                raise
        yield


def connect() -> "MlflowClient":
    """Connect to the store, creating a new database under a lock; for use inside `reached`.

    The timeout is short until the server has answered once, since uploads may take long.
    """
    from mlflow import MlflowClient

    with locked("store"), _environment({_TIMEOUT: os.environ.get(_TIMEOUT, _FIRST_ANSWER_S)}):
        _make_database()
        _use_moved()
        client = MlflowClient(tracking_uri=uri())
        client.search_experiments(max_results=1)
    return client


def _make_database() -> None:
    """Create a database under a temporary name first: MLflow cannot open one that was created half."""
    from mlflow import MlflowClient

    path = database()
    if path is None or path.exists():
        return
    draft = path.with_name(f"{path.name}.draft")
    for left in path.parent.glob(f"{draft.name}*"):  # with its journal
        left.unlink()
    address = f"{_SQLITE}{draft}"
    with _environment({_URI: address}):
        MlflowClient(tracking_uri=address, registry_uri=address).search_experiments(max_results=1)
    draft.replace(path)


def _use_moved() -> None:
    """Use the artifacts beside the database, also if the project was moved or copied.

    Raises:
        TrackingError: the artifacts are missing.
    """
    path = database()
    if path is None or path.parent != project.root():
        return
    usable = moved.healed(path, project.root())
    if usable != path:
        os.environ[_URI] = f"{_SQLITE}{usable}"  # until `reached` puts back what was there


def experiment_id(client: "MlflowClient", name: str) -> str:
    """Find or create an experiment, and return its id.

    The artifact location is set for a local store only: a server chooses it, and would take a path for one of its own.
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
    """Ignore that the name exists: another machine, which does not share the lock, may just have created it."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def set_with_retry(setting: Callable[[], object]) -> None:
    """Set a tag or an alias, and retry once.

    MLflow checks for it and then inserts it. If another machine inserts it in between, PostgreSQL refuses the second
    insertion, and the retry finds it.
    """
    from mlflow.exceptions import MlflowException

    try:
        setting()
    except MlflowException:
        setting()


def find_run(
    client: "MlflowClient", experiment_id: str, tags: Mapping[str, str], finished: bool = False
) -> "Run | None":
    """Return the oldest run with all the tags that is not deleted, or None."""
    wanted = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
    wanted += " and attributes.status = 'FINISHED'" if finished else ""
    found = client.search_runs([experiment_id], wanted, max_results=1, order_by=["attributes.start_time ASC"])
    return found[0] if found else None


def log_points(client: "MlflowClient", run_id: str, points: Sequence[Point]) -> None:
    """Log values of metrics, in as few requests as MLflow allows."""
    from mlflow.entities import Metric

    for batch in batches(points, _METRICS_PER_BATCH):
        metrics = [Metric(point.name, point.value, point.timestamp_ms, point.step) for point in batch]
        client.log_batch(run_id, metrics=metrics)


def log_scores(client: "MlflowClient", run_id: str, scores: Mapping[str, float]) -> None:
    """Log the scores that differ from those of the run; MLflow shows the latest value."""
    there = client.get_run(run_id).data.metrics
    now_ms = time.time_ns() // 1_000_000
    changed = [Point(name, 0, now_ms, value) for name, value in scores.items() if there.get(name) != value]
    log_points(client, run_id, changed)


def batches(items: Sequence[T], size: int) -> Iterator[list[T]]:
    """Yield the items in lists of at most `size`."""
    for start in range(0, len(items), size):
        yield list(items[start : start + size])

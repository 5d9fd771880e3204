"""The database is there whole, or not at all."""

import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import pytest

from stages.runtime import files
from stages.runtime.errors import TrackingError
from stages.runtime.files import sha256
from stages.tracking import store, versions
from tests.integration.prepare.test_states import without_privilege
from tests.tracked import publish_outputs, wait_for, write_database
from tests.warm import Program

CONNECT = "from stages.tracking import store\nwith store.reached():\n    store.connect()"


@pytest.mark.slow
def test_killed_while_the_database_is_made_the_next_one_makes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    draft = tmp_path / "mlflow.db.draft"
    with Program([sys.executable, "-c", CONNECT]):  # killed at its end
        wait_for(lambda: draft.exists() and draft.stat().st_size > 0, 180)
    assert not (tmp_path / "mlflow.db").exists()
    with store.reached():
        assert store.connect().search_experiments()
    assert (tmp_path / "mlflow.db").exists()
    assert not draft.exists()


def test_what_another_machine_set_at_the_same_moment_is_set_once_more() -> None:
    with store.reached():
        from mlflow.exceptions import MlflowException
    refusals = [MlflowException("duplicate key value violates unique constraint")]

    def setting() -> None:
        if refusals:
            raise refusals.pop()

    store.set_with_retry(setting)
    assert not refusals
    refusals += [MlflowException("no such version"), MlflowException("no such version")]
    with pytest.raises(MlflowException, match="no such version"):
        store.set_with_retry(setting)


@pytest.mark.slow
def test_a_project_that_is_read_only_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    write_database(tmp_path)
    with store.reached():
        store.connect()
    for path in (*tmp_path.rglob("*"), tmp_path):
        path.chmod(0o500 if path.is_dir() else 0o400)
    with without_privilege(tmp_path), store.reached():
        assert store.connect().search_registered_models() == []
        with pytest.raises(PermissionError):
            (tmp_path / "new").touch()
    tmp_path.chmod(0o700)


def artifacts(tree: Path) -> set[str]:
    return {str(path.relative_to(tree)) for path in (tree / "mlartifacts").rglob("*")}


@pytest.fixture
def first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a registered version."""
    (first := tmp_path / "first").mkdir()
    write_database(first)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("DVC_ROOT", str(first))
    publish_outputs(first, 0)
    return first


@pytest.mark.parametrize("is_moved", [True, False])
def test_a_project_that_was_moved_or_copied_has_its_models_and_publishes_beside_itself(
    first: Path, monkeypatch: pytest.MonkeyPatch, is_moved: bool
) -> None:
    second = first.with_name("second project")
    shutil.copytree(first, second)
    before = artifacts(first)
    if is_moved:
        shutil.rmtree(first)
    monkeypatch.setenv("DVC_ROOT", str(second))
    publish_outputs(second, 1)
    with versions.fetched(versions.resolve("models:/inpaint-pconv/1")) as folder:
        assert (folder / "model.pt2").is_file()
    assert artifacts(second) > before
    assert is_moved or artifacts(first) == before


def test_a_copied_project_that_is_read_only_has_its_models_and_refuses_changes(
    first: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = first.with_name("second")
    with versions.fetched(versions.resolve("models:/inpaint-pconv/1")):  # once, for nobody may import what is read late
        shutil.copytree(first, second)
    shutil.rmtree(first)
    monkeypatch.setenv("DVC_ROOT", str(second))
    for path in (*second.rglob("*"), second):
        path.chmod(0o500 if path.is_dir() else 0o400)
    with without_privilege(second), TemporaryDirectory() as place:
        monkeypatch.setattr(files, "_temporary", lambda: SimpleNamespace(name=place))  # that of the process is root's
        with versions.fetched(version := versions.resolve("models:/inpaint-pconv/1")) as folder:
            assert sha256(folder / "model.pt2") == version.digest
        with pytest.raises(TrackingError, match=r"second/mlflow.db cannot be used: .*readonly"), store.reached():
            store.connect().set_registered_model_alias("inpaint-pconv", "mine", "1")
        assert len(list(Path(place, "mlflow").iterdir())) == 1  # copy, although it was asked several times
    second.chmod(0o700)


def test_artifacts_that_are_gone_are_missed(first: Path) -> None:
    (first / "mlartifacts").rename(first / "elsewhere")
    with pytest.raises(TrackingError, match="MLflow's artifacts should be in"):
        versions.registered()

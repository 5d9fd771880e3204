"""Two clones, which share no lock, publish to one real MLflow server at once: nothing is lost or there twice."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stages.tracking import store
from tests.clone import ROOT
from tests.tracked import Seen, Server, write_outputs

NAME = "inpaint-pconv"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server")) as server:
        yield server


def publish_together(server: Server, *trees: Path) -> None:
    """Run `publish` in all trees at once, as their schedulers would at the same full hour."""
    given = os.environ | {"MLFLOW_TRACKING_URI": server.uri, "PYTHONPATH": str(ROOT)}
    at_once = [
        subprocess.Popen(
            [sys.executable, "-m", "stages.publish"], cwd=tree, env=given | {"DVC_ROOT": str(tree)},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for tree in trees
    ]  # fmt: skip
    for process in at_once:
        said, _ = process.communicate(timeout=300)
        assert process.returncode == 0, said
        assert "cannot be used" not in said


@pytest.mark.slow
def test_two_clones_at_once_lose_no_version_and_double_none(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for seed, tree in enumerate((here, there)):
        tree.mkdir()
        write_outputs(tree, seed)
    publish_together(server, here, there)  # other weights
    monkeypatch.chdir(here)
    monkeypatch.setenv("DVC_ROOT", str(here))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    seen = Seen()
    versions = seen.versions(NAME)
    assert len({version.tags["model_sha256"] for version in versions}) == len(versions) == 2
    assert all(store.PUBLISHED in version.tags for version in versions)
    aliases = seen.client.get_registered_model(NAME).aliases
    assert set(aliases) == {"champion", "challenger"}
    assert set(aliases.values()) == {"1", "2"}
    assert len([run for run in seen.runs() if store.RECORD in run.data.tags]) == 2

    for tree in (here, there):
        write_outputs(tree, seed=2)
    publish_together(server, here, there)  # the same weights, of two trainings
    versions = seen.versions(NAME)
    assert len({version.tags["model_sha256"] for version in versions}) == len(versions) == 3
    assert seen.client.get_registered_model(NAME).aliases["champion"] == aliases["champion"]

"""A real MLflow server with artifacts of its own, on PostgreSQL: what the file can do, and two clones at once."""

import os
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from stages.inpainting import exported
from stages.publish.__main__ import main as publish
from stages.runtime.errors import InputError
from stages.tracking import aliases, registry, store, versions
from tests.postgres import kinds, server_on
from tests.tracked import Seen, Server, write_outputs
from tests.warm import Program

pytestmark = pytest.mark.slow

NAME = "inpaint-pconv"


@pytest.fixture(scope="module", params=kinds())
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with server_on(request.param, tmp_path_factory.mktemp("server")) as server:
        yield server


def publish_together(server: Server, *trees: Path) -> None:
    """Run `publish` in all trees at once, as their schedulers would at the same full hour."""
    given = os.environ | {"MLFLOW_TRACKING_URI": server.uri}
    at_once = [
        Program([sys.executable, "-m", "stages.publish"], cwd=tree, env=given | {"DVC_ROOT": str(tree)})
        for tree in trees
    ]
    for process in at_once:
        said = "".join(process.communicate(timeout=300))
        assert process.returncode == 0, said
        assert "cannot be used" not in said


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
    made = seen.versions(NAME)
    assert len({version.tags["model_sha256"] for version in made}) == len(made) == 2
    assert all(store.PUBLISHED in version.tags for version in made)
    named = seen.client.get_registered_model(NAME).aliases
    assert set(named) == {"champion", "challenger"}
    assert set(named.values()) == {"1", "2"}
    assert len([run for run in seen.runs() if store.RECORD in run.data.tags]) == 2

    for tree in (here, there):
        write_outputs(tree, seed=2)
    publish_together(server, here, there)  # the same weights, of two trainings
    made = seen.versions(NAME)
    assert len({version.tags["model_sha256"] for version in made}) == len(made) == 3
    assert seen.client.get_registered_model(NAME).aliases["champion"] == named["champion"]


def test_what_was_published_loads_and_aliases_move_as_in_a_file(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "served-pconv"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    digests = []
    for seed in (3, 4):
        digests.append(write_outputs(tmp_path, seed)["model_sha256"])
        params = tmp_path / "params.yaml"
        params.write_text(params.read_text().replace("model_name: inpaint", "model_name: served"))
        publish()
        assert f"registered as {name} version {seed - 2}, " in capsys.readouterr().out
        publish()
        assert "has all 1 trainings" in capsys.readouterr().out
    champion, challenger = (versions.resolve(f"models:/{name}@{alias}") for alias in ("champion", "challenger"))
    assert [champion.digest, challenger.digest] == digests
    with versions.fetched(challenger) as folder:  # which compares the hashes
        assert exported.load(folder / "model.pt2").facts["key"] == "pconv"
    assert versions.trained_on(champion) == {"a" * 64: "a" * 32, "b" * 64: "b" * 32}
    with store.reached():
        import mlflow

        run = Seen().client.get_run(champion.run_id)
        answer = mlflow.pyfunc.load_model(f"models:/{name}@champion").predict(registry.input_example())
    assert list(answer.columns) == ["composite"]
    assert run.info.artifact_uri.startswith("mlflow-artifacts:")
    assert [step for step, _, _ in Seen().curve(run, "train/loss")] == list(range(1, 31))
    assert len(Seen().artifacts(run, "images")) == 6
    assert not (tmp_path / "mlartifacts").exists()
    assert not (tmp_path / "mlflow.db").exists()

    aliases.promote(name, "2", "better")
    left, now = aliases.rollback(name, "grey skies")
    assert (left.number, now.number) == ("2", "1")
    assert versions.resolve(f"models:/{name}@champion").digest == digests[0]
    assert aliases.VETO in versions.resolve(f"models:/{name}/2").tags
    with pytest.raises(InputError, match="no former champion"):
        aliases.rollback(name, "once more")
    assert aliases.lift_veto(name, "2").endswith("grey skies")
    assert [move.number for move in aliases.ledger(name)] == ["1", "2", "1"]


def test_a_page_of_another_address_cannot_reach_it(server: Server) -> None:
    """`--allowed-hosts`: a name that somebody points at this machine is turned away."""
    address = f"{server.uri}/api/2.0/mlflow/experiments/get?experiment_id=0"
    with urllib.request.urlopen(address) as answer:
        assert answer.status == 200
    request = urllib.request.Request(address, headers={"Host": "elsewhere.example:80"})
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(request)

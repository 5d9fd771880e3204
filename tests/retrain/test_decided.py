"""What was decided is done, whatever cuts a call off and wherever."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages.retrain import __main__ as retraining
from stages.retrain import report, trial
from stages.retrain.gate import Case
from stages.retrain.worktree import Worktree
from stages.runtime.errors import InputError
from stages.tracking import aliases, store, versions
from tests.clone import params_with
from tests.retrain.small import Small, away_from_users
from tests.retrain.test_gate import present, scores
from tests.tracked import Seen, write_database

pytestmark = pytest.mark.usefixtures(away_from_users.__name__)
NAME = "inpaint-pconv"


class Judged(Small):
    """A project whose second version, which the next call finds registered, the gate finds better by some dB."""

    def __init__(self, root: Path, gain_db: float = 0.5) -> None:
        (root / "params.yaml").write_text(yaml.safe_dump(self.params()))
        super().__init__(root)
        write_database(root)
        with store.reached():
            client = store.connect()
            client.create_registered_model(NAME)
            for digit in "12":
                client.create_model_version(NAME, source=root.as_uri(), tags={"model_sha256": digit * 64})
            client.set_registered_model_alias(NAME, "challenger", "2")
        aliases.promote(NAME, "1", "the first")
        self.git("config", "user.name", "t")
        self.git("config", "user.email", "t@localhost")
        self._case = Case(scores(lambda table: gain_db), present(version="1"))

    def params(self) -> dict[str, Any]:
        """What params.yaml holds; a list of photographs, to which none are added."""
        return params_with({"prepare": {"photos": "data/list.csv"}}) | {"models": {"pconv": {}}, "methods": {}}

    def candidate(self, *_: object) -> trial.Candidate:
        """The second version beside the champion, as trials find them."""
        version, champion = versions.resolve(f"models:/{NAME}/2"), aliases.champion(NAME)
        case = replace(self._case, vetoed=version.tags.get(aliases.VETO, ""))
        return trial.Candidate(version, case if champion is None or champion.number != "2" else None)

    def call(self) -> str:
        """Call once."""
        return retraining.retrain(retraining._begin(), dry=False, commit=True)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Judged:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    made = Judged(tmp_path)
    monkeypatch.setattr(trial, "try_out", made.candidate)
    return made


def named() -> dict[str, str]:
    return {alias: version.number for version in versions.registered(NAME) for alias in version.aliases}


def all_is_done(project: Judged) -> None:
    assert named() == {"champion": "2", "previous": "1"}
    assert [move.number for move in aliases.ledger(NAME)] == ["1", "2"]
    assert "dvc.lock" in project.git("show", "--format=", "--name-only").split()
    assert project.made() == {"one"}
    assert not retraining.STATE.exists()
    assert project.call() == "nothing new"


def test_a_promotion_waits_for_a_remote_that_is_away(project: Judged) -> None:
    (project.root / "remote").write_text("a file where a folder should be")
    (project.root / ".dvc/config.local").write_text(f"['remote \"away\"']\n    url = {project.root}/remote\n"
                                                   "[core]\n    remote = away\n")  # fmt: skip
    with pytest.raises(InputError, match="dvc push failed"):
        project.call()
    assert named()["champion"] == "1"
    (project.root / "remote").unlink()
    assert project.call() == "promoted"
    all_is_done(project)


@pytest.mark.parametrize(
    ("of", "step", "after"),
    [
        (retraining, "_act", False),
        (Worktree, "bring_home", True),
        (Worktree, "commit", True),
        (aliases, "promote", False),
        (aliases, "promote", True),
        (report, "log", True),
    ],
)
def test_cut_off_before_or_after_any_step_the_next_call_does_the_rest(
    project: Judged, monkeypatch: pytest.MonkeyPatch, of: Any, step: str, after: bool
) -> None:
    whole = getattr(of, step)

    def cut_off(*words: Any, **named: Any) -> None:
        if after:
            whole(*words, **named)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(of, step, cut_off)
        with pytest.raises(KeyboardInterrupt):
            project.call()
    assert project.call() == "promoted"
    assert [run.data.tags["inpaint.retrain"] for run in Seen().runs()] == ["promoted"]
    all_is_done(project)


def test_what_a_person_decided_meanwhile_stands(project: Judged, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Worktree, "bring_home", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            project.call()
    aliases.promote(NAME, "2", "by hand")
    aliases.rollback(NAME, "grey skies")
    assert project.call() == "kept"
    assert named() == {"champion": "1"}


def test_what_the_gate_keeps_out_is_no_challenger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    made = Judged(tmp_path, gain_db=-0.1)
    monkeypatch.setattr(trial, "try_out", made.candidate)
    assert made.call() == "kept"
    assert named() == {"champion": "1"}


def test_the_disk_has_everything_before_a_call_counts_as_done(project: Judged, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []
    monkeypatch.setattr(os, "sync", lambda: seen.append(json.loads(retraining.STATE.read_text())["outcome"] != ""))
    assert project.call() == "promoted"
    assert seen == [True]

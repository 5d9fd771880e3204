"""What was decided is done, whatever cuts a call off and wherever."""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml
from typer.testing import CliRunner

from stages.retrain import __main__ as retraining
from stages.retrain import news, phases, report, trial
from stages.retrain.call import Call, Options
from stages.retrain.gate import Case
from stages.retrain.worktree import STATE, Worktree
from stages.runtime import guard
from stages.runtime.errors import InputError
from stages.serving.cli import app
from stages.tracking import aliases, store, versions
from stages.tracking.versions import Version
from tests.clone import ROOT, params_with
from tests.small import Small, away_from_users
from tests.tracked import Listener, Seen, register_versions, write_database
from tests.unit.retrain.test_gate import present, scores
from tests.warm import warm

pytestmark = pytest.mark.usefixtures(away_from_users.__name__, warm.__name__)
NAME, COMMIT = "inpaint-pconv", Options(commit=True)


class Judged(Small):
    """A project whose second version, which the next call finds registered, the gate finds better by some dB."""

    def __init__(self, root: Path, gain_db: float = 0.5) -> None:
        (root / "params.yaml").write_text(yaml.safe_dump(self.params()))
        super().__init__(root)
        write_database(root)
        register_versions(NAME, root, "12")
        with store.reached():
            store.connect().set_registered_model_alias(NAME, "challenger", "2")
        aliases.promote(NAME, "1", "the first")
        self.git("config", "user.name", "t")
        self.git("config", "user.email", "t@localhost")
        self._case = Case(scores(lambda table: gain_db), present(version="1"))

    def ask(self) -> None:
        """Let a person decide."""
        path = self.root / "params.yaml"
        path.write_text(path.read_text().replace("promote: automatic", "promote: ask"))
        self.commit()

    def params(self) -> dict[str, Any]:
        """What params.yaml holds; a list of photographs, to which none are added."""
        return params_with({"prepare": {"photos": "data/list.csv"}}) | {
            "models": {"pconv": {}},
            "methods": {},
            "criterion": {"score": "hole_psnr", "floor_db": 0.5},
        }

    def judge(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let trials find the second version beside the champion."""

        def measure(_tree: Path, _key: str, candidate: Version, *_: object) -> Case:
            return replace(self._case, vetoed=candidate.tags.get(aliases.VETO, ""))

        monkeypatch.setattr(trial, "find_candidate", lambda *_: versions.resolve(f"models:/{NAME}/2"))
        monkeypatch.setattr(trial, "measure", measure)

    def call(self, options: Options = COMMIT) -> str:
        """Call once."""
        return phases.retrain(Call.begin(), options)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Judged:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    made = Judged(tmp_path)
    made.judge(monkeypatch)
    return made


def named() -> dict[str, str]:
    return {alias: version.number for version in versions.registered(NAME) for alias in version.aliases}


def all_is_done(project: Judged) -> None:
    assert named() == {"champion": "2", "previous": "1"}
    assert [move.number for move in aliases.ledger(NAME)] == ["1", "2"]
    assert "dvc.lock" in project.git("show", "--format=", "--name-only").split()
    assert project.made() == {"one"}
    assert not STATE.exists()
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
        (phases, "_act", False),
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


def test_the_first_version_is_reported_as_promoted(project: Judged, monkeypatch: pytest.MonkeyPatch) -> None:
    with store.reached():
        store.connect().delete_registered_model_alias(NAME, "champion")

    def published(*_: object) -> Version:
        return aliases.promote(NAME, "2", "the first")[1]  # as `publish` does in the worktree

    monkeypatch.setattr(trial, "find_candidate", published)
    assert project.call() == "promoted"
    assert named()["champion"] == "2"
    assert versions.resolve(f"models:/{NAME}/2").tags["gate.reason"] == "the first version needs no gate"


def test_what_a_person_decided_meanwhile_stands(project: Judged, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Worktree, "bring_home", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            project.call()
    aliases.promote(NAME, "2", "by hand")
    aliases.rollback(NAME, "grey skies")
    assert project.call() == "kept"
    assert named() == {"champion": "1"}


def inpaint(*words: str) -> str:
    done = CliRunner().invoke(app, ["model", *words])
    assert done.exit_code == 0, done.output
    return done.output


def test_where_people_are_asked_one_approves(project: Judged) -> None:
    project.ask()
    assert project.call() == "waiting"
    assert named() == {"champion": "1", "candidate": "2"}
    inpaint("approve", NAME, "--why", "looks good", "--by", "somebody")
    assert aliases.ledger(NAME)[-1].why == "somebody: looks good"
    all_is_done(project)


def test_where_people_are_asked_one_rejects_for_good(project: Judged) -> None:
    project.ask()
    project.call()
    inpaint("reject", NAME, "--why", "grey skies", "--by", "somebody")
    assert named() == {"champion": "1"}
    assert inpaint("ledger").splitlines()[-1].endswith("rejected: somebody: grey skies")
    project.photograph("two")
    assert project.call() == "kept"


def test_an_approval_in_mlflows_pages_counts(project: Judged) -> None:
    project.ask()
    project.call()
    Seen().client.set_registered_model_alias(NAME, "champion", "2")
    project.photograph("two")
    assert project.call() == "kept"
    assert named() == {"champion": "2", "previous": "1"}
    assert aliases.ledger(NAME)[-1].why == "approved in MLflow"


def test_a_branch_is_pushed_for_a_pull_request(project: Judged) -> None:
    origin = project.root / ".git/origin"
    project.git("init", "-q", "--bare", str(origin))
    project.git("remote", "add", "origin", str(origin))
    before = project.git("rev-parse", "HEAD")
    assert project.call(Options(branch="retrain")) == "promoted"
    assert project.git("rev-parse", "HEAD") == before
    assert project.git("log", "-1", "--format=%s %P", "retrain", place=origin).endswith(before)
    assert "dvc.lock" in project.git("show", "--format=", "--name-only", "retrain", place=origin)


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch, listening: str) -> str:
    monkeypatch.setattr(guard, "_end_with_dvc", lambda: None)  # the tests' own process keeps its signals
    return f"{listening}/a-secret"


def result_of(options: Options) -> dict[str, Any]:
    assert options.result is not None
    result: dict[str, Any] = json.loads(options.result.read_text())
    jsonschema_rs.validate(json.loads((ROOT / "docs/result.schema.json").read_text()), result)
    return result


def test_programs_read_what_came_of_it_and_hear_of_it(
    project: Judged, address: str, capfd: pytest.CaptureFixture[str]
) -> None:
    options = Options(commit=True, result=project.root / ".retrain/result.json", notify=address)
    assert retraining.run(options) == 0
    result = result_of(options)
    assert result["outcome"] == "promoted"
    assert result["commit"] == project.git("rev-parse", "HEAD")
    reason = result["models"]["pconv"]["reason"]
    assert (result["models"]["pconv"]["version"], result["models"]["pconv"]["champion"]) == ("2", "1")
    assert Listener.heard.pop()[1] == result | {"text": f"Retraining: promoted\npconv, version 2: {reason}"}
    assert "| pconv | 2 | promoted |" in (project.root / result["paths"]["report"]).read_text()
    assert retraining.run(options) == 0
    assert result_of(options)["outcome"] == "nothing new"
    (project.root / "params.yaml").write_text("models: {}")
    assert retraining.run(options) == 2
    assert "params.yaml" in result_of(options)["error"]
    assert Listener.heard.pop()[1]["outcome"] == "failed"
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(retraining, "retrain", lambda *_: sys.exit(143))  # as on SIGTERM
        project.git("checkout", "params.yaml")
        retraining.run(options)
    assert "interrupted" in result_of(options)["error"]
    assert Listener.heard.pop()[1]["outcome"] == "failed"
    with guard.stage_lock("retrain"):
        assert retraining.run(options) == 0
    assert result_of(options)["outcome"] == "busy"
    assert Listener.heard == []
    assert "a-secret" not in capfd.readouterr().out


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/a-secret", "file:///etc/a-secret", "nowhere/a-secret"])
def test_an_address_that_cannot_be_told_ends_nothing_and_stays_secret(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    news.notify(url, {"outcome": "failed", "error": "why", "batch": "", "models": {}})
    said = capsys.readouterr().out
    assert "told" in said
    assert "a-secret" not in said


@pytest.mark.parametrize(("host", "key"), [("hooks.slack.com", "text"), ("a.webhook.office.com", "attachments")])
def test_slack_and_teams_get_the_form_that_they_take(host: str, key: str) -> None:
    body = news._body(host, {"outcome": "refused", "error": "", "batch": "2026-01-01", "models": {}})
    assert "Retraining on 2026-01-01: refused" in json.dumps(body[key])
    assert "outcome" not in body


def test_what_the_gate_keeps_out_is_no_challenger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    made = Judged(tmp_path, gain_db=-0.1)
    made.judge(monkeypatch)
    assert made.call() == "kept"
    assert named() == {"champion": "1"}


def test_the_disk_has_everything_before_a_call_counts_as_done(project: Judged, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []
    monkeypatch.setattr(os, "sync", lambda: seen.append(json.loads(STATE.read_text())["outcome"] != ""))
    assert project.call() == "promoted"
    assert seen == [True]

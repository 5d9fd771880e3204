"""Housekeeping on a real registry and a real DVC cache: what goes, and above all what stays."""

import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
import yaml
from dvc.repo import Repo
from typer.testing import CliRunner

from stages.retrain import housekeeping
from stages.retrain.worktree import Worktree
from stages.runtime import guard
from stages.runtime.errors import BusyError, InputError
from stages.serving.cli import app
from stages.tracking import aliases, holdings, store, versions
from tests.tracked import PARAMS, Seen, write_database, write_record
from tests.warm import warm

pytestmark = pytest.mark.usefixtures(warm.__name__)

NAME = "inpaint-pconv"
DAYS = 90
OLD_S = time.time() - 200 * 24 * 3600


class Project:
    """A folder with DVC and git, a registry with versions, a cache with objects; all old unless said otherwise.

    Args:
        repository: of git.
        inner: the project's folder in it.
    """

    def __init__(self, repository: Path, inner: str = "") -> None:
        self.root = root = repository / inner
        root.mkdir(parents=True, exist_ok=True)
        (root / "params.yaml").write_text(PARAMS)
        (root / ".gitignore").write_text("/mlflow.db*\n/mlartifacts\n/.locks\n")
        self.git("init", "-q", "-b", "main", str(repository))
        with Repo.init(str(root), subdir=bool(inner)):
            pass
        self.lock({})
        write_database(root)

    def git(self, *words: str) -> str:
        words = ("git", "-c", "user.name=t", "-c", "user.email=t@localhost", *words)
        return subprocess.run(words, cwd=self.root, check=True, capture_output=True, text=True).stdout.strip()

    def commit(self) -> str:
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", "as it stands")
        return self.git("rev-parse", "HEAD")

    def lock(self, outs: dict[str, str]) -> None:
        named = [{"path": path, "hash": "md5", "md5": name} for path, name in outs.items()]
        for file, of in (("dvc.yaml", list(outs)), ("dvc.lock", named)):
            stages = {"prepare": {"cmd": "true", "outs": of}} if outs else {}
            (self.root / file).write_text(yaml.safe_dump({"stages": stages}))
        (self.root / "dvc.lock").write_text("schema: '2.0'\n" + (self.root / "dvc.lock").read_text())

    def put(self, content: str, suffix: str = "", at_s: float = OLD_S) -> str:
        """Put an object into the cache; return its name."""
        name = hashlib.md5(content.encode()).hexdigest() + suffix
        path = self.object(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        path.chmod(0o444)
        os.utime(path, (at_s, at_s))
        return name

    def put_folder(self, *members: str) -> str:
        return self.put(json.dumps([{"md5": name, "relpath": f"{name}.npy"} for name in members]), ".dir")

    def object(self, name: str) -> Path:
        return self.root / ".dvc/cache/files/md5" / name[:2] / name[2:]

    def there(self) -> set[str]:
        return {path.parent.name + path.name for path in (self.root / ".dvc/cache/files/md5").glob("*/*")}

    def version(self, at_s: float = OLD_S, model_id: str = "", name: str = NAME, **tags: str) -> str:
        """Register a version, with a run and a logged model of 1000 bytes; return its number."""
        with store.reached():
            client = store.connect()
            experiment = store.experiment_id(client, "photographs")
            if not client.search_registered_models(f"name = '{name}'"):
                client.create_registered_model(name)
            run = self.run({store.RECORD: os.urandom(8).hex()}, at_s)
            if not model_id:
                (self.root / "model.pt2").write_bytes(bytes(1000))
                digest = tags.get("model_sha256", os.urandom(32).hex())
                model = client.create_logged_model(experiment, "model", run, tags={"model_sha256": digest})
                client.log_model_artifacts(model.model_id, str(self._folder()))
                client.finalize_logged_model(model.model_id, "READY")
                model_id = model.model_id
                self._age("logged_models", "creation_timestamp_ms", f"model_id = '{model_id}'", at_s)
            all_tags = {"model_sha256": os.urandom(32).hex(), **tags}
            made = client.create_model_version(name, f"models:/{model_id}", run, tags=all_tags)
            number = str(made.version)
        self._age("model_versions", "creation_time", f"name = '{name}' AND version = {number}", at_s)
        return number

    def run(self, tags: dict[str, str], at_s: float = OLD_S, name: str = "run") -> str:
        """Make a finished run with an artifact of 500 bytes."""
        with store.reached():
            client = store.connect()
            experiment, at_ms = store.experiment_id(client, "photographs"), round(at_s * 1000)
            run_id = str(client.create_run(experiment, at_ms, tags, name).info.run_id)
            client.log_text(run_id, "x" * 500, "notes/long.txt")
            client.set_terminated(run_id, "FINISHED", at_ms)
        return run_id

    def _folder(self) -> Path:
        folder = self.root / ".dvc/tmp/made"
        folder.mkdir(parents=True, exist_ok=True)
        (self.root / "model.pt2").replace(folder / "model.pt2")
        return folder

    def _age(self, table: str, column: str, which: str, at_s: float) -> None:
        with closing(sqlite3.connect(self.root / "mlflow.db")) as database, database:
            changed = database.execute(f"UPDATE {table} SET {column} = ? WHERE {which}", (round(at_s * 1000),))
            assert changed.rowcount == 1


@pytest.fixture
def project(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    root = tmp_path / getattr(request, "param", "")
    monkeypatch.setenv("DVC_ROOT", str(root))
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(root / ".dvc/tmp/site"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    made = Project(tmp_path, str(root.relative_to(tmp_path)) if root != tmp_path else "")
    monkeypatch.chdir(root)
    return made


in_a_folder_too = pytest.mark.parametrize("project", ["", "models/inpaint"], indirect=True)


def tidy(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["tidy", *words])
    if isinstance(result.exception, Exception) and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout


def numbers(name: str = NAME) -> list[str]:
    return [version.number for version in versions.registered(name)]


def files(project: Project, kind: str) -> int:
    return len(list(project.root.glob(f"mlartifacts/photographs/{kind}")))


MODELS, NOTES = "models/*/artifacts/model.pt2", "*/artifacts/notes/long.txt"


def test_only_a_version_that_nothing_holds_goes_with_its_model_and_run(project: Project) -> None:
    earlier, previous, champion, vetoed, challenger, idle, by_hand = (project.version() for _ in range(7))
    recent = project.version(time.time() - 3600)
    for number in (earlier, vetoed, previous, champion):
        aliases.promote(NAME, number, "better")
    with store.reached():
        client = store.connect()
        client.set_model_version_tag(NAME, vetoed, aliases.VETO, "grey skies")
        client.set_registered_model_alias(NAME, "challenger", challenger)
        client.set_registered_model_alias(NAME, "for-the-fair", by_hand)
    before = numbers()
    code, said = tidy("--older-than", str(DAYS))
    assert code == 0
    assert f"not needed: version {idle} of {NAME}\nnot needed: run run (" in said
    assert said.endswith("say --yes to let go of it\n")
    assert (numbers(), files(project, MODELS), files(project, NOTES)) == (before, 8, 8)
    code, said = tidy("--older-than", str(DAYS), "--yes")
    assert code == 0
    assert f"let go of version {idle} of {NAME}\n" in said
    assert sorted(numbers()) == sorted([earlier, previous, champion, vetoed, challenger, by_hand, recent])
    assert (files(project, MODELS), files(project, NOTES), len(Seen().runs())) == (7, 7, 7)
    assert fetched(champion).stat().st_size == 1000
    assert "let go" not in tidy("--older-than", str(DAYS), "--yes")[1]


def fetched(number: str) -> Path:
    """Return the model of a version as the registry gives it."""
    with store.reached():
        from mlflow.artifacts import download_artifacts

        return Path(download_artifacts(f"models:/{NAME}/{number}")) / "model.pt2"


def test_a_veto_alone_and_the_ledger_alone_hold_a_version(project: Project) -> None:
    vetoed, once, now = (project.version() for _ in range(3))
    aliases.promote(NAME, once, "better")
    aliases.promote(NAME, now, "better still")
    with store.reached():
        client = store.connect()
        client.delete_registered_model_alias(NAME, "previous")
        client.set_model_version_tag(NAME, vetoed, aliases.VETO, "grey skies")
    tidy("--older-than", str(DAYS), "--yes")
    assert numbers() == [now, once, vetoed]
    aliases.lift_veto(NAME, vetoed)
    tidy("--older-than", str(DAYS), "--yes")
    assert numbers() == [now, once]


def test_what_the_present_outputs_are_known_by_stays(project: Project) -> None:
    champion, of_outputs, idle = project.version(), project.version(model_sha256="a" * 64), project.version()
    aliases.promote(NAME, champion, "better")
    record = write_record(project.root / "data/training/pconv", sha256="a" * 64)
    run = project.run({store.RECORD: record["id"]}, name="of the outputs")
    tidy("--older-than", str(DAYS), "--yes")
    assert numbers() == [of_outputs, champion]
    assert run in [each.info.run_id for each in Seen().runs()]
    assert idle not in numbers()


def test_of_comparisons_the_latest_stays_and_what_is_not_ours_too(project: Project) -> None:
    aliases.promote(NAME, project.version(), "better")
    project.run({"inpaint.comparison": "1"}, name="older")
    project.run({"inpaint.comparison": "2"}, OLD_S + 1, name="latest")
    project.run({"inpaint.retrain": "kept"}, name="retrain")
    project.run({"inpaint.retrain": "kept"}, time.time() - 3600, name="recent")
    project.run({}, name="a person's own")
    tidy("--older-than", str(DAYS), "--yes")
    assert sorted(run.info.run_name for run in Seen().runs()) == ["a person's own", "latest", "recent", "run"]


def test_a_model_that_another_version_shares_stays(project: Project) -> None:
    aliases.promote(NAME, project.version(), "better")
    number = project.version()
    shared = holdings_of(number).model_id
    project.version(model_id=shared, name="mine")
    tidy("--older-than", str(DAYS), "--yes")
    assert number in numbers()
    assert fetched(number).exists()
    with store.reached():
        store.connect().delete_model_version("mine", "1")
    tidy("--older-than", str(DAYS), "--yes")
    assert number not in numbers()


def holdings_of(number: str) -> holdings.Holding:
    found = housekeeping.survey(DAYS)
    (holding,) = [one for one in found if one.version is not None and one.version.number == number]
    return holding


def test_what_a_call_that_was_cut_off_left_goes_with_the_next(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    aliases.promote(NAME, project.version(), "better")
    project.version()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(holdings, "empty_trash", lambda: (_ for _ in ()).throw(KeyboardInterrupt))
        list(housekeeping.tidy(DAYS, yes=True))
    assert (len(numbers()), files(project, MODELS)) == (1, 2)
    tidy("--older-than", str(DAYS), "--yes")
    assert (files(project, MODELS), files(project, NOTES)) == (1, 1)


def test_a_version_that_became_champion_meanwhile_stays(project: Project) -> None:
    aliases.promote(NAME, project.version(), "better")
    number = project.version()
    (found,) = [one for one in housekeeping.survey(DAYS) if one.version and not one.needed]
    aliases.promote(NAME, number, "by hand")
    assert not holdings.let_go(found)
    assert versions.resolve(f"models:/{NAME}@champion").number == number
    assert fetched(number).exists()


def test_objects_stay_that_the_outputs_or_a_kept_version_need_shared_ones_too(project: Project) -> None:
    present, shared, of_kept, of_idle, alone, lone = (project.put(text) for text in ("p", "s", "k", "i", "a", "l"))
    present_folder = project.put_folder(present, shared)
    kept_folder, idle_folder = project.put_folder(of_kept, shared), project.put_folder(of_idle, shared)
    project.lock({"data/prepared": present_folder})
    kept = project.version(**{"dvc.data/prepared": kept_folder, "dvc.data/pairs.csv": alone})
    project.version(**{"dvc.data/prepared": idle_folder, "dvc.data/masks": lone})
    aliases.promote(NAME, kept, "better")
    _, said = tidy("--older-than", str(DAYS))
    assert "Removed 3 objects from repo cache." in said
    assert len(project.there()) == 9
    tidy("--older-than", str(DAYS), "--yes")
    assert project.there() == {present, shared, of_kept, alone, present_folder, kept_folder}


@in_a_folder_too
def test_what_git_names_at_a_tip_stays_and_pointers_of_a_kept_versions_commit(project: Project) -> None:
    aliases.promote(NAME, project.version(), "better")
    on_branch, photos, gone, untracked, cut_off = (project.put(text) for text in "bpguc")
    project.lock({"data/prepared": on_branch})
    (project.root / "raw.dvc").write_text(yaml.safe_dump({"outs": [{"md5": photos, "hash": "md5", "path": "raw"}]}))
    trained_at = project.commit()
    project.git("branch", "other")
    project.lock({"data/prepared": gone})
    (project.root / "raw.dvc").unlink()
    project.commit()
    project.lock({})
    project.commit()
    project.git("branch", "-D", "other")
    aliases.promote(NAME, project.version(git_commit=trained_at), "better")
    project.git("branch", "other", trained_at)
    (project.root / "new.dvc").write_text(yaml.safe_dump({"outs": [{"md5": untracked, "hash": "md5", "path": "new"}]}))
    project.git("worktree", "add", "-q", "--detach", ".retrain/tree")
    (Worktree(project.root).tree / "cut_off.dvc").write_text(
        yaml.safe_dump({"outs": [{"md5": cut_off, "hash": "md5", "path": "c"}]})
    )
    (project.root / ".retrain/call.json").write_text("{}")
    tidy("--older-than", str(DAYS), "--yes")
    assert project.there() == {on_branch, photos, gone, untracked, cut_off}, "a commit of today names what is gone"
    tidy("--older-than", "0", "--yes")
    assert project.there() == {on_branch, photos, untracked, cut_off}
    project.git("branch", "-D", "other")  # the lock file of that commit names what a retrained model replaced
    (project.root / ".retrain/call.json").unlink()
    tidy("--older-than", "0", "--yes")
    assert project.there() == {photos, untracked}


@in_a_folder_too
def test_what_an_experiment_in_the_queue_needs_stays(project: Project) -> None:
    aliases.promote(NAME, project.version(), "better")
    queued = project.put("queued")
    project.lock({"o.txt": queued})
    project.commit()
    dvc = [sys.executable, "-m", "dvc"]
    subprocess.run([*dvc, "exp", "run", "--queue"], cwd=project.root, check=True, capture_output=True)
    project.lock({})
    project.git("commit", "-q", "--amend", "-a", "-m", "without it")
    tidy("--older-than", "0", "--yes")
    assert project.there() == {queued}
    subprocess.run([*dvc, "queue", "remove", "--all"], cwd=project.root, check=True, capture_output=True)
    tidy("--older-than", "0", "--yes")
    assert project.there() == set()


def test_without_days_it_only_looks_and_days_are_asked_for(project: Project) -> None:
    number = project.version()
    project.put("idle")
    code, said = tidy()
    assert code == 0
    assert said.splitlines() == ["MLflow: 1 versions", "MLflow: 1 runs"]
    with pytest.raises(InputError, match="--older-than how many days"):
        tidy("--yes")
    with pytest.raises(InputError, match="has no version"):
        tidy("--older-than", str(DAYS), "--yes")  # nothing holds the only version: another registry, perhaps
    assert (numbers(), len(project.there())) == ([number], 1)


def test_a_cache_that_others_may_share_is_left_alone(
    project: Project, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("shared")
    name = project.put("idle")
    (project.root / ".dvc/cache").rename(elsewhere / "cache")
    (project.root / ".dvc/config.local").write_text(f"[cache]\n    dir = {elsewhere / 'cache'}\n")
    aliases.promote(NAME, project.version(), "better")
    project.commit()
    _, said = tidy("--older-than", str(DAYS), "--yes")
    assert "may be of other projects" in said
    assert (elsewhere / "cache/files/md5" / name[:2] / name[2:]).exists()
    other = elsewhere / "other"
    subprocess.run(["git", "clone", "-q", str(project.root), str(other)], check=True)
    shutil.copy2(project.root / ".dvc/config.local", other / ".dvc")
    (other / "kept.dvc").write_text(yaml.safe_dump({"outs": [{"md5": name, "hash": "md5", "path": "kept"}]}))
    tidy("--older-than", "0", "--yes", "--project", str(other))
    assert (elsewhere / "cache/files/md5" / name[:2] / name[2:]).exists()
    (other / "kept.dvc").unlink()
    tidy("--older-than", "0", "--yes", "--project", str(other))
    assert not (elsewhere / "cache/files/md5" / name[:2] / name[2:]).exists()


def test_a_folder_that_cannot_be_read_stops_it_before_any_object_goes(project: Project) -> None:
    aliases.promote(NAME, project.version(), "better")
    project.version()
    idle, damaged = project.put("idle"), project.put("[{", ".dir")
    project.lock({"data/prepared": damaged})
    with pytest.raises(InputError, match="should list a folder, but cannot be read"):
        tidy("--older-than", str(DAYS), "--yes")
    assert project.there() == {idle, damaged}


def test_beside_a_running_stage_or_retrain_nothing_goes(project: Project) -> None:
    aliases.promote(NAME, project.version(), "better")
    rwlock = project.root / ".dvc/tmp/rwlock"
    rwlock.write_text(json.dumps({"write": {"/data": {"pid": os.getpid(), "cmd": "dvc repro"}}, "read": {}}))
    with pytest.raises(BusyError, match="runs a stage .dvc repro."):
        tidy("--older-than", str(DAYS), "--yes")
    rwlock.write_text(json.dumps({"read": {"/data": [{"pid": 2**22 + 1, "cmd": "of a process that is gone"}]}}))
    assert tidy("--older-than", str(DAYS), "--yes")[0] == 0
    with guard.stage_lock("retrain"), pytest.raises(BusyError):
        tidy("--older-than", str(DAYS), "--yes")

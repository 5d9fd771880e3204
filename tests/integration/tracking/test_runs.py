"""A record comes into MLflow whole, once, whatever happens on the way."""

import contextlib
import sqlite3
import sys
from collections import Counter
from pathlib import Path

import pytest

from stages.runtime.errors import InputError, TrackingError
from stages.tracking import runs, store
from stages.tracking.record import Point, read_points, read_record
from tests.tracked import STARTED_MS, Seen, free_port, wait_for, write_database, write_record
from tests.tracked import steps as steps_to
from tests.warm import Program

EXPERIMENT = "photographs"


def bring(folder: Path) -> str:
    return runs.bring_up_to_date(folder, EXPERIMENT)


def logged(tree: Path) -> Counter[tuple[str, int]]:
    """Count the values in the database by curve and step: what is there twice counts twice."""
    with contextlib.closing(sqlite3.connect(tree / "mlflow.db")) as database:
        return Counter(database.execute("SELECT key, step FROM metrics"))


EXPECTED = Counter(
    [("train/loss", s) for s in steps_to(30)]
    + [("val/hole_psnr", s) for s in (10, 20, 30)]
    + [("system/cpu_percent", s) for s in range(4)]
)


def test_points_are_those_of_complete_lines(tmp_path: Path) -> None:
    (tmp_path / "history.csv").write_text("step,seconds,loss,lr\n25,1.5,0.5,\n50,3.25,nan,1e-3\n75,4.0,0.2")
    (tmp_path / "validation.csv").write_text("step,seconds,val_ssim\n50,3.5,0.75\n")
    (tmp_path / "system.csv").write_text("seconds,cpu_perc")
    ssim, loss, hole, rate = read_points(tmp_path, 1000)
    assert loss == Point("train/loss", 25, 2500, 0.5)
    assert (hole.name, hole.step) == ("train/loss", 50)
    assert hole.value != hole.value  # a loss that is no number is shown as such
    assert rate == Point("train/lr", 50, 4250, 0.001)
    assert ssim == Point("val/ssim", 50, 4500, 0.75)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is missing; run dvc repro"),
        ("{}", r"no record of a training \(id: Field required\)"),
        ("{", "no record"),
    ],
)
def test_a_record_that_cannot_be_read_is_named(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "record.json").write_text(content)
    with pytest.raises(InputError, match=rf"record\.json.*{message}"):
        read_record(tmp_path)


def test_a_run_shows_all_of_its_record(tree: Path) -> None:
    content = write_record(tree / "record")
    run_id = bring(tree / "record")
    seen = Seen()
    run = seen.run()
    assert run.info.run_id == run_id
    assert (run.info.status, run.info.start_time, run.info.end_time) == ("FINISHED", STARTED_MS, STARTED_MS + 90_000)
    assert run.info.run_name == "pconv · 30 steps · 2e-3"
    assert run.data.params == {
        "seed": "3", "steps": "26", "training.finetune_steps": "4", "learning_rate": "0.002", "partial": "true",
        "tiles": "data/prepared/train",
    }  # fmt: skip
    assert run.data.tags["inpaint.record"] == content["id"]
    assert run.data.tags["mlflow.source.git.commit"] == "d" * 40
    assert run.data.tags["git.dirty"] == "true"
    assert run.data.tags["machine.processor"] == "Abacus 2"
    assert {(given.dataset.name, given.tags[0].value) for given in run.inputs.dataset_inputs} == {
        ("data/prepared/train", "training"), ("data/prepared/val", "validation"), ("data/masks/train.npy", "training"),
    }  # fmt: skip
    assert seen.curve(run, "val/hole_psnr") == [(10, 25_000, 20.5), (20, 50_000, 21.0), (30, 75_000, 21.5)]
    assert seen.curve(run, "system/cpu_percent")[-1] == (3, 3000, 93.0)
    assert run.data.tags["summary.val_hole_psnr"] == "21.5"
    assert seen.artifacts(run) == ["images", "packages.txt", "record.json"]
    pictured = [name for name in seen.artifacts(run, "images") if name.endswith(".png")]
    assert [name.split("+timestamp")[0] for name in pictured] == [f"validation+step+{step}" for step in (10, 20, 30)]
    assert logged(tree) == EXPECTED


def test_the_same_record_again_changes_nothing(tree: Path) -> None:
    write_record(tree / "record")
    first = bring(tree / "record")
    before = (tree / "mlflow.db").read_bytes()
    assert bring(tree / "record") == first
    assert (tree / "mlflow.db").read_bytes() == before


def test_a_growing_record_is_completed_and_nothing_comes_twice(tree: Path) -> None:
    """Lines that are written again after a resume count once, and the run goes on."""
    whole, part = tree / "whole", tree / "part"
    identity = write_record(whole)["id"]
    write_record(part, status="running", id=identity)
    history = (whole / "history.csv").read_text()
    (part / "history.csv").write_text(history[: len(history) // 2])
    (part / "pictures/step_000030.png").unlink()
    first = bring(part)
    (run,) = Seen().runs()
    assert run.info.status == "RUNNING"
    assert 0 < len([step for name, step in logged(tree) if name == "train/loss"]) < 30

    (whole / "history.csv").write_text(history.replace(",0.", ",0.0"))
    assert bring(whole) == first
    assert Seen().run().info.status == "FINISHED"
    assert logged(tree) == EXPECTED
    assert len(Seen().artifacts(run, "images")) == 6


def test_two_trainings_of_one_key_are_two_runs(tree: Path) -> None:
    write_record(tree / "mine", sha256="1" * 64)
    write_record(tree / "yours", sha256="2" * 64)
    assert bring(tree / "mine") != bring(tree / "yours")
    assert [run.info.status for run in Seen().runs()] == ["FINISHED", "FINISHED"]


def test_a_training_done_again_with_the_same_result_is_one_run(tree: Path) -> None:
    """Also where it was seen while it ran; each time it is asked for, and not before it is finished."""
    write_record(tree / "first")
    again = write_record(tree / "again", status="running")
    first = bring(tree / "first")
    assert bring(tree / "again") != first
    assert {run.info.status for run in Seen().runs()} == {"FINISHED", "RUNNING"}
    write_record(tree / "again", id=again["id"])
    assert [bring(tree / "again"), bring(tree / "again"), bring(tree / "first")] == [first] * 3
    run = Seen().run()
    assert run.data.tags["inpaint.record"] != again["id"]
    assert run.data.tags[f"inpaint.again.{again['id']}"] == "2023-11-14 22:13 UTC, studio"
    assert [step for step, _, _ in Seen().curve(run, "train/loss")] == list(steps_to(30))


def test_a_deleted_database_is_built_again(tree: Path) -> None:
    write_record(tree / "record")
    bring(tree / "record")
    before = Seen().run()
    write_database(tree)
    bring(tree / "record")
    after = Seen().run()
    assert after.data.metrics == before.data.metrics
    assert after.info.end_time == before.info.end_time
    assert logged(tree) == EXPECTED


def test_a_deleted_experiment_comes_back(tree: Path) -> None:
    write_record(tree / "record")
    bring(tree / "record")
    seen = Seen()
    with store.reached():
        seen.client.delete_experiment(seen.run().info.experiment_id)
    bring(tree / "record")
    assert seen.run().info.status == "FINISHED"


def test_a_server_that_is_away_is_named(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_record(tree / "record")
    uri = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(TrackingError, match=f"MLflow at {uri} cannot be used: "):
        bring(tree / "record")


BRING = "import sys; from stages.tracking.runs import bring_up_to_date as b; b(sys.argv[1], 'photographs')"


@pytest.mark.slow
def test_killed_while_sending_the_next_call_completes(tree: Path) -> None:
    write_record(tree / "record")
    lines = [f"{step},{step / 10},{step / 7}" for step in steps_to(20_000)]
    (tree / "record/history.csv").write_text("\n".join(["step,seconds,loss", *lines]) + "\n")
    with Program([sys.executable, "-c", BRING, tree / "record"]):  # killed at its end
        wait_for(lambda: sum(logged(tree).values()) > 0, 60)
    sent = sum(logged(tree).values())
    assert sent < 20_000
    assert Seen().run().info.status == "RUNNING"

    bring(tree / "record")
    assert Seen().run().info.status == "FINISHED"
    assert set(logged(tree).values()) == {1}
    assert sum(logged(tree).values()) == 20_000 + 3 + 4


@pytest.mark.slow
def test_two_processes_that_come_first_at_once_make_one_database_and_one_run(tree: Path) -> None:
    (tree / "mlflow.db").unlink()
    write_record(tree / "record")
    both = [Program([sys.executable, "-c", BRING, tree / "record"]) for _ in range(2)]
    assert [process.wait(120) for process in both] == [0, 0]
    assert logged(tree) == EXPECTED
    assert Seen().run().info.status == "FINISHED"

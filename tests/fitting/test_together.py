"""Several processes train one model as one would: the same curve, whatever is lost on the way, and one that writes."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
import torch.distributed as dist

from stages.fitting import checkpoint, starting, together, training
from stages.pix2pix import network
from stages.running import guard
from stages.running.errors import BusyError, InputError
from stages.running.files import sha256
from tests.fitting.test_training import ROOT, fit, project, unexported  # noqa: F401 - fixtures, by name
from tests.project import make_project, tiny_params
from tests.tracked import wait_for

LONG = pytest.mark.skipif("INPAINT_LONG" not in os.environ, reason="takes minutes: set INPAINT_LONG=1")
SCRIPT = """
import sys
from stages.fitting import starting, training
from stages.pix2pix import network
from tests.fitting.test_training import KINDS
from tests.project import without_export

without_export()
training.MIRROR = "stages.running.say"
training.VALIDATION_BATCH = 3
network.INNER_LEVELS = 1
with starting.joined():
    for key in sys.argv[1:]:
        training.train(key, *KINDS[key])
"""
STEPS = {"steps": 40, "validate_every": 20, "checkpoint_every_s": 1e-6}


def params_of(**pix2pix: str) -> dict:
    params = tiny_params()
    params["train"]["pconv"] |= STEPS | {"finetune_steps": 10}
    params["train"]["pix2pix"] |= STEPS | {"levels": 3} | pix2pix
    return params


def torchrun(folder: Path, *words: str, **environment: str) -> subprocess.Popen[str]:
    settings = {"DVC_ROOT": str(folder), "PYTHONPATH": str(ROOT), "INPAINT_DEVICE": "cpu", "OMP_NUM_THREADS": "1"}
    settings |= {"INPAINT_PRECISION": "32-true", "MLFLOW_TRACKING_URI": "http://127.0.0.1:9", **environment}
    command = [sys.executable, "-m", "torch.distributed.run", *words]
    return subprocess.Popen(
        command, cwd=folder, env=os.environ | settings, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def two(folder: Path, *keys: str) -> subprocess.Popen[str]:
    (folder / "train.py").write_text(SCRIPT)
    return torchrun(folder, "--standalone", "--nproc-per-node=2", "--max-restarts=3", "train.py", *keys)


@pytest.fixture(scope="module")
def trained_by_two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = make_project(tmp_path_factory.mktemp("two"), params_of())
    said, errors = (process := two(folder, "pconv", "pix2pix")).communicate(timeout=300)
    assert process.returncode == 0, errors[-3000:]
    return folder, said


@pytest.fixture
def dropping(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "VALIDATION_BATCH", 3)  # several batches
    monkeypatch.setattr(network, "INNER_LEVELS", 1)  # or dropout would take a network of six levels
    monkeypatch.setenv("INPAINT_PRECISION", "32-true")
    monkeypatch.setenv("INPAINT_DEVICE", "cpu")


def numbers(folder: Path, key: str, table: str) -> pd.DataFrame:
    of_time = ["seconds", "tiles_per_s", "data_wait"]
    return pd.read_csv(folder / "data/training" / key / f"{table}.csv").drop(columns=of_time, errors="ignore")


def assert_same_course(folder: Path, other: Path, key: str) -> None:
    for table in ("history", "validation"):
        wanted, got = numbers(folder, key, table), numbers(other, key, table)
        assert len(wanted) >= 2
        assert list(got) == list(wanted)
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-8)


@pytest.mark.slow
@pytest.mark.usefixtures("project", "unexported", "dropping")
@pytest.mark.parametrize("key", ["pconv", "pix2pix"])
def test_the_loss_curve_is_that_of_one_process(trained_by_two: tuple[Path, str], tmp_path: Path, key: str) -> None:
    tmp_path.joinpath("params.yaml").write_text(json.dumps(params_of()))
    fit(key)
    assert_same_course(tmp_path, trained_by_two[0], key)


@pytest.mark.slow
def test_the_first_process_alone_writes_and_speaks(trained_by_two: tuple[Path, str]) -> None:
    folder, said = trained_by_two
    assert [line.partition(":")[0] for line in said.splitlines()] == ["pconv", "pix2pix"]
    for key, steps in {"pconv": [20, 40, 50], "pix2pix": [20, 40]}.items():
        assert numbers(folder, key, "validation")["step"].tolist() == steps
        assert len(list((folder / "data/training" / key / "pictures").iterdir())) == len(steps)
        record = json.loads((folder / "data/training" / key / "record.json").read_text())
        assert record["machine"]["processes"] == 2
        assert record["status"] == "finished"
    assert not any((folder / ".resume").iterdir())


@LONG
@pytest.mark.parametrize("lost", [0, 1])
def test_a_lost_process_changes_nothing(trained_by_two: tuple[Path, str], tmp_path: Path, lost: int) -> None:
    process = two(make_project(tmp_path, params_of()), "pconv")
    wait_for(lambda: any(tmp_path.glob(f".resume/*/{checkpoint.LATEST}")), 60)
    ranks(process.pid)[lost].kill()
    said, errors = process.communicate(timeout=300)
    assert process.returncode == 0, "\n".join(line for line in errors.splitlines() if "step/s" not in line)
    assert "pconv: goes on after step" in said
    weights = "data/models/pconv/weights.pt"
    assert sha256(tmp_path / weights) == sha256(trained_by_two[0] / weights)
    steps = [numbers(folder, "pconv", "history")["step"].tolist() for folder in (tmp_path, trained_by_two[0])]
    assert steps[0] == steps[1]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_processes_that_start_again_take_no_word_of_those_before(order: tuple[int, ...]) -> None:
    store = dist.HashStore()
    store.set_timeout(timedelta(seconds=20))
    names = []
    for _ in range(3):
        with ThreadPoolExecutor() as pool:
            answers = []
            for rank in order:
                answers.append(pool.submit(starting._attempt, store, rank, 3))
                time.sleep(0.1)  # each has read what the last attempt left before the next one speaks
        agreed = {answer.result() for answer in answers}
        assert len(agreed) == 1
        names += agreed
    assert len(set(names)) == 3


def test_a_process_that_never_starts_again_is_not_waited_for_without_end() -> None:
    store = dist.HashStore()
    store.set_timeout(timedelta(seconds=1))
    store.set("here/1", "of the last attempt")
    with pytest.raises(together.LostError, match="process 1 of 2 of this training did not start"):
        starting._attempt(store, 0, 2)


def ranks(parent: int) -> dict[int, psutil.Process]:
    found = (child for child in psutil.Process(parent).children() if "RANK" in child.environ())
    return {int(child.environ()["RANK"]): child for child in found}


@pytest.mark.usefixtures("project", "unexported", "dropping")
def test_pieces_of_a_batch_give_the_numbers_of_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    tmp_path.joinpath("params.yaml").write_text(json.dumps(params_of(norm="instance")))
    fit("pix2pix")
    other = make_project(tmp_path_factory.mktemp("pieces"), params_of(norm="instance"))
    monkeypatch.chdir(other)
    monkeypatch.setenv("DVC_ROOT", str(other))
    monkeypatch.setenv("INPAINT_ACCUMULATE", "2")
    fit("pix2pix")
    assert_same_course(tmp_path, other, "pix2pix")
    assert numbers(other, "pix2pix", "history")["loss_gan"].iloc[0] > 0


@pytest.mark.usefixtures("project")
def test_a_batch_that_cannot_be_shared_is_refused_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INPAINT_PROCESSES", "2")
    monkeypatch.setenv("INPAINT_ACCUMULATE", "3")
    with pytest.raises(InputError, match=r"2 processes .* 3 pieces .* do not divide `train.pconv.batch_size`, 4"):
        fit("pconv")
    assert not Path(".resume").exists()


def test_of_processes_that_work_together_one_holds_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with guard.only_one("train@pconv"):
        with pytest.raises(BusyError), guard.only_one("train@pconv"):
            pass
        for name, value in {"TORCHELASTIC_RUN_ID": "a", "WORLD_SIZE": "2", "RANK": "1"}.items():
            monkeypatch.setenv(name, value)
        with guard.only_one("train@pconv"):
            pass
        monkeypatch.setenv("RANK", "0")
        with pytest.raises(BusyError), guard.only_one("train@pconv"):
            pass
        monkeypatch.setattr(os, "getppid", os.getpid)  # this process holds it, and has started another
        with guard.only_one("train@pconv"):
            pass


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[bytes]]:
    """The stage as DVC starts it, in two processes of its own, well under way."""
    monkeypatch.setenv("INPAINT_PROCESSES", "2")
    params = params_of()
    params["train"]["pconv"]["steps"] = 400
    tmp_path.joinpath("params.yaml").write_text(json.dumps(params))
    command = [sys.executable, "-m", "stages.pconv.train", "pconv"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    wait_for(lambda: any(tmp_path.glob(f".resume/*/{checkpoint.LATEST}")), 60)
    yield process
    if process.poll() is None:
        process.terminate()
    process.communicate()


@LONG
@pytest.mark.slow
@pytest.mark.usefixtures("project")  # before `stage`, which works in it
def test_the_stage_starts_its_processes_and_starts_them_again(stage: subprocess.Popen[bytes]) -> None:
    with pytest.raises(BusyError), guard.only_one("train@pconv"):
        pass
    ranks(stage.pid)[0].kill()
    said, _ = stage.communicate(timeout=300)
    assert stage.returncode == 0
    assert b"pconv: goes on after step" in said
    assert said.count(b"on validation pictures") == 1
    assert Path("data/models/pconv/model.pt2").exists()


@LONG
@pytest.mark.slow
@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_process_outlives_the_stage(stage: subprocess.Popen[bytes], number: signal.Signals) -> None:
    children = list(ranks(stage.pid).values())
    stage.send_signal(number)
    assert stage.wait(timeout=60) in (-number, 128 + number)
    gone, left = psutil.wait_procs(children, timeout=60)
    assert (len(gone), left) == (2, [])


@LONG
@pytest.mark.slow
@pytest.mark.parametrize("lost", [None, 0, 1])
def test_two_machines_give_what_two_processes_give(
    trained_by_two: tuple[Path, str], tmp_path: Path, lost: int | None
) -> None:
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        folder.mkdir()
        make_project(folder, params_of()).joinpath("train.py").write_text(SCRIPT)
        (folder / ".resume").symlink_to(tmp_path)  # where rank 0 runs after a loss is for torchrun to say
    words = ["--nnodes=2", "--nproc-per-node=1", "--max-restarts=3"]
    words += ["--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:29417"]
    nodes = [
        torchrun(folder, *words, f"--local-addr=127.0.0.{number}", f"--node-rank={number - 1}", "train.py", "pconv")
        for number, folder in enumerate(folders, 1)
    ]
    if lost is not None:
        wait_for(lambda: any(tmp_path.glob(f"*/{checkpoint.LATEST}")), 60)
        ((_, process),) = ranks(nodes[lost].pid).items()
        process.kill()
    ended = [(node.communicate(timeout=300), node.returncode) for node in nodes]
    assert [code for _, code in ended] == [0, 0], ended
    written = [folder for folder in folders if (folder / "data/models/pconv/weights.pt").exists()]
    assert len(written) == 1
    weights = "data/models/pconv/weights.pt"
    assert sha256(written[0] / weights) == sha256(trained_by_two[0] / weights)

"""A real training with a real MLflow server that dies on the way: the training ends, the run is completed later."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from stages.running.errors import TrackingError
from stages.tracking import runs
from tests.clone import ROOT
from tests.project import make_project, tiny_params
from tests.tracked import Seen, Server, wait_for


@pytest.mark.slow
def test_a_server_that_dies_costs_a_training_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    params = tiny_params() | {"publish": {"experiment": "photographs", "model_name": "inpaint", "strict": False}}
    params["train"]["pconv"] |= {"steps": 500, "validate_every": 200, "checkpoint_every_s": 60}
    make_project(tmp_path, params)
    server = Server(tmp_path)
    for name, value in {"DVC_ROOT": str(tmp_path), "MLFLOW_TRACKING_URI": server.uri, "PYTHONPATH": str(ROOT)}.items():
        monkeypatch.setenv(name, value)
    with server:
        training = subprocess.Popen(
            [sys.executable, "-m", "stages.pconv.train", "pconv"],
            cwd=tmp_path, env=dict(os.environ), stderr=subprocess.DEVNULL,
        )  # fmt: skip
        wait_for(lambda: any(tmp_path.glob(".resume/*/record/history.csv")), 120)
        training.send_signal(signal.SIGSTOP)  # however fast it is, it is still under way when the server dies
        wait_for(lambda: any(run.info.status == "RUNNING" for run in Seen().runs()), 120)
        assert training.poll() is None, "the training ended before its server could die"
    training.send_signal(signal.SIGCONT)
    assert training.wait(timeout=480) == 0
    record = tmp_path / "data/training/pconv"
    assert json.loads((record / "record.json").read_text())["status"] == "finished"
    with pytest.raises(TrackingError):
        runs.bring_up_to_date(record, "photographs")
    with server:
        runs.bring_up_to_date(record, "photographs")
        run = Seen().run()
        assert run.info.status == "FINISHED"
        assert [step for step, _, _ in Seen().curve(run, "train/loss")] == [*range(25, 501, 25), 502]

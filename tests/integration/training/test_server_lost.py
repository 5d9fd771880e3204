"""A real training with a real MLflow server that dies on the way: the training ends, the run is completed later."""

import json
import os
import signal
import socketserver
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stages.runtime.errors import TrackingError
from stages.tracking import runs
from tests.clone import ROOT, living
from tests.factories import make_training_project, tiny_params
from tests.postgres import Postgres
from tests.tracked import Seen, Server, wait_for
from tests.warm import Program

pytestmark = pytest.mark.slow

AWAY_S = 600


def project(folder: Path, steps: int) -> None:
    params = tiny_params() | {"publish": {"experiment": "photographs", "model_name": "inpaint", "strict": False}}
    params["train"]["pconv"] |= {"steps": steps, "validate_every": 200, "checkpoint_every_s": 60}
    make_training_project(folder, params)


def start_training(folder: Path, uri: str, monkeypatch: pytest.MonkeyPatch) -> Program:
    given = {"DVC_ROOT": str(folder), "MLFLOW_TRACKING_URI": uri, "PYTHONPATH": str(ROOT)}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    return Program([sys.executable, "-m", "stages.train", "pconv"], cwd=folder)


def test_a_server_that_dies_costs_a_training_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project(tmp_path, steps=200)
    server = Server(tmp_path)
    with server:
        training = start_training(tmp_path, server.uri, monkeypatch)
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
        assert [step for step, _, _ in Seen().curve(run, "train/loss")] == [*range(25, 201, 25), 202]


@pytest.fixture(
    params=["it hangs", "it answers 500", "it answers nonsense"][: 3 if "INPAINT_LONG" in os.environ else 1]
)
def sick_server(request: pytest.FixtureRequest) -> Iterator[tuple[str, list[float]]]:
    """A server that takes every connection and is no use: its address, and when it was asked."""
    answers = {
        "it answers 500": b"HTTP/1.1 500 Broken\r\nContent-Length: 0\r\n\r\n",
        "it answers nonsense": b"?\r\n\r\n",
    }
    asked: list[float] = []
    ended = threading.Event()

    class Answer(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            asked.append(time.monotonic())
            self.request.recv(1000)
            if request.param in answers:
                self.request.sendall(answers[request.param])
            else:
                ended.wait(120)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Answer) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
        ended.set()
        server.shutdown()


def test_a_server_that_is_no_use_is_not_waited_for(
    sick_server: tuple[str, list[float]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri, asked = sick_server
    project(tmp_path, steps=200)
    training = start_training(tmp_path, uri, monkeypatch)
    wait_for(lambda: any(tmp_path.glob(".resume/*/record/history.csv")), 120)
    training.send_signal(signal.SIGSTOP)
    wait_for(lambda: bool(asked), 120)
    training.send_signal(signal.SIGCONT)
    assert training.wait(timeout=240) == 0
    record = json.loads((tmp_path / "data/training/pconv/record.json").read_text())
    assert record["status"] == "finished"
    assert last_of(tmp_path / "data/training/pconv/history.csv") == 202
    wait_for(lambda: not living(tmp_path), 30)


@pytest.mark.skipif("INPAINT_LONG" not in os.environ, reason="the server is away for ten minutes: set INPAINT_LONG=1")
def test_after_ten_minutes_without_its_server_a_run_goes_on_and_is_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project(tmp_path, steps=4000)
    with Postgres() as database:
        server = Server(tmp_path, database.uri)
        with server:
            training = start_training(tmp_path, server.uri, monkeypatch)
            wait_for(lambda: any(tmp_path.glob(".resume/*/record/history.csv")), 300)
            training.send_signal(signal.SIGSTOP)
            wait_for(lambda: any(run.info.status == "RUNNING" for run in Seen().runs()), 300)
            before = last_shown()
        go_on(training, tmp_path, 2000, AWAY_S)
        away = last_written(tmp_path)
        assert away > before + 500, "the training stood still while the server was away"
        with server:
            go_on(training, tmp_path, 2500, 120)
            assert training.poll() is None
            assert last_shown() > away  # live again, and what was missed is there
            assert training.wait(timeout=900) == 0
            run_id = runs.bring_up_to_date(tmp_path / "data/training/pconv", "photographs")
            run = Seen().run()
            assert (run.info.run_id, run.info.status) == (run_id, "FINISHED")
            assert [step for step, _, _ in Seen().curve(run, "train/loss")] == [*range(25, 4001, 25), 4002]
            validated = sorted(int(path.stem.split("_")[1]) for path in tmp_path.glob("data/training/*/pictures/*"))
            assert [step for step, _, _ in Seen().curve(run, "val/hole_psnr")] == validated
            assert len(validated) >= 20
            assert len(Seen().artifacts(run, "images")) == 2 * len(validated)


def go_on(training: Program, folder: Path, step: int, seconds: float) -> None:
    """Let a training go on to about a step, evenly over so many seconds, however fast the machine is."""
    begin, first = time.monotonic(), last_written(folder)
    while (spent := time.monotonic() - begin) < seconds:
        is_ahead = last_written(folder) > first + (step - first) * spent / seconds
        training.send_signal(signal.SIGSTOP if is_ahead else signal.SIGCONT)
        time.sleep(0.2)
    training.send_signal(signal.SIGCONT)


def last_written(folder: Path) -> int:
    (path,) = folder.glob(".resume/*/record/history.csv")
    return last_of(path)


def last_of(path: Path) -> int:
    return max([int(line.split(",", 1)[0]) for line in path.read_text().splitlines()[1:]], default=0)


def last_shown() -> int:
    return max([step for step, _, _ in Seen().curve(Seen().run(), "train/loss")], default=0)

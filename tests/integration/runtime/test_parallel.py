"""The order of the results is that of the items, whatever does the work; a worker that dies is replaced."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from dask.distributed import Client, LocalCluster

from stages.runtime import machine, parallel
from stages.runtime.errors import InputError
from stages.runtime.parallel import LocalBudget, map_ordered


def square(number: int) -> int:
    return number * number


@pytest.mark.parametrize("workers", ["1", "2"])
def test_results_come_in_order(monkeypatch: pytest.MonkeyPatch, workers: str) -> None:
    monkeypatch.setenv("INPAINT_WORKERS", workers)
    assert list(map_ordered(square, range(50), "squares")) == [n * n for n in range(50)]
    assert list(map_ordered(square, [], "squares")) == []


def whose(_number: int) -> int:
    time.sleep(0.02)
    return os.getpid()


def test_little_work_is_done_at_home_and_the_rest_by_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INPAINT_WORKERS", "2")
    assert set(map_ordered(whose, range(5), "numbers", local=LocalBudget(60))) == {os.getpid()}
    local = LocalBudget(0.1)
    by = [worker for _ in range(5) for worker in map_ordered(whose, range(4), "numbers", local=local)]
    own = by.count(os.getpid())
    assert 4 < own < 20  # more than one call has items
    assert set(by[:own]) == {os.getpid()}
    assert list(map_ordered(square, range(50), "squares", local=LocalBudget(1e-4))) == [n * n for n in range(50)]


def cores_of(_number: int) -> int:
    return machine.cores()


def test_work_at_home_has_one_core_as_that_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "cores", lambda: 1 if machine._worker else 2)
    assert list(map_ordered(cores_of, range(2), "cores", local=LocalBudget(60))) == [1] * 2
    assert list(map_ordered(cores_of, range(2), "cores", local=LocalBudget(60, all_cores=True))) == [2] * 2
    monkeypatch.setenv("INPAINT_WORKERS", "1")
    assert list(map_ordered(cores_of, range(2), "cores")) == [1] * 2
    assert cores_of(0) == 2


held: list[bytes] = []


def grow(number: int) -> int:
    if number > 1 and not held:  # loky measures a worker first once it has worked for a second
        held.append(b"1" * 400_000_000)
    time.sleep(1.1)
    return os.getpid()


@pytest.mark.filterwarnings("default:A worker stopped")  # as an error it would end the thread that hands out work
def test_a_worker_may_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INPAINT_WORKERS", "2")
    assert len(set(map_ordered(grow, range(8), "numbers"))) == 2


def die_once(item: tuple[Path, int]) -> int:
    marker, number = item
    if number == 7 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def die(number: int) -> int:
    if number == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.01)
    return number


def test_a_worker_that_dies_is_replaced(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("INPAINT_WORKERS", "2")
    items = [(tmp_path / "died", number) for number in range(30)]
    assert list(map_ordered(die_once, items, "numbers")) == list(range(30))
    assert (tmp_path / "died").exists()


def test_an_item_that_kills_whoever_takes_it_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INPAINT_WORKERS", "2")
    with pytest.raises(InputError, match="numbers: 3 times in a row"):
        list(map_ordered(die, range(30), "numbers"))


@pytest.mark.parametrize("local_s", [0.0, 60.0])
def test_an_unknown_backend_or_a_scheduler_that_is_away_is_said(
    monkeypatch: pytest.MonkeyPatch, local_s: float
) -> None:
    """Also when this process would do all the work itself."""
    monkeypatch.setenv("INPAINT_BACKEND", "spark")
    with pytest.raises(InputError, match="INPAINT_BACKEND .*'spark'"):
        list(map_ordered(square, range(3), "squares", local=LocalBudget(local_s)))
    monkeypatch.setenv("INPAINT_BACKEND", "dask")
    monkeypatch.setenv("INPAINT_SCHEDULER", "tcp://127.0.0.1:1")
    monkeypatch.setattr(parallel, "_TIMEOUT_S", 1)
    with pytest.raises(InputError, match="INPAINT_SCHEDULER tcp://127.0.0.1:1"):
        list(map_ordered(square, range(3), "squares", local=LocalBudget(local_s)))


@contextmanager
def cluster_of(workers: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalCluster]:
    with LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None) as cluster:
        monkeypatch.setenv("INPAINT_BACKEND", "dask")
        monkeypatch.setenv("INPAINT_SCHEDULER", cluster.scheduler_address)
        yield cluster
        with suppress(ValueError):
            Client.current().close()


@pytest.fixture
def on_dask(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A scheduler with two workers that are processes of their own."""
    with cluster_of(2, monkeypatch):
        yield


def who_works(_: int) -> int:
    time.sleep(0.05)
    return os.getpid()


def test_workers_of_dask_may_come_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "_FEWEST_AHEAD", 1)
    monkeypatch.setattr(parallel, "_AHEAD", 1)
    monkeypatch.setattr(parallel, "_LOOK_AGAIN_S", 0.1)
    said = list[str]()
    with cluster_of(0, monkeypatch) as cluster:
        monkeypatch.setattr(parallel, "log", lambda text: (said.append(text), cluster.scale(1)))
        found = map_ordered(who_works, range(1000), "numbers")
        first, seen = next(found), set[int]()
        cluster.scale(4)
        while len(seen) < 4:  # two are as many as could work ahead of the first
            seen.add(next(found))
    assert first in seen
    assert len(said) == 1
    assert "no worker has joined" in said[0]


@pytest.mark.usefixtures("on_dask")
def test_workers_with_other_code_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(map_ordered(square, range(30), "squares")) == [n * n for n in range(30)]
    monkeypatch.setattr(parallel, "_code", lambda: "of tomorrow")
    with pytest.raises(InputError, match=r"a Dask worker on \S+ has other code"):
        list(map_ordered(square, range(30), "squares"))


@pytest.mark.usefixtures("on_dask")
def test_an_item_that_kills_workers_of_dask_is_given_up() -> None:
    with pytest.raises(InputError, match="numbers: 3 times in a row"):
        list(map_ordered(die, range(30), "numbers", "number"))

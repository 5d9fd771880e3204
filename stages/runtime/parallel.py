"""Parallel map over processes or a cluster, with results in the order of the items.

    INPAINT_WORKERS     number of processes; default: the available cores
    INPAINT_BACKEND     loky (processes on this machine, the default) | dask (needs the extra `cluster`)
    INPAINT_SCHEDULER   address of a Dask scheduler, e.g. tcp://10.0.0.1:8786; default: a cluster on this machine

If a worker process dies, for instance for lack of memory, other workers take over its items.
"""

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import joblib
from joblib.externals.loky.process_executor import TerminatedWorkerError
from tqdm import tqdm

from stages.runtime import machine
from stages.runtime.errors import InputError

BACKENDS = ("loky", "dask")

_POLL_S = 1.0
_TIMEOUT_S = 10  # for the scheduler to answer
_MOST_DEATHS = 3  # in a row without a result: then an item is to blame

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass
class LocalBudget:
    """Seconds of work that a process does itself before it starts workers, which takes seconds; shared by many calls.

    Attributes:
        left_s: seconds left; counts down.
    """

    left_s: float


def map_ordered(
    work: Callable[[Item], Result],
    items: Sequence[Item],
    label: str,
    unit: str = "item",
    local: LocalBudget | None = None,
) -> Iterable[Result]:
    """Yield `work(item)` for every item, in order, computed by `machine.workers()` processes or a cluster.

    Args:
        work: a function at the top level of a module, since it is sent to other processes. It should report a problem
            with an item in its result: an exception ends the whole call.
        items: what to work on.
        label: of the progress bar.
        unit: what one item is, for the progress bar.
        local: work that this process does itself before it starts workers; for items that cannot crash a process.

    Raises:
        InputError: the backend is unknown or cannot be reached, or items keep killing their workers.
    """
    bar: Any = tqdm(total=len(items), desc=label, unit=unit, leave=False, mininterval=0.5)
    done = 0
    with bar:
        while done < len(items) and local is not None and local.left_s > 0:
            start = time.monotonic()
            result = work(items[done])
            local.left_s -= time.monotonic() - start
            yield result
            done += 1
            bar.update()
        if done < len(items):
            for result in _by_workers(work, items[done:], label, unit):
                yield result
                bar.update()


def _by_workers(work: Callable[[Item], Result], items: Sequence[Item], label: str, unit: str) -> Iterable[Result]:
    done = deaths = 0
    with _backend(len(items)):
        while done < len(items):
            try:
                for result in _results(work, items[done:]):
                    done, deaths = done + 1, 0
                    yield result
            except TerminatedWorkerError as error:
                deaths += 1
                if deaths == _MOST_DEATHS:
                    raise InputError(
                        f"{label}: {deaths} times in a row a worker died before {unit} {done + 1} of {len(items)} was "
                        f"done, perhaps for lack of memory; lower INPAINT_WORKERS. {str(error).splitlines()[0]}"
                    ) from None


def _results(work: Callable[[Item], Result], items: Sequence[Item]) -> Iterable[Result]:
    parallel = joblib.Parallel(return_as="generator", batch_size="auto")
    results: Iterable[Result] = parallel(joblib.delayed(work)(item) for item in items)
    return results


@contextmanager
def _backend(num_items: int) -> Iterator[None]:
    said = os.environ.get("INPAINT_BACKEND", "loky")
    if said not in BACKENDS:
        raise InputError(f"INPAINT_BACKEND should be one of {', '.join(BACKENDS)}, but is {said!r}")
    if said == "dask":
        with _dask():
            yield
    else:
        jobs = min(machine.workers(), max(num_items, 1))
        ending = {"initializer": _end_with, "initargs": (os.getpid(),)}
        with joblib.parallel_config(backend="loky", n_jobs=jobs, inner_max_num_threads=1, **ending):
            yield


def _end_with(stage: int) -> None:
    """Exit this worker when the stage that started it is killed; otherwise it would wait five minutes for more work.

    A thread polls for that: the kernel's signal would come when the thread that started the worker ends, maybe earlier.
    """

    def watch() -> None:
        while os.getppid() == stage:
            time.sleep(_POLL_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def _dask() -> Iterator[None]:
    try:
        from dask.distributed import Client
    except ImportError:
        raise InputError("INPAINT_BACKEND is dask, which is not installed; run make cluster or unset it") from None
    client: Any = Client
    try:
        client.current()  # of an earlier call: starting workers takes seconds
    except ValueError:
        _connect(client)
    with joblib.parallel_config(backend="dask", n_jobs=-1):
        yield


def _connect(client: Any) -> None:
    address = os.environ.get("INPAINT_SCHEDULER")
    place: dict[str, Any] = {"n_workers": machine.workers(), "threads_per_worker": 1, "dashboard_address": None}
    try:
        client(address, timeout=_TIMEOUT_S) if address else client(**place)
    except (OSError, TimeoutError, ValueError) as error:
        raise InputError(f"no Dask scheduler answers at INPAINT_SCHEDULER {address} ({error})") from None

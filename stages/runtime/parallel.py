"""Map-like work over the cores, or over a cluster: results in the order of the items, whatever does the work.

    INPAINT_WORKERS     processes; default: the cores this process may use
    INPAINT_BACKEND     loky (processes of this machine, the default) | dask (needs the extra `cluster`)
    INPAINT_SCHEDULER   address of a Dask scheduler, e.g. tcp://10.0.0.1:8786; default: a cluster on this machine

Where a worker process dies, by lack of memory or by hand, the items that it had are given to others.
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

_LOOK_S = 1.0
_PATIENCE_S = 10  # for a scheduler to answer
_MOST_DEATHS = 3  # in a row, without a result between: then it is the items that kill

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass
class AtHome:
    """Work that a process does itself before it starts others, which takes seconds, over any number of calls.

    Attributes:
        left_s: how many seconds of it are left; counts down.
    """

    left_s: float


def map_ordered(
    work: Callable[[Item], Result],
    items: Sequence[Item],
    label: str,
    unit: str = "item",
    at_home: AtHome | None = None,
) -> Iterable[Result]:
    """Yield `work(item)` for every item, in order, computed by `machine.workers()` processes or a cluster.

    Args:
        work: a function of a module's top level (it travels to other processes). What is wrong with one item belongs
            into its result: an exception ends the whole call.
        items: what to work on.
        label: stands before the progress bar.
        unit: what one item is, for the bar.
        at_home: what this process does itself at first, if anything; for items that cannot bring a process down.

    Raises:
        InputError: the backend is unknown or cannot be reached, or items keep killing their workers.
    """
    bar: Any = tqdm(total=len(items), desc=label, unit=unit, leave=False, mininterval=0.5)
    done = 0
    with bar:
        while done < len(items) and at_home is not None and at_home.left_s > 0:
            start = time.monotonic()
            result = work(items[done])
            at_home.left_s -= time.monotonic() - start
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
                        f"done, perhaps for want of memory; lower INPAINT_WORKERS. {str(error).splitlines()[0]}"
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
    """End this worker when the stage that started it is killed: by itself it would wait five minutes for more.

    By a thread that looks: the kernel's own signal comes when that thread ends which started a worker, perhaps before.
    """

    def watch() -> None:
        while os.getppid() == stage:
            time.sleep(_LOOK_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def _dask() -> Iterator[None]:
    try:
        from dask.distributed import Client
    except ImportError:
        raise InputError("INPAINT_BACKEND is dask, which is not installed; run make cluster, or unset it") from None
    client: Any = Client
    try:
        client.current()  # from an earlier call: starting workers takes seconds
    except ValueError:
        _connect(client)
    with joblib.parallel_config(backend="dask", n_jobs=-1):
        yield


def _connect(client: Any) -> None:
    address = os.environ.get("INPAINT_SCHEDULER")
    place: dict[str, Any] = {"n_workers": machine.workers(), "threads_per_worker": 1, "dashboard_address": None}
    try:
        client(address, timeout=_PATIENCE_S) if address else client(**place)
    except (OSError, TimeoutError, ValueError) as error:
        raise InputError(f"INPAINT_SCHEDULER is {address}, where no Dask scheduler answers ({error})") from None

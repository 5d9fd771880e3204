"""Parallel map over processes or a cluster, with results in the order of the items.

    INPAINT_WORKERS     number of processes; default: the available cores
    INPAINT_BACKEND     loky (processes on this machine, the default) | dask (needs the extra `cluster`)
    INPAINT_SCHEDULER   address of a Dask scheduler, e.g. tcp://10.0.0.1:8786; default: a cluster on this machine

If a worker process dies, for instance for lack of memory, other workers take over its items.
"""

import hashlib
import math
import os
import platform
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar, overload

import joblib
from joblib.externals.loky import process_executor
from joblib.externals.loky.process_executor import TerminatedWorkerError
from tqdm import tqdm

from stages.runtime import machine
from stages.runtime.errors import InputError
from stages.runtime.log import log

BACKENDS = ("loky", "dask")

_POLL_S = 1.0
_TIMEOUT_S = 10  # for the scheduler to answer
_MOST_DEATHS = 3  # in a row without a result: then an item is to blame
_DASK_GAVE_UP = "KilledWorker"  # an item's workers died, as often in a row; by name, since Dask may not be installed
_AHEAD = 4  # items a worker
_FEWEST_AHEAD = 32  # items, by which an adaptive cluster sees that more workers would help
_LOOK_AGAIN_S = 2.0  # at how many workers there are

Item = TypeVar("Item")
Result = TypeVar("Result")


class Lazy(Sequence[Item]):
    """Items that are made when they are asked for, since millions of them would not fit into memory.

    Args:
        make: returns the item at a position.
        positions: of all items.
    """

    def __init__(self, make: Callable[[int], Item], positions: Sequence[int]) -> None:
        self._make, self._positions = make, positions

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self._positions)

    @overload
    def __getitem__(self, at: int) -> Item: ...
    @overload
    def __getitem__(self, at: slice) -> "Lazy[Item]": ...
    def __getitem__(self, at: int | slice) -> "Item | Lazy[Item]":
        """Make an item, or return some of them as lazily."""
        if isinstance(at, slice):
            return Lazy(self._make, self._positions[at])
        return self._make(self._positions[at])


@dataclass
class LocalBudget:
    """Seconds of work that a process does itself before it starts workers, which takes seconds; shared by many calls.

    Attributes:
        left_s: seconds left; counts down. Infinite: this process does everything.
        all_cores: whether it computes with all its cores, instead of with one as workers do, whose results and times
            are the same then.
    """

    left_s: float
    all_cores: bool = False


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
    if _backend() == "dask" and os.environ.get("INPAINT_SCHEDULER"):
        _dask_client()  # at once, so that a wrong address does not go unnoticed while little work is done here
    bar: Any = tqdm(total=len(items), desc=label, unit=unit, leave=False, mininterval=0.5)
    done = 0
    with bar:
        while done < len(items) and local is not None and local.left_s > 0:
            start = time.monotonic()
            result = work(items[done]) if local.all_cores else _as_worker(work, items[done])
            local.left_s -= time.monotonic() - start
            yield result
            done += 1
            bar.update()
        if done < len(items):
            for result in _by_workers(work, items[done:], label, unit):
                yield result
                bar.update()


def _by_workers(work: Callable[[Item], Result], items: Sequence[Item], label: str, unit: str) -> Iterable[Result]:
    on_dask, done, deaths = _backend() == "dask", 0, 0
    while done < len(items):
        try:
            for result in (_by_dask if on_dask else _by_loky)(work, items[done:]):
                done, deaths = done + 1, 0
                yield result
        except Exception as error:
            if not isinstance(error, TerminatedWorkerError) and type(error).__name__ != _DASK_GAVE_UP:
                raise
            deaths = _MOST_DEATHS if on_dask else deaths + 1
            if deaths == _MOST_DEATHS:
                raise InputError(
                    f"{label}: {deaths} times in a row a worker died before {unit} {done + 1} of {len(items)} was "
                    f"done, perhaps for lack of memory; lower INPAINT_WORKERS. {str(error).splitlines()[0]}"
                ) from None


def _by_loky(work: Callable[[Item], Result], items: Sequence[Item]) -> Iterable[Result]:
    jobs = min(machine.workers(), max(len(items), 1))
    if jobs == 1:
        yield from (_as_worker(work, item) for item in items)
        return
    ending = {"initializer": _start_worker, "initargs": (os.getpid(),)}
    with joblib.parallel_config(backend="loky", n_jobs=jobs, inner_max_num_threads=1, **ending):
        parallel = joblib.Parallel(return_as="generator", batch_size="auto")
        yield from parallel(joblib.delayed(work)(item) for item in items)


def _as_worker(work: Callable[[Item], Result], item: Item) -> Result:
    with machine.as_worker():
        return work(item)


def _by_dask(work: Callable[[Item], Result], items: Sequence[Item]) -> Iterable[Result]:
    """Submit items a little ahead of what is asked for, so that results do not pile up. Workers may come and go."""
    client, waiting, looked = _dask_client(), deque[Any](), -math.inf
    checked = partial(_with_code, _code(), work)
    if not client.nthreads():
        log(f"no worker has joined the Dask scheduler at {client.scheduler.address} yet; waiting for one")
    for item in items:
        waiting.append(client.submit(checked, item, pure=False))
        if time.monotonic() - looked > _LOOK_AGAIN_S:
            ahead = max(_FEWEST_AHEAD, _AHEAD * sum(client.nthreads().values()))
            looked = time.monotonic()
        while len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _with_code(code: str, work: Callable[[Item], Result], item: Item) -> Result:
    """Do the work if this process has the code of the one that asks: else results would bear the wrong fingerprint."""
    if _code() != code:
        raise InputError(
            f"a Dask worker on {platform.node()} has other code of the project, from {Path(__file__).parents[2]}; "
            "update that folder, or start the worker with the .venv of the project's folder"
        )
    machine.become_worker()
    return work(item)


@cache  # what this process has loaded, even if the files change while it lives
def _code() -> str:
    """Hash the project's source code."""
    source = hashlib.sha256()
    for path in sorted(Path(__file__).parents[1].rglob("*.py")):
        source.update(path.read_bytes())
    return source.hexdigest()


def _backend() -> str:
    name = os.environ.get("INPAINT_BACKEND", "loky")
    if name not in BACKENDS:
        raise InputError(f"INPAINT_BACKEND should be one of {', '.join(BACKENDS)}, but is {name!r}")
    return name


def _start_worker(stage: int) -> None:
    """Make this process a worker that exits when its stage is killed; it would wait five minutes for more work.

    A thread polls for that: the kernel's signal would come when the thread that started the worker ends, maybe earlier.
    """
    # Loky replaces a worker that has grown by 300 MB, as every one does that keeps the memory of its models.
    process_executor._MAX_MEMORY_LEAK_SIZE = sys.maxsize
    machine.become_worker()

    def watch() -> None:
        while os.getppid() == stage:
            time.sleep(_POLL_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _dask_client() -> Any:
    """Return the client of an earlier call, since starting workers takes seconds; else connect."""
    try:
        from dask.distributed import Client
    except ImportError:
        raise InputError("INPAINT_BACKEND is dask, which is not installed; run make cluster or unset it") from None
    client: Any = Client
    try:
        return client.current()
    except ValueError:
        pass
    address = os.environ.get("INPAINT_SCHEDULER")
    place: dict[str, Any] = {"n_workers": machine.workers(), "threads_per_worker": 1, "dashboard_address": None}
    try:
        return client(address, timeout=_TIMEOUT_S) if address else client(**place)
    except (OSError, TimeoutError, ValueError) as error:
        raise InputError(f"no Dask scheduler answers at INPAINT_SCHEDULER {address} ({error})") from None

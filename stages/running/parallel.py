"""Map-like work over the cores: results in the order of the items, whatever the number of workers."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import joblib
from tqdm import tqdm

from stages.running import machine

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_ordered(
    work: Callable[[Item], Result], items: Sequence[Item], label: str, unit: str = "item"
) -> Iterable[Result]:
    """Yield `work(item)` for every item, in order, computed by `machine.workers()` processes.

    Args:
        work: a function of a module's top level (it travels to other processes). What is wrong with one item belongs
            into its result: an exception ends the whole call.
        items: what to work on.
        label: stands before the progress bar.
        unit: what one item is, for the bar.
    """
    bar: Any = tqdm(total=len(items), desc=label, unit=unit, leave=False, mininterval=0.5)
    jobs = min(machine.workers(), max(len(items), 1))
    with bar, joblib.parallel_config(backend="loky", n_jobs=jobs, inner_max_num_threads=1):
        for result in joblib.Parallel(return_as="generator", batch_size="auto")(joblib.delayed(work)(i) for i in items):
            bar.update()
            yield result

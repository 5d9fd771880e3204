"""How the processes that train one model together come to be: started and started again by torchrun or by the stage.

    torchrun --standalone --nproc-per-node=2 -m stages.pconv.train pconv      # by hand
    INPAINT_PROCESSES=2 dvc repro                                             # the stage starts its processes itself

What they do together is in `together.py`.
"""

import os
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist

from stages.fitting.together import LostError, losses
from stages.running import machine
from stages.running.errors import InpaintError, InputError

MOST_RESTARTS = 3  # after a process was lost
_LOOK_S = 0.02


@contextmanager
def joined() -> Iterator[None]:
    """Be one of the processes that torchrun's environment speaks of: by gloo between CPUs, by NCCL between GPUs."""
    if machine.world() == 1 or dist.is_initialized():
        yield
        return
    device = machine.device()
    if device not in ("cpu", "cuda"):
        raise InputError(
            f"INPAINT_DEVICE is {device!r}, but several processes train on `cpu`, or each on its own `cuda`"
        )
    if device == "cuda":
        torch.cuda.set_device(machine.local_rank())
    with losses():
        store, rank, world = next(dist.rendezvous("env://"))  # type: ignore[attr-defined]
        store = dist.PrefixStore(_attempt(store, rank, world), store)  # type: ignore[attr-defined]
        backend = "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=world)
    try:
        yield
    finally:
        dist.destroy_process_group()


def _attempt(store: Any, rank: int, world: int) -> str:
    """Agree on a name that only the processes of this attempt know.

    When torchrun starts them again, its store still holds the addresses of those before, which torch takes for those
    of the new ones if these are slower (pytorch issue 135712); nor do machines count restarts alike. So the first
    process names itself to each of the others by that one's own new name, until it hears that it was understood.
    """
    me = uuid.uuid4().hex
    if rank > 0:
        store.set(f"here/{rank}", me)
        first: str = store.get(f"first for {me}").decode()
        store.set(f"{me} follows {first}", "")
        return first
    patience = time.monotonic() + store.timeout.total_seconds()  # as long as torch itself waits for the others
    for other in range(1, world):
        while not store.check([f"{(name := store.get(f'here/{other}').decode())} follows {me}"]):
            if time.monotonic() > patience:
                raise LostError(f"process {other} of {world} of this training did not start")
            store.set(f"first for {name}", me)
            time.sleep(_LOOK_S)
    return me


def start(module: str, key: str) -> None:
    """Run `python -m MODULE KEY` in INPAINT_PROCESSES processes to its end; if one is lost, all of them again.

    Raises:
        InpaintError: processes were lost again and again.
        SystemExit: they stopped for a reason which they have said, or this process was told to stop.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    count = machine.processes()
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, machine.cores() // count)))
    what = ""
    for _ in range(1 + MOST_RESTARTS):
        try:
            with tempfile.TemporaryDirectory() as logs:
                config = LaunchConfig(  # as `torchrun --standalone`, which would try again after any failure
                    min_nodes=1, max_nodes=1, nproc_per_node=count, max_restarts=0, run_id=uuid.uuid4().hex,
                    rdzv_backend="c10d", rdzv_endpoint="localhost:0", logs_specs=DefaultLogsSpecs(logs),
                )  # fmt: skip
                elastic_launch(config, sys.executable)("-m", module, key)
        except ChildFailedError as failed:
            number, failure = failed.get_first_failure()
            if failure.exitcode > LostError.exit_code:
                raise SystemExit(failure.exitcode) from None
            what = f"process {number} of {count} ended with {failure.exitcode}"
        except SignalException as told:
            raise SystemExit(128 + told.sigval) from None
        else:
            return
    raise InpaintError(f"{what}, after {MOST_RESTARTS} restarts; what it said stands above")


def is_to_be_started() -> bool:
    """Say whether this process should start those that train, rather than be one."""
    return machine.world() == 1 and machine.processes() > 1

"""Trainings by several processes, on one machine or more, by torch's elastic launcher.

    INPAINT_PROCESSES            processes on this machine, or `gpu`: one a GPU      default: 1
    INPAINT_NODES                machines that train together                        default: 1
    INPAINT_RENDEZVOUS           HOST:PORT, where the machine that runs DVC can be reached; the port is 29400 by default
    INPAINT_RENDEZVOUS_TIMEOUT   seconds to wait for all machines                    default: 60

What Slurm's srun and Kubernetes' training operator set takes the place of what is not set. Processes of `torchrun`
train as they are. A process that dies is started again with all others, from the last checkpoint.
"""

import logging
import os
import platform
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import psutil

from stages.runtime import guard, machine, project
from stages.runtime.errors import InpaintError, InputError
from stages.runtime.log import log

if TYPE_CHECKING:  # the process that starts the others does without its import, which takes seconds
    from stages.training.fabric import Fabric

RESTARTS = 3
_PORT = "29400"
_POLL_S = 1.0
_SILENCE_S = 60.0

os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")  # torch reads it when it is loaded; our sentences say the rest

Work = Callable[[str], None]


class AgreedError(InpaintError):
    """An error of all processes, which would be the same if they were started again."""


def launch(key: str, work: Work, batch_size: int | None = None) -> None:
    """Train in this process, or in as many as the environment asks for.

    Args:
        key: of the model.
        batch_size: its tiles in a batch, if that is known already.
        work: trains it; a function at the top level of a module, since it is sent to other processes.

    Raises:
        InputError: the environment makes no sense, other machines do not come, or processes die again and again.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ or (together := nodes() * processes()) == 1:
        work(key)
        return
    if batch_size is not None:  # before torch is loaded in all of them
        check_batch(key, batch_size, together)
    if said := _run_agent(key, work):
        raise InputError(said)


def check_batch(key: str, batch_size: int, processes: int) -> None:
    """Check that processes and their micro-batches can share a batch evenly.

    Raises:
        InputError: they cannot.
    """
    micro_batches = machine.micro_batches()
    if batch_size % (micro_batches * processes) == 0:
        return
    parts = f"{processes} processes" if processes > 1 else ""
    if micro_batches > 1:
        parts = f"{parts} of {micro_batches} micro-batches (INPAINT_ACCUMULATE)".removeprefix(" of ")
    raise InputError(
        f"`train.{key}.batch_size` is {batch_size}, which {parts} cannot share evenly; choose a number that divides it"
    )


def wait(work: Work) -> None:
    """Take part in every training that the machine of the rendezvous starts, until interrupted."""
    if nodes() == 1:
        raise InputError(
            "INPAINT_NODES should be the number of machines that train together, but is 1 or missing; it and "
            "INPAINT_RENDEZVOUS have to be set on all"
        )
    host, port = _rendezvous()
    try:
        _check_name(host)
    except InputError as error:  # it may become known once the other machine is there
        log(str(error))
    log(f"waiting for trainings at {host}:{port}; Control-C ends it")
    silent_since: float | None = time.monotonic()  # None: it has been told
    while True:
        time.sleep(_POLL_S)
        try:
            socket.create_connection((host, port), timeout=_POLL_S).close()
        except OSError as error:  # nobody is there yet
            if silent_since is not None and time.monotonic() - silent_since > _SILENCE_S:
                log(f"nobody trains at {host}:{port} ({error}); waiting")
                silent_since = None
            continue
        log(f"taking part in a training at {host}:{port}")
        try:
            said = _run_agent("", work)
            log(f"that training has ended{f': {said}' if said else ''}; waiting for others")
        except InpaintError as error:
            log(str(error))
        silent_since = time.monotonic()


def processes() -> int:
    """Return the number of training processes on this machine."""
    import torch
    from torch.distributed.run import determine_local_world_size

    said = _first("INPAINT_PROCESSES", "PET_NPROC_PER_NODE") or "1"
    if said == "gpu" and not torch.cuda.is_available():
        raise InputError("INPAINT_PROCESSES is gpu, but torch finds no CUDA device; give a number")
    try:
        number = int(determine_local_world_size(said))
    except ValueError:
        number = 0
    if number < 1:
        raise InputError(f"INPAINT_PROCESSES should be an integer from 1, or gpu, but is {said!r}")
    if machine.device() == "cuda" and number > torch.cuda.device_count():
        raise InputError(f"INPAINT_PROCESSES is {number}, but there are {torch.cuda.device_count()} CUDA devices")
    if number > 1 and machine.device() not in ("cpu", "cuda"):
        raise InputError(f"INPAINT_DEVICE is {machine.device()}, but several processes need cpu or cuda")
    return number


def nodes() -> int:
    """Return the number of machines that train together; outside `torchrun`, WORLD_SIZE is Kubernetes' and means it."""
    said = _first("INPAINT_NODES", "PET_NNODES", "SLURM_STEP_NUM_NODES", "WORLD_SIZE") or "1"
    if not said.isdecimal() or int(said) < 1:
        raise InputError(f"INPAINT_NODES should be an integer from 1, but is {said!r}")
    return int(said)


def _rendezvous() -> tuple[str, int]:
    said = _first("INPAINT_RENDEZVOUS", "PET_RDZV_ENDPOINT")
    if not said and (host := _first("PET_MASTER_ADDR", "MASTER_ADDR")):
        said = f"{host}:{_first('PET_MASTER_PORT', 'MASTER_PORT') or _PORT}"
    if not said and (hosts := _first("SLURM_STEP_NODELIST")):
        from stages.training.fabric import SLURMEnvironment

        said = SLURMEnvironment.resolve_root_node_address(hosts)
    host, _, port = said.rpartition(":") if ":" in said else (said, "", "")
    host = host.strip("[]")  # of an IPv6 address
    if not host or not (port or _PORT).isdecimal() or not 0 < int(port or _PORT) < 2**16:
        raise InputError(f"INPAINT_RENDEZVOUS should be HOST:PORT of the machine that runs DVC, but is {said!r}")
    return host, int(port or _PORT)


def _first(*names: str) -> str:
    """Return the first of some environment variables that is set, "" if none is."""
    return next((os.environ[name] for name in names if os.environ.get(name)), "")


def _run_agent(key: str, work: Work) -> str:
    """Start torch's elastic agent, and wait for its processes.

    Args:
        key: "" to take part in the training of another machine.
        work: as for `launch`.

    Returns:
        an error that all processes agree on, "" if there is none.
    """
    from torch.distributed.elastic import rendezvous
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    _quieten_torch()
    together, seconds = nodes(), machine.from_environment("INPAINT_RENDEZVOUS_TIMEOUT", 1, 60)
    host, port = _rendezvous() if together > 1 else ("127.0.0.1", 0)
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if key:
        _check_name(host)
    ends = signal.getsignal(signal.SIGTERM)
    # A machine that was started again does not know the store that processes of the first round have shared.
    os.environ["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
    if together > 1 and (interface := _interface_to(host, port)):
        os.environ.setdefault("GLOO_SOCKET_IFNAME", interface)  # else that of the host name, often 127.0.1.1
    with tempfile.TemporaryDirectory() as scratch:
        config = LaunchConfig(
            min_nodes=together,
            max_nodes=together,
            nproc_per_node=processes(),
            run_id="train",
            rdzv_backend="c10d",
            rdzv_endpoint=where,
            rdzv_configs={"is_host": bool(key), "timeout": seconds, "join_timeout": seconds, "read_timeout": seconds},
            max_restarts=RESTARTS,
            local_addr=host if key else "~",  # torch sorts machines by it: process 0 is on the one that has the key
            logs_specs=DefaultLogsSpecs(scratch, local_ranks_filter={0}),
            signals_to_handle="SIGTERM",
        )
        try:
            said: Mapping[int, str] = elastic_launch(config, _work)(work, key, os.getpid(), scratch)
        except rendezvous.RendezvousConnectionError:
            wanted = (
                "it should be this machine, and a free port" if key else "see whether the machine there still trains"
            )
            raise InputError(f"INPAINT_RENDEZVOUS is {where}, which cannot be opened; {wanted}") from None
        except rendezvous.RendezvousTimeoutError:
            raise InputError(
                f"INPAINT_NODES is {together}, but not all came to {where} within {seconds} s; run `python -m "
                "stages.train --wait` on the others, or raise INPAINT_RENDEZVOUS_TIMEOUT"
            ) from None
        except rendezvous.RendezvousClosedError:
            raise InputError("another machine ended its part of the training; see what it printed") from None
        except ChildFailedError as error:
            rank, failure = error.get_first_failure()
            raise InputError(
                f"process {rank} on {platform.node()} ended {RESTARTS + 1} times, at last with exit code "
                f"{failure.exitcode}: {failure.message}"
            ) from None
        except SignalException as error:
            raise SystemExit(128 + error.sigval) from None
        finally:
            signal.signal(signal.SIGTERM, ends)
    return next(iter(said.values()), "")


def _check_name(host: str) -> None:
    try:
        socket.getaddrinfo(host, None)
    except (OSError, UnicodeError) as error:  # the latter of a name with an empty or too long part
        raise InputError(
            f"INPAINT_RENDEZVOUS names {host}, which is unknown here ({error}); name the machine that runs DVC"
        ) from None


def _quieten_torch() -> None:
    """Leave it to our own sentences to say what happened; each of torch's loggers has a level of its own."""
    for name in [*logging.root.manager.loggerDict]:
        if name.startswith(("torch.distributed", "torch.multiprocessing")):
            logging.getLogger(name).setLevel(logging.CRITICAL)


def _interface_to(host: str, port: int) -> str:
    """Return the name of the network interface that reaches a host, "" if it is unknown."""
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((host, port))
        own = probe.getsockname()[0]
        return next((name for name, all_of in psutil.net_if_addrs().items() if own in [a.address for a in all_of]), "")
    return ""


def _work(work: Work, key: str, agent: int, scratch: str) -> str:
    """Work in a process of the agent; return an error that all agree on. After any other, all start again."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the agent gets it, too, and ends this process
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # at once: Python's handlers wait for torch's connections
    guard.end_with(agent)
    tempfile.tempdir = scratch
    if (restarts := os.environ["TORCHELASTIC_RESTART_COUNT"]) != "0" and os.environ["RANK"] == "0":
        log(f"a process died; all start again from the last checkpoint ({restarts} of {RESTARTS} times)")
    try:
        work(key)
    except AgreedError as error:
        return str(error)
    return ""


@contextmanager
def agreed(fabric: "Fabric") -> Iterator[None]:
    """Raise an error of one process in all of them, which would otherwise wait for it.

    Raises:
        AgreedError: a process had an error.
    """
    if fabric.world_size == 1:
        yield
        return
    said = ""
    try:
        yield
    except InpaintError as error:
        said = str(error)
    if found := next(filter(None, gather(fabric, said)), None):
        raise AgreedError(found)


def gather(fabric: "Fabric", own: Any) -> list[Any]:
    """Return what each process gives, by rank."""
    import torch

    found: list[Any] = [own] * fabric.world_size
    if fabric.world_size > 1:
        torch.distributed.all_gather_object(found, own)
    return found


def require_same(fabric: "Fabric", facts: Mapping[str, Any]) -> None:
    """Check that all processes train the same with the same code.

    Raises:
        AgreedError: they do not.
    """
    here = f"{platform.node()}:{project.root().resolve()}"
    for theirs, there in gather(fabric, (facts, here)):
        if theirs["fingerprint"] != facts["fingerprint"]:
            what = differing(theirs, facts)
            raise AgreedError(f"{there} has another {what} than {here}; give all machines the same folder")


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Name the params and inputs that differ between two trainings; if none do, their code does."""
    changed = [
        name
        for part in ("params", "inputs")
        for name in {**one[part], **other[part]}
        if one[part].get(name) != other[part].get(name)
    ]
    return ", ".join(changed) or "code"

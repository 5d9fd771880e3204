"""Settings of the machine: device, precision, number of worker processes.

They come from the environment and not from params.yaml, since another machine must not make DVC run a stage again:

    INPAINT_DEVICE      cpu | cuda | cuda:1 | mps   default: cuda if available, else cpu
    INPAINT_PRECISION   32-true | bf16-mixed        default: bf16-mixed if the hardware supports it
    INPAINT_WORKERS     processes for map-like work default: the available cores
    INPAINT_LOADERS     processes that load batches default: 0 on a CPU, else up to 4
    INPAINT_ACCUMULATE  micro-batches per training batch  default: 1

Those of trainings by several processes are in `stages/training/distributed.py`.
"""

import ctypes
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from stages.runtime.errors import InputError

PRECISIONS = ("32-true", "bf16-mixed")

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
_LARGEST_KEPT, _MOST_KEPT = 2**25, 2**30  # bytes; glibc accepts no larger threshold for a single block

_worker = False  # whether this process is one of several that share the cores


def workers() -> int:
    """Return the number of processes for map-like work, at least 1."""
    return from_environment("INPAINT_WORKERS", 1, cores())


def micro_batches() -> int:
    """Return the number of micro-batches per training batch, at least 1; more of them need less memory."""
    return from_environment("INPAINT_ACCUMULATE", 1, 1)


def from_environment(name: str, least: int, default: int) -> int:
    """Return an integer from the environment.

    Raises:
        InputError: it is no integer, or below the least.
    """
    said = os.environ.get(name)
    if said is None:
        return default
    if not said.isdecimal() or int(said) < least:
        raise InputError(f"{name} should be an integer from {least}, but is {said!r}")
    return int(said)


def cores() -> int:
    """Return the number of cores for this process: containers may have fewer, trainings and workers share them."""
    import joblib

    return 1 if _worker else max(1, int(joblib.cpu_count()) // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def become_worker() -> None:
    """Make `cores` return 1 in this process: workers share the cores."""
    global _worker  # noqa: PLW0603 - a fact of the process
    _worker = True


def keep_to_cores() -> None:
    """Limit torch's threads to the available cores: torch ignores a container's CPU quota."""
    import torch

    if torch.get_num_threads() > cores():
        torch.set_num_threads(cores())


@contextmanager
def as_worker() -> Iterator[None]:
    """Compute with one core, as workers do: with more, torch's sums of convolutions have other last bits.

    Work that is the first to import torch sees to that itself, by `keep_to_cores`.
    """
    global _worker  # noqa: PLW0603 - a fact of the process
    torch, before = sys.modules.get("torch"), _worker
    threads = torch.get_num_threads() if torch else 1
    _worker = True
    if torch:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        _worker = before
        if torch:
            torch.set_num_threads(threads)


def loader_workers() -> int:
    """Return the number of processes that load batches; 0: the training process does."""
    return from_environment("INPAINT_LOADERS", 0, min(4, cores() - 1) if device().startswith("cuda") else 0)


def device(asked: str | None = None) -> str:
    """Return the torch device to compute on.

    Args:
        asked: a device that overrides INPAINT_DEVICE and the default.

    Raises:
        InputError: this machine has no such device.
    """
    import torch

    said = asked or os.environ.get("INPAINT_DEVICE")
    name = "the device" if asked else "INPAINT_DEVICE"
    if said is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        kind = torch.device(said).type
    except RuntimeError:
        raise InputError(f"{name} should be cpu, cuda, cuda:1 or mps, but is {said!r}") from None
    if kind not in ("cpu", "cuda", "mps"):
        raise InputError(f"{name} should be cpu, cuda, cuda:1 or mps, but is {said!r}")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise InputError(f"{name} is 'mps', but torch finds no Apple GPU; use cpu")
    if kind == "cuda" and torch.cuda.is_available() and (torch.device(said).index or 0) >= torch.cuda.device_count():
        raise InputError(f"{name} is {said!r}, but there are {torch.cuda.device_count()} CUDA devices")
    if kind == "cuda" and not torch.cuda.is_available():
        raise InputError(f"{name} is {said!r}, but torch finds no CUDA device; use cpu")
    return said


def may_have_gpu() -> bool:
    """Return whether torch may find a GPU, without importing torch, which takes seconds."""
    if os.environ.get("INPAINT_DEVICE") or Path("/dev/kfd").exists():  # AMD's
        return os.environ.get("INPAINT_DEVICE") != "cpu"
    try:
        return int(ctypes.CDLL("libcuda.so.1").cuInit(0)) == 0
    except OSError:
        return False


def precision() -> str:
    """Return the precision of training by its Lightning name: bf16-mixed if the hardware supports it, else 32-true."""
    import torch

    said = os.environ.get("INPAINT_PRECISION")
    if said is not None:
        if said not in PRECISIONS:
            raise InputError(f"INPAINT_PRECISION should be one of {', '.join(PRECISIONS)}, but is {said!r}")
        return said
    if device().startswith("cuda"):
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"
    has_bf16 = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bf16-mixed" if device() == "cpu" and has_bf16 else "32-true"


def keep_freed_memory() -> None:
    """Tell glibc to keep freed memory for the next batch.

    The system zeroes every page of a new block on first use, which costs more than filling it: without that, batches of
    32 tiles of 256 x 256 pixels load 2.4 times as fast.
    """
    if libc := _glibc():
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT)
        libc.mallopt(_M_TRIM_THRESHOLD, _MOST_KEPT)


def return_freed_memory() -> None:
    """Tell glibc to return freed memory to the system."""
    if libc := _glibc():
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    """Return the C library of this process if it is glibc."""
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "gnu_get_libc_version") else None


def describe() -> dict[str, Any]:
    """Describe the machine for the record of a training."""
    import torch

    return {
        "host": platform.node(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "processor": _processor(),
        "cores": cores(),
        "processes": int(os.environ.get("WORLD_SIZE", "1")) if "TORCHELASTIC_RUN_ID" in os.environ else 1,
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else "",
        "device": device(),
        "precision": precision(),
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123 - not a file of the project
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()

"""What the machine decides, never params.yaml: the device, the precision, the number of workers and processes.

All of it can be said by the environment, so that it never enters a DVC hash:

    INPAINT_DEVICE      cpu | cuda | cuda:1 | mps   default: cuda where there is one, else cpu
    INPAINT_PRECISION   32-true | bf16-mixed        default: bf16-mixed where the hardware multiplies in it
    INPAINT_WORKERS     processes for map-like work default: the cores this process may use
    INPAINT_LOADERS     processes that load batches default: none on a CPU, whose cores they would take, else up to 4
    INPAINT_ACCUMULATE  micro-batches that a training batch is divided into   default: 1
"""

import ctypes
import os
import platform
from pathlib import Path
from typing import Any

import psutil

from stages.runtime.errors import InputError

PRECISIONS = ("32-true", "bf16-mixed")

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
_LARGEST_KEPT, _MOST_KEPT = 2**25, 2**30  # bytes; glibc takes no larger threshold for a single block


def workers() -> int:
    """Return how many processes map-like work may use, at least 1."""
    return _said("INPAINT_WORKERS", 1, cores())


def micro_batches() -> int:
    """Return how many equal parts a training batch is divided into, at least 1; more need less memory."""
    return _said("INPAINT_ACCUMULATE", 1, 1)


def require_one_process() -> None:
    """Require that a training was not started in several processes.

    Raises:
        InputError: torchrun or INPAINT_PROCESSES say that it was.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ or os.environ.get("INPAINT_PROCESSES", "1") != "1":
        raise InputError(
            "one process trains one model; start it without torchrun and without INPAINT_PROCESSES, and train other "
            "models on other machines"
        )


def _said(name: str, least: int, default: int) -> int:
    said = os.environ.get(name)
    if said is None:
        return default
    if not said.isdecimal() or int(said) < least:
        raise InputError(f"{name} should be a whole number from {least}, but is {said!r}")
    return int(said)


def cores() -> int:
    """Return how many cores this process may use, which in a container is fewer than the machine has."""
    import joblib

    return int(joblib.cpu_count())


def keep_to_cores() -> None:
    """Have torch start no more threads than there are cores to use: it does not know of a container's quota."""
    import torch

    if torch.get_num_threads() > cores():
        torch.set_num_threads(cores())


def loader_workers() -> int:
    """Return how many processes load batches beside the training; 0: it loads them itself."""
    return _said("INPAINT_LOADERS", 0, min(4, cores() - 1) if device().startswith("cuda") else 0)


def device(asked: str | None = None) -> str:
    """Return the torch device to compute on.

    Args:
        asked: one, instead of what the environment or the machine says.

    Raises:
        InputError: there is no such device here.
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
        raise InputError(f"{name} is 'mps', but torch finds no Apple GPU here; cpu is always there")
    if kind == "cuda" and torch.cuda.is_available() and (torch.device(said).index or 0) >= torch.cuda.device_count():
        raise InputError(f"{name} is {said!r}, but there are {torch.cuda.device_count()} CUDA devices")
    if kind == "cuda" and not torch.cuda.is_available():
        raise InputError(f"{name} is {said!r}, but torch finds no CUDA device here; cpu is always there")
    return said


def may_have_gpu() -> bool:
    """Tell whether torch may find a device beside the CPU, without its import, which takes seconds."""
    if os.environ.get("INPAINT_DEVICE") or Path("/dev/kfd").exists():  # AMD's
        return os.environ.get("INPAINT_DEVICE") != "cpu"
    try:
        return int(ctypes.CDLL("libcuda.so.1").cuInit(0)) == 0
    except OSError:
        return False


def precision() -> str:
    """Return Lightning's name for the arithmetic of training: bf16 where the hardware has it, else float32."""
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
    """Ask glibc to keep what is freed for the next batch, instead of handing every large block back to the system.

    A block that comes fresh from the system is zeroed page by page on first use, which costs more than filling it:
    batches of 32 tiles of 256 x 256 load 2.4 times as fast when it is not.
    """
    if libc := _glibc():
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT)
        libc.mallopt(_M_TRIM_THRESHOLD, _MOST_KEPT)


def return_freed_memory() -> None:
    """Ask glibc to hand what is freed back to the system, after large blocks came and went between small ones."""
    if libc := _glibc():
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    """Return the C library of this process, where it is glibc."""
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "gnu_get_libc_version") else None


def describe() -> dict[str, Any]:
    """Return what a reader of a measurement needs to know of the machine."""
    import torch

    return {
        "host": platform.node(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "processor": _processor(),
        "cores": cores(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else "",
        "device": device(),
        "precision": precision(),
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123 - a device, not a file of ours
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()

"""What the environment may say, and what it is told when it says nonsense."""

import pytest
import torch

from stages.runtime import machine
from stages.runtime.errors import InputError


def test_defaults_fit_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("INPAINT_DEVICE", "INPAINT_PRECISION", "INPAINT_WORKERS"):
        monkeypatch.delenv(name, raising=False)
    assert machine.workers() == machine.cores() >= 1
    assert machine.device() == ("cuda" if torch.cuda.is_available() else "cpu")
    assert machine.precision() in machine.PRECISIONS
    said = machine.describe()
    assert said["device"] == machine.device()
    assert said["memory_gib"] > 0


@pytest.mark.parametrize(("name", "value", "ask", "message"), [
    ("INPAINT_WORKERS", "none", machine.workers, "an integer from 1, but is 'none'"),
    ("INPAINT_WORKERS", "0", machine.workers, "an integer from 1, but is '0'"),
    ("INPAINT_ACCUMULATE", "0", machine.micro_batches, "an integer from 1, but is '0'"),
    ("INPAINT_DEVICE", "gpu", machine.device, "cpu, cuda, cuda:1 or mps, but is 'gpu'"),
    ("INPAINT_DEVICE", "xpu", machine.device, "cpu, cuda, cuda:1 or mps, but is 'xpu'"),
    ("INPAINT_PRECISION", "half", machine.precision, "one of 32-true, bf16-mixed, but is 'half'"),
])  # fmt: skip
def test_nonsense_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str, ask: object, message: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=message):
        ask()  # type: ignore[operator]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is one")
def test_a_missing_gpu_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INPAINT_DEVICE", "cuda")
    with pytest.raises(InputError, match="torch finds no CUDA device; use cpu"):
        machine.device()


def test_what_the_environment_says_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INPAINT_DEVICE", "cpu")
    monkeypatch.setenv("INPAINT_PRECISION", "32-true")
    monkeypatch.setenv("INPAINT_WORKERS", "3")
    assert (machine.device(), machine.precision(), machine.workers()) == ("cpu", "32-true", 3)
    assert machine.loader_workers() == 0


def test_a_device_that_is_asked_for_and_is_not_here_is_refused() -> None:
    with pytest.raises(InputError, match="the device is 'cuda:99', but"):
        machine.device("cuda:99")

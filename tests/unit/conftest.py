"""Unit tests start no process."""

import subprocess

import pytest
import torch  # noqa: F401 - whose import asks ldconfig where CUDA is


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*words: object, **_: object) -> None:
        raise AssertionError(f"a unit test should start no process, but starts {words[1:]}")

    monkeypatch.setenv("INPAINT_WORKERS", "1")
    monkeypatch.setattr(subprocess.Popen, "__init__", refuse)

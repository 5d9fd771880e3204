"""A stage says in words what stopped it, and holds its lock meanwhile."""

import errno
import os
import sys
from pathlib import Path

import pytest

from stages.runtime import guard
from stages.runtime.errors import InputError
from tests.clone import name_of_dead


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(guard, "_end_with_dvc", lambda: None)  # the tests' own process keeps its signals
    return tmp_path


def fail(error: BaseException) -> None:
    raise error


def test_a_failure_is_one_message_and_an_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert guard.run("prepare", lambda: None) == 0
    assert guard.run("prepare", lambda: fail(InputError("no photos; put some there"))) == 2
    assert capsys.readouterr().err == "\nprepare: no photos; put some there\n"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_a_full_disk_or_a_closed_folder_is_said_in_words(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert guard.run("masks", lambda: fail(OSError(number, os.strerror(number), "data/masks"))) == 2
    said = capsys.readouterr().err
    assert os.strerror(number) in said
    assert "data/masks" in said
    assert "run it again" in said


def test_control_c_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert guard.run("masks", lambda: fail(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == "\nmasks: interrupted; run it again to continue\n"


def test_an_error_of_ours_keeps_its_traceback() -> None:
    with pytest.raises(KeyError):
        guard.run("masks", lambda: fail(KeyError("a bug")))


def test_the_key_of_a_group(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[str] = []
    monkeypatch.setattr(sys, "argv", ["train", "pconv"])
    assert guard.run_with_key("train", seen.append) == 0
    assert seen == ["pconv"]
    monkeypatch.setattr(sys, "argv", ["train"])
    assert guard.run_with_key("train", seen.append) == 2
    assert "expected one key of params.yaml, got 0 arguments" in capsys.readouterr().err


def test_who_was_given_the_number_of_a_dead_stage_holds_nothing(folder: Path) -> None:
    Path(".locks").mkdir()
    Path(".locks/train@pconv.lock").write_text(f"{os.getpid()} {name_of_dead()}")
    Path(".locks/masks.lock").write_text(f"{os.getpid()}")
    assert guard.running_stages() == {}
    with guard.stage_lock("train@pconv"):
        assert guard.running_stages() == {"train@pconv": os.getpid()}


def test_what_runs_before_may_lock_the_project(folder: Path) -> None:
    done: list[str] = []

    def first() -> None:
        with guard.project_lock():
            done.append("first")

    assert guard.run("retrain", lambda: done.append("then"), before=first) == 0
    assert done == ["first", "then"]


def test_a_folder_that_cannot_be_written_is_named(folder: Path) -> None:
    Path(".locks").write_text("a file where the folder should be")
    with pytest.raises(InputError, match="cannot write to"), guard.stage_lock("prepare"):
        pass


def test_a_file_system_without_locks_is_said_in_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("fcntl.flock", lambda *_: fail(OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))))
    assert guard.run("masks", lambda: None) == 2
    assert ".lock: this file system has no locks (No locks available)" in capsys.readouterr().err

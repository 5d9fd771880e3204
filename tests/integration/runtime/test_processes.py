"""Numbers of processes are given again, names never."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stages.runtime import dvc_locks, processes
from tests.clone import ROOT

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="containers and zombies are Linux's")


def test_a_name_lives_as_long_as_its_process() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        name = processes.named(process.pid)
        assert f".{process.pid}." in name
        assert processes.lives(name) is True
        assert processes.lives(f"data/.pconv.{name}") is True
        process.kill()
    assert processes.lives(name) is False
    assert processes.named(process.pid) == ""


@LINUX
def test_a_process_that_was_killed_is_dead_before_its_parent_takes_notice() -> None:
    process = subprocess.Popen(["sleep", "60"])
    name = processes.named(process.pid)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert processes.lives(name) is False
    process.wait()


@LINUX
def test_a_container_is_another_place_though_it_has_the_same_name() -> None:
    code = (
        "import os, platform, time\nfrom stages.runtime import processes\n"
        "print(platform.node(), os.getpid(), processes.named(os.getpid()), flush=True)\ntime.sleep(60)"
    )
    words = ["unshare", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount-proc", sys.executable, "-c"]
    with subprocess.Popen(
        [*words, code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    ) as container:  # fmt: skip
        assert container.stdout is not None
        if not (said := container.stdout.readline()):
            pytest.skip("this machine lets nobody make a container")
        node, number, name = said.split()
        assert (node, number) == (os.uname().nodename, "1")
        assert processes.lives(name) is None
        container.kill()


def test_another_program_with_the_number_of_a_dead_dvc_is_told_from_dvc(tmp_path: Path) -> None:
    (tmp_path / ".dvc/tmp").mkdir(parents=True)
    lock = tmp_path / dvc_locks.RWLOCK

    def entry(pid: int) -> str:
        return json.dumps({"write": {"data/prepared": {"pid": pid, "cmd": "dvc repro"}}, "read": {}})

    with subprocess.Popen(["sleep", "60"]) as stranger:
        lock.write_text(entry(stranger.pid))
        assert f"names process {stranger.pid}, which is not DVC" in dvc_locks.clear(tmp_path)
        stranger.kill()
    assert not lock.exists()
    with subprocess.Popen([sys.executable, "-c", "input()", "dvc"], stdin=subprocess.PIPE) as at_work:
        lock.write_text(entry(at_work.pid))
        assert dvc_locks.clear(tmp_path) == ""
        at_work.kill()
    assert lock.exists()

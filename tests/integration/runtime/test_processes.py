"""Numbers of processes are given again, names never."""

import os
import subprocess
import sys

import pytest

from stages.runtime import processes
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


def test_who_was_given_the_number_of_a_dead_one_is_another() -> None:
    whose, _, started = processes.named(os.getpid()).rpartition(".")
    assert processes.lives(f"{whose}.{int(started) - 1}") is False


@pytest.mark.parametrize("name", ["", "another-machine-4026531836.1.17000", "1700", "host 12 1700000000"])
def test_of_processes_elsewhere_nothing_is_known(name: str) -> None:
    assert processes.lives(name) is None


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

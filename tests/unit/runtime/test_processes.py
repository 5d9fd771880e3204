"""What a name says of a process that is not ours."""

import os

import pytest

from stages.runtime import processes


def test_who_was_given_the_number_of_a_dead_one_is_another() -> None:
    whose, _, started = processes.named(os.getpid()).rpartition(".")
    assert processes.lives(f"{whose}.{int(started) - 1}") is False


@pytest.mark.parametrize("name", ["", "another-machine-4026531836.1.17000", "1700", "host 12 1700000000"])
def test_of_processes_elsewhere_nothing_is_known(name: str) -> None:
    assert processes.lives(name) is None

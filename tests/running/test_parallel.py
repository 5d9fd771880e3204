"""The order of the results is that of the items, whatever the number of workers."""

import pytest

from stages.running.parallel import map_ordered


def square(number: int) -> int:
    return number * number


@pytest.mark.parametrize("workers", ["1", "2"])
def test_results_come_in_order(monkeypatch: pytest.MonkeyPatch, workers: str) -> None:
    monkeypatch.setenv("INPAINT_WORKERS", workers)
    assert list(map_ordered(square, range(50), "squares")) == [n * n for n in range(50)]
    assert list(map_ordered(square, [], "squares")) == []

"""The tables of a record, when a training goes on."""

from pathlib import Path

import pytest

from stages.tracking.record import read_points
from stages.training.record import RecordWriter


@pytest.mark.parametrize("cut", ["75,3.1,0.", "1", "75,3.1,0.5,0.001,12.25,0.125"])
def test_a_line_that_a_full_disk_cut_costs_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: str) -> None:
    monkeypatch.setattr("stages.runtime.project.commit", lambda: ("", False))
    record = RecordWriter(tmp_path, {"key": "pconv"})
    for step in (25, 50):
        record.add("history", {"step": step, "seconds": float(step), "loss": 0.5})
    record.add_system()
    for table in ("history", "system"):
        with (tmp_path / f"{table}.csv").open("a") as file:
            file.write(cut)

    record.rewind(25)
    record.add("history", {"step": 50, "seconds": 60.0, "loss": 0.25})
    record.add_system()

    points = read_points(tmp_path, started_ms=0)
    assert [(point.step, point.value) for point in points if point.name == "train/loss"] == [(25, 0.5), (50, 0.25)]
    assert [point.step for point in points if point.name == "system/memory_mib"] == [0, 1]

"""The records of all trainings side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from stages.report.reading import Training

_PARTS = ("params", "inputs", "machine", "packages", "summary")
_DIGEST_DIGITS = 12  # of a hash, which are enough to tell two apart


@dataclass(frozen=True)
class Fact:
    """One row of the comparison.

    Attributes:
        name: such as a param or a package.
        values: one per training, "" where it has none.
    """

    name: str
    values: list[str]

    @property
    def shared(self) -> bool:
        """Whether all trainings have the same value."""
        return len(set(self.values)) == 1


def compare_runs(trainings: Sequence[Training]) -> dict[str, list[Fact]]:
    """Compare the records of trainings.

    Returns:
        facts by part of the record: first `time` (when, how long, how fast), then the parts as recorded.
    """
    parts = {"time": _side_by_side([_times(training) for training in trainings])}
    for part in _PARTS:
        parts[part] = _side_by_side([_flatten(training.record[part]) for training in trainings])
    return parts


def _times(training: Training) -> dict[str, str]:
    record, history = training.record, training.history
    started = datetime.fromtimestamp(record["started_ms"] / 1000, UTC)
    seconds = (record["ended_ms"] - record["started_ms"]) / 1000
    return {
        "commit": (record["commit"][:_DIGEST_DIGITS] or "none") + (" and changes" if record["dirty"] else ""),
        "started": f"{started:%Y-%m-%d %H:%M} UTC",
        "took": _duration(seconds),
        "cost": _cost(seconds, record["machine"]),
        "tiles a second": _speed(record, seconds),
        "waiting for data": f"{100 * history['data_wait'].mean():.1f} %",
    }


def _speed(record: dict[str, Any], seconds: float) -> str:
    """Return tiles per second over the whole run; a mean of rates would hide slow stretches."""
    tiles = record["summary"].get("steps", 0) * record["params"].get("batch_size", 0)
    return f"{tiles / seconds:.3g}" if tiles and seconds else ""


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def _cost(seconds: float, machine: dict[str, Any]) -> str:
    """Return the hours of all GPUs in use, or else of all cores, as a cloud bills them."""
    gpus = machine.get("processes", 1) if machine.get("gpu") else 0  # records of earlier versions have several
    hours = (gpus or machine.get("cores", 1)) * seconds / 3600
    return f"{hours:.2f} {'GPU' if gpus else 'core'} hours"


def _side_by_side(records: Sequence[dict[str, str]]) -> list[Fact]:
    names = dict.fromkeys(name for record in records for name in record)
    return [Fact(name, [record.get(name, "") for record in records]) for name in names]


def _flatten(content: dict[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for name, value in content.items():
        flat |= _flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: _in_words(value)}
    return flat


def _in_words(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value)
    is_digest = len(text) == 64 and set(text) <= set("0123456789abcdef")
    return text[:_DIGEST_DIGITS] if is_digest else text

"""Twenty thousand damaged files: a picture or a typed refusal, in bounded time and memory, and nothing else."""

import resource
import signal
from collections import Counter

import pytest

from stages.imaging.formats import FORMATS
from tests.bench.fuzz import outcomes

EACH = 2_500
SECONDS = 10  # for one file of some hundred pixels: what takes longer hangs
MOST_MEMORY = 400 * 2**10  # KiB more than before; one megapixel may be decoded, in some copies


class Hangs(BaseException):
    """Passes through `except Exception`."""


def stop(*_: object) -> None:
    raise Hangs


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_damaged_files_are_pictures_or_refused(name):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    handler = signal.signal(signal.SIGALRM, stop)
    results = []
    try:
        signal.alarm(SECONDS)
        for result, _ in outcomes(EACH, 0, name):
            results.append(result)
            signal.alarm(SECONDS)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, handler)
    counts = Counter(results)
    assert counts.total() == EACH
    assert set(counts) <= {
        *("picture", "not_an_image", "truncated", "corrupt", "too_many_pixels"),
        *("float_image", "bit_depth", "mostly_transparent"),
    }
    assert counts["picture"] > 50
    assert len(counts) > 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MOST_MEMORY

"""Each trap still fits the file that it is to be put into: `make traps`, which takes long, would stop there."""

import pytest

from tests.bench.traps import TRAPS, Trap
from tests.clone import ROOT


@pytest.mark.parametrize("trap", TRAPS, ids=lambda trap: trap.name)
def test_its_text_stands_once_in_its_file(trap: Trap) -> None:
    assert (ROOT / trap.file).read_text(encoding="utf-8").count(trap.right) == 1

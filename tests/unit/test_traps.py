"""Each trap still fits its file and its tests: `make traps`, which takes long, would stop there."""

import pytest

from tests.bench.traps import TRAPS, Trap
from tests.clone import ROOT


@pytest.mark.parametrize("trap", TRAPS, ids=lambda trap: trap.name)
def test_its_text_stands_once_in_its_file_and_its_tests_are_there(trap: Trap) -> None:
    assert (ROOT / trap.file).read_text(encoding="utf-8").count(trap.right) == 1
    places, _, word = trap.tests.partition(" -k ")
    files = [
        file
        for place in places.split()
        for file in ((ROOT / place).rglob("*.py") if "." not in place else [ROOT / place])
    ]
    assert any(word in file.read_text(encoding="utf-8") for file in files)

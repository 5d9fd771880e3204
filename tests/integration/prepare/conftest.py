import pytest

from tests.factories import without_charts


@pytest.fixture(autouse=True)
def plain_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports on the data have no charts."""
    without_charts(monkeypatch.setattr)

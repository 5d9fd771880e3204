"""What holds for all tests."""

import pytest

from tests.browser import browser  # noqa: F401 - Playwright runs but once in a process, so one browser serves all


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let coverage look away from slow tests: it doubles the time of a torch export, and quick ones see every line."""
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.no_cover)

"""What holds for all tests."""

import threading
from collections import Counter
from collections.abc import Iterator
from http.server import HTTPServer
from pathlib import Path

import pytest

from tests.browser import browser  # noqa: F401 - Playwright runs but once in a process, so one browser serves all
from tests.unwatched import look_away


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow tests run first, so that no process is left with a long one, and unwatched by coverage.

    It doubles the time of a torch export, and quick tests see every line.
    """
    slow = [item for item in items if item.get_closest_marker("slow")]
    for item in slow:
        item.add_marker(pytest.mark.no_cover)
    counts = Counter(item.path for item in slow)
    items.sort(key=lambda item: -counts[item.path])  # file by file, as they are handed out


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Keep coverage from watching the packages of others that were imported since the last test."""
    look_away()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Outputs of a pipeline; export takes seconds, so it is done once a file of tests."""
    from tests.tracked import write_outputs

    tree = tmp_path_factory.mktemp("trained")
    write_outputs(tree)
    return tree


@pytest.fixture
def listening() -> Iterator[str]:
    """The address of a `Listener`."""
    from tests.tracked import Listener

    Listener.heard.clear()
    with HTTPServer(("127.0.0.1", 0), Listener) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()

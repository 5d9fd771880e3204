from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from tests.integration.serving.asking import LIMITS, server


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with server(LIMITS, "telea", "biharmonic") as client:
        yield client

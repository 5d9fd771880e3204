"""What is installed stands at or above the versions that mended known holes."""

import re

import pytest
from packaging.version import Version

from tests.clone import ROOT

# Below them: code from a checkpoint or a model (torch, MLflow), from a picture (Pillow), or a server that hangs.
FLOORS = {"torch": "2.10", "mlflow": "3.11", "pillow": "12.3", "starlette": "1.3.1", "python-multipart": "0.0.27"}


def locked(lock: str) -> dict[str, Version]:
    lines = (ROOT / lock).read_text().splitlines()
    found = [re.match(r"([A-Za-z0-9_.-]+)==([^\s;\\]+)", line) for line in lines]
    return {match[1].lower(): Version(match[2]) for match in found if match}


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-test.lock", "requirements-extras.lock"])
@pytest.mark.parametrize("package", FLOORS)
def test_a_lock_file_names_no_version_with_a_known_hole(lock: str, package: str) -> None:
    versions = locked(lock)
    if lock == "requirements.lock":
        assert package in versions
    assert versions.get(package, Version("999")) >= Version(FLOORS[package])

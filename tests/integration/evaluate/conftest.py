import shutil
from pathlib import Path

import pytest

from tests.factories import make_evaluation_project


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    make_evaluation_project(folder)
    return folder


@pytest.fixture
def project(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INPAINT_DEVICE", "cpu")
    monkeypatch.setenv("INPAINT_WORKERS", "1")
    return tmp_path

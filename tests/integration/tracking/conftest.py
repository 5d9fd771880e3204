from pathlib import Path

import pytest

from tests.clone import ROOT
from tests.tracked import PARAMS, write_database


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with params and an empty database of MLflow."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    write_database(tmp_path)
    (tmp_path / "params.yaml").write_text(PARAMS)
    return tmp_path

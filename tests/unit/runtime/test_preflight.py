"""A path that is not there is named together with the setting to change."""

from pathlib import Path

import pytest

from stages.runtime import preflight
from stages.runtime.errors import ParamsError


def test_missing_paths_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text("prepare: {photos: data/raw}\nmasks: {files: data/holes}\n")
    with pytest.raises(ParamsError, match="`prepare.photos` is data/raw"):
        preflight.main()
    Path("data/raw").mkdir(parents=True)
    with pytest.raises(ParamsError, match="`masks.files` is data/holes"):
        preflight.main()
    Path("data/holes").mkdir()
    preflight.main()

"""The wheel holds everything that the project is."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from tests.clone import ROOT


def test_the_wheel_has_every_file_of_stages(tmp_path: Path) -> None:
    tracked = subprocess.run(["git", "ls-files", "stages"], cwd=ROOT, capture_output=True, text=True, check=True)
    shutil.copytree(ROOT / "stages", tmp_path / "stages", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    build = "import setuptools.build_meta as build; print(build.build_wheel('.'))"
    subprocess.run([sys.executable, "-c", build], cwd=tmp_path, capture_output=True, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    assert set(tracked.stdout.split()) <= set(zipfile.ZipFile(wheel).namelist())

"""A project of one stage, which copies what lies in a folder: DVC and git as they are, in seconds."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from dvc.repo import Repo

from stages.start import STARTS, write_starts
from tests.clone import ROOT

COPY = "python -c \"import shutil; shutil.copytree('data/raw', 'data/made')\""


class Small:
    """The project, committed and made.

    Args:
        root: its folder.
        repository: of git, where that is a folder above.
    """

    def __init__(self, root: Path, repository: Path | None = None) -> None:
        self.root, self.repository = root, repository or root
        (root / "data/raw").mkdir(parents=True)
        self.photograph("one")
        self.git("init", "-q", "-b", "main", place=self.repository)
        with Repo.init(str(root), subdir=root != self.repository):
            pass
        shutil.copy2(ROOT / ".dvc/config", root / ".dvc")
        stages = {"copy": {"cmd": COPY, "deps": ["data/raw"], "outs": ["data/made"]}}
        (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
        ignored = "/data/* !/data/starts.yaml /.retrain /.locks /mlflow.db* /mlartifacts __pycache__"
        (root / ".gitignore").write_text(ignored.replace(" ", "\n"))
        write_starts({}, root / STARTS)
        self.commit()

    def photograph(self, name: str) -> Path:
        """Add a file that the stage reads."""
        path = self.root / f"data/raw/{name}.txt"
        path.write_text(name)
        return path

    def commit(self) -> None:
        """Commit everything."""
        self.git("add", "-A", place=self.repository)
        self.git("commit", "-q", "-m", "as it stands")

    def git(self, *words: str, place: Path | None = None) -> str:
        """Ask git in the project."""
        words = ("git", "-c", "user.name=t", "-c", "user.email=t@localhost", *words)
        done = subprocess.run(words, cwd=place or self.root, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def made(self) -> set[str]:
        """List what the outputs hold."""
        return {path.read_text() for path in (self.root / "data/made").glob("*")}


@pytest.fixture
def away_from_users(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DVC keeps what it remembers of folders outside of projects in a folder that is empty at first."""
    site = tmp_path_factory.mktemp("site")
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(site))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    return site

"""Which commit a stage runs at, and what is said where git does not tell."""

import subprocess
from pathlib import Path

import pytest

from stages.retrain import doctor
from stages.runtime import project


@pytest.fixture
def inner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in a folder of a repository."""
    folder = tmp_path / "models/inpaint"
    folder.mkdir(parents=True)
    for path in (tmp_path / "elsewhere.txt", folder / "dvc.lock", folder / "params.yaml"):
        path.write_text("publish: {experiment: photographs}")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    for words in (["init", "-q"], ["add", "-A"], ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "t"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    monkeypatch.chdir(folder)
    return folder


def test_what_differs_elsewhere_in_the_repository_does_not_count(inner: Path) -> None:
    (inner.parents[1] / "elsewhere.txt").write_text("changed")
    (inner / "dvc.lock").write_text("written by DVC")
    sha, dirty = project.commit()
    assert (len(sha), dirty) == (40, False)
    (inner / "params.yaml").write_text("changed")
    assert project.commit() == (sha, True)


@pytest.mark.parametrize("reason", ["dubious ownership", "not a git repository"])
def test_a_commit_that_git_does_not_name_is_said_and_never_counts_as_clean(
    inner: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], reason: str
) -> None:
    if reason == "dubious ownership":
        monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # git's own, for this very purpose
    else:
        monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(inner.parent))
    assert project.commit() == ("", True)
    assert reason in capsys.readouterr().out
    (finding,) = doctor.examine_files(inner)
    assert reason in finding.what

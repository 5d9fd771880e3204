"""A disk that is really full, and a limit on the size of files: said in words, and done right when there is room."""

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.clone import ROOT, TINY, params_with
from tests.factories import write_photos

pytestmark = pytest.mark.slow

CHANGES = {
    "prepare": {"photos": "photos", "val_share": 0.3, "test_share": 0.3},
    "masks": {"train": 400, "kinds": {"files": 0}},
}


def lay_out(folder: Path) -> None:
    params = params_with(TINY, CHANGES)
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_photos("photos", range(24))


def run(stage: str, folder: Path, most_bytes: int | None = None) -> subprocess.CompletedProcess[str]:
    def limit() -> None:
        if most_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))

    given = os.environ | {"DVC_ROOT": str(folder), "PYTHONPATH": str(ROOT), "INPAINT_WORKERS": "1"}
    return subprocess.run(
        [sys.executable, "-m", f"stages.{stage}"], cwd=folder, env=given, preexec_fn=limit,
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_files_that_may_not_grow_are_said_in_words(tmp_path: Path) -> None:
    lay_out(tmp_path)
    refused = run("masks", tmp_path, most_bytes=20_000)
    assert refused.returncode == 2, refused.stderr
    assert "File too large" in refused.stderr
    assert "No incomplete output is left" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not list((tmp_path / "data").glob("*"))
    assert run("masks", tmp_path).returncode == 0
    assert not list(tmp_path.rglob("*.draft"))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 300 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("only root may mount a small disk")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_full_disk_is_said_in_words(small_disk: Path) -> None:
    lay_out(small_disk)
    full = run("prepare", small_disk)
    assert full.returncode == 2, full.stderr
    assert "No space left on device" in full.stderr
    assert "Traceback" not in full.stderr
    assert not list((small_disk / "data").glob("*"))
    subprocess.run(["mount", "-o", "remount,size=50m", small_disk], check=True)
    assert run("prepare", small_disk).returncode == 0
    assert not list(small_disk.rglob("*.draft"))

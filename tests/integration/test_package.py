"""The wheel holds everything that the project is."""

import os
import re
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


def test_every_command_of_the_readme_is_found_in_a_fresh_shell(tmp_path: Path) -> None:
    """Each block by itself, since a reader types one of them: as it stands, or with the activation in it."""
    (tmp_path / ".venv").symlink_to(sys.prefix)
    fresh = {"PATH": os.defpath, "HOME": str(tmp_path)}
    blocks = re.findall(r"(?:^    .*\n)+", (ROOT / "README.md").read_text(), re.MULTILINE)
    found = []
    for block in blocks:
        lines = [line.split("#")[0].strip() for line in block.splitlines()]
        words = [re.split(r"&&|\|", line)[0].split()[0] for line in lines if line]
        programs = [word for word in words if word in {"dvc", "inpaint", "python", "mlflow"} or "/bin/" in word]
        script = [f"command -v {word} >/dev/null || echo {word}" for word in programs]
        script = ["source .venv/bin/activate", *script] if "source .venv/bin/activate" in lines else script
        done = subprocess.run(
            ["bash", "-c", "\n".join(script)], cwd=tmp_path, env=fresh, capture_output=True, text=True, check=True
        )
        assert done.stdout == "", block
        found += programs
    assert {"inpaint", "dvc", ".venv/bin/dvc"} <= set(found)


def make(*words: str, **given: str) -> str:
    """Return what make would do."""
    given = {"PATH": "/usr/bin:/bin"} | given
    return subprocess.run(
        ["make", "-n", *words], cwd=ROOT, env=given, capture_output=True, text=True, check=True
    ).stdout


def test_make_in_the_image_installs_nothing(tmp_path: Path) -> None:
    (flags,) = re.findall(r'MAKEFLAGS="(.*)"', (ROOT / "Dockerfile").read_text())
    (tmp_path / ".run").touch()
    os.utime(tmp_path / ".run", (1e9, 1e9))  # older than all that a clone has
    said = make("repro", MAKEFLAGS=flags.replace("/opt/venv", str(tmp_path)))
    assert f"{tmp_path}/bin/dvc repro" in said
    assert "pip install" not in said


def test_torch_without_cuda_has_lock_files_of_its_own() -> None:
    made, by_default = (set(re.findall(r"-o (\S+)", make("lock", *words))) for words in (["TORCH=cpu"], []))
    assert made == {name.replace(".lock", "-cpu.lock") for name in by_default}
    assert by_default == {path.name for path in ROOT.glob("requirements*.lock")} - made

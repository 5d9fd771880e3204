"""Workers and runs that are killed on the way, on this machine and on a cluster: the same bytes, little done twice."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from stages.prepare.__main__ import main
from tests.clone import ROOT
from tests.factories import contents, write_params, write_photos

pytestmark = pytest.mark.slow

PHOTOS = 160
COMMAND = [sys.executable, "-m", "stages.prepare"]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> tuple[Path, dict[str, bytes]]:
    """Photographs with params, and what one process makes of them that nobody disturbs."""
    root = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setenv("INPAINT_WORKERS", "1")
        patch.setenv("DVC_ROOT", str(root))
        write_params(max_tiles_per_photo=40, short_sides=[40, 200, 300], tile_size=40)
        write_photos("photos", range(PHOTOS))
        main()
        return root, contents()


@pytest.fixture
def project(undisturbed, tmp_path, monkeypatch) -> Path:
    shutil.copy(undisturbed[0] / "params.yaml", tmp_path)
    shutil.copytree(undisturbed[0] / "photos", tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return tmp_path


@pytest.fixture
def alone(undisturbed) -> dict[str, bytes]:
    return undisturbed[1]


def start(**environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        COMMAND, env=os.environ | environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finished_chunks() -> list[Path]:
    return sorted(Path(".remembered/prepare").glob("*/chunks/*.arrow"))


def wait_for(what: Callable[[], object], stage: subprocess.Popen[str] | None = None) -> None:
    deadline = time.monotonic() + 120
    while not what():
        assert time.monotonic() < deadline, "it did not happen within two minutes"
        assert stage is None or stage.poll() is None, stage.communicate()
        time.sleep(0.002)


def working(command: str, above: int) -> list[psutil.Process]:
    """The worker processes of a backend: children of `above` in whose command line a word stands."""
    children = psutil.Process(above).children(recursive=True)
    return [child for child in children if any(command in word for word in child.cmdline())]


def test_a_killed_run_goes_on_where_it_was(project, alone):
    stage = start(INPAINT_WORKERS="1")
    wait_for(lambda: len(finished_chunks()) >= 2, stage)
    stage.send_signal(signal.SIGKILL)
    stage.wait()
    stage.communicate()
    before = {path: path.stat().st_mtime_ns for path in finished_chunks()}
    assert len(before) >= 2
    again = start(INPAINT_WORKERS="1")
    wait_for(lambda: len(finished_chunks()) > len(before), again)
    assert all(path.stat().st_mtime_ns == when for path, when in before.items() if path.exists())
    _, said = again.communicate()
    assert again.returncode == 0, said
    assert contents() == alone
    assert not list(Path(".remembered/prepare").glob("*/chunks/*.npy"))


def test_a_killed_worker_of_this_machine_costs_one_chunk(project, alone):
    stage = start(INPAINT_WORKERS="2")
    wait_for(lambda: len(finished_chunks()) >= 1, stage)
    working("popen_loky", stage.pid)[-1].kill()
    _, said = stage.communicate()
    assert stage.returncode == 0, said
    assert contents() == alone


@pytest.fixture
def cluster(project) -> Iterator[tuple[str, dict[str, int]]]:
    """A scheduler and three workers, as processes of their own: its address, and the workers' process ids."""
    port = 8786 + os.getpid() % 1000
    folder = Path(sys.executable).parent
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    programs = [subprocess.Popen([folder / "dask", "scheduler", "--port", str(port), "--no-dashboard"], **quiet)]
    address = f"tcp://127.0.0.1:{port}"
    words = [address, "--nthreads", "1", "--no-nanny", "--no-dashboard", "--local-directory", str(project / "dask")]
    programs += [subprocess.Popen([folder / "dask", "worker", *words, "--name", name], **quiet) for name in "abc"]
    yield address, {name: program.pid for name, program in zip("abc", programs[1:], strict=True)}
    for program in programs:
        program.kill()
        program.wait()


def test_a_cluster_that_loses_a_worker_writes_the_same_bytes(cluster, alone):
    address, workers = cluster
    stage = start(INPAINT_BACKEND="dask", INPAINT_SCHEDULER=address)
    wait_for(lambda: len(finished_chunks()) >= 1, stage)
    os.kill(workers["b"], signal.SIGKILL)
    _, said = stage.communicate()
    assert stage.returncode == 0, said
    assert contents() == alone

"""Trainings by several processes: they do what one does, stop together, and go on where they were cut off."""

import json
import os
import re
import signal
import socket
import sys
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from stages.imaging.shards import write_tiles
from stages.runtime.errors import InpaintError, InputError
from stages.runtime.files import sha256
from stages.training import distributed, loop, trainer
from stages.training.dataset import TrainingBatches, to_float
from stages.training.module import MicroBatch
from tests.factories import make_training_project, smooth_tile, tiny_params, without_export
from tests.integration.training.test_trainer import KINDS, fit, project  # noqa: F401 - pytest finds fixtures by name
from tests.tracked import wait_for
from tests.warm import FORKSERVER, Program


def set_params(root: Path, key: str, **changes: Any) -> None:
    params = tiny_params()
    params["train"][key] |= changes
    (root / "params.yaml").write_text(yaml.safe_dump(params))


def made(root: Path) -> Path:
    root.mkdir()
    return make_training_project(root)


def train_as(rank: int, root: Path, key: str, given: dict[str, str]) -> None:
    """Train as one of the processes that torchrun starts."""
    os.chdir(root)
    os.environ |= given | {"RANK": str(rank), "LOCAL_RANK": str(rank), "DVC_ROOT": str(root)}
    torch.set_num_threads(1)
    sys.stdout = Path(f"said-{rank}.txt").open("w", buffering=1)  # noqa: SIM115 - ends with the process
    trainer.MIRROR = "this"
    without_export()
    try:
        trainer.train(key, *KINDS[key], loop.make_fabric())
    except InpaintError as error:
        sys.stdout.write(f"{type(error).__name__}: {error}")
        sys.exit(2)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def start(key: str, *roots: Path, **given: str) -> list[BaseProcess]:
    """Start a process for each root, where it looks for its inputs; they train together."""
    count = str(len(roots))
    given |= {"TORCHELASTIC_RUN_ID": "test", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    given |= {"GROUP_WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": count, "WORLD_SIZE": count}
    started = [
        FORKSERVER.Process(target=train_as, args=(rank, root, key, given), daemon=True)
        for rank, root in enumerate(roots)
    ]
    for process in started:
        process.start()
    return started


def ends(processes: list[BaseProcess]) -> list[int | None]:
    for process in processes:
        process.join(120)
    return [process.exitcode for process in processes]


def weights(root: Path, key: str) -> Path:
    return root / f"data/models/{key}/weights.safetensors"


@pytest.mark.parametrize("key", ["pconv", "pix2pix"])
def test_one_process_is_a_plain_loop_to_the_last_bit(
    project: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    key: str,
) -> None:
    monkeypatch.setenv("INPAINT_PRECISION", "32-true")
    set_params(project, key, ema_decay=0.0, clip_norm=1e-2)
    trained: list[Any] = []
    monkeypatch.setattr(trainer, "_write", lambda about, module, *_: trained.append(module))
    fit(key)
    torch.manual_seed(7)
    settings = trainer.read(f"train.{key}", KINDS[key][0])
    module: Any = KINDS[key][1](settings)
    module.parallel = dict(module.named_children())
    module.optimizers = module.configure_optimizers()
    folders = list(dict.fromkeys(["data/prepared/train", tiny_params()["models"][key]["tiles"]]))
    batches = TrainingBatches(folders, "data/masks/train.npy", settings.batch_size, 7)

    def optimise(name: str, parts: list[MicroBatch], terms_of: Any) -> Any:
        (group,) = module.optimizers[name].param_groups
        group["lr"] = module.learning_rate_of(name, module.step)
        module.optimizers[name].zero_grad()
        terms = terms_of(parts[0])
        terms["loss"].backward()
        torch.nn.utils.clip_grad_norm_(group["params"], settings.clip_norm)
        module.optimizers[name].step()
        return terms

    module.optimise = optimise
    for step in range(settings.total_steps):
        module.step = step
        torch.manual_seed(7 + step)
        module.training_step([MicroBatch(*to_float(batches[step]))])
    found = trained[0].state_dict()
    for name, value in module.state_dict().items():
        assert torch.equal(found[name], value), name


@pytest.mark.parametrize("parts", ["1", "2"])
def test_processes_do_what_micro_batches_do(tmp_path: Path, parts: str) -> None:
    """Without batch norm, and so to rounding; gradients of micro-batches are averaged once."""
    found = []
    for count in (1, 2):
        root = made(tmp_path / str(count))
        set_params(root, "pix2pix", norm="instance", ema_decay=0.5)
        given = {"INPAINT_ACCUMULATE": str(2 * int(parts) // count)}
        assert ends(start("pix2pix", *[root] * count, **given)) == [0] * count
        found.append((load_file(weights(root, "pix2pix")), (root / "data/training/pix2pix/history.csv").read_text()))
    (one, history), (two, together) = found
    for name, value in one.items():
        assert torch.allclose(value, two[name], rtol=1e-3, atol=1e-5), name
    terms = [np.array([row.split(",")[2:6] for row in text.splitlines()[1:]], float) for text in (history, together)]
    assert np.allclose(*terms, rtol=1e-3)


@pytest.mark.parametrize("key", ["pconv", "pix2pix"])
def test_processes_that_are_killed_go_on_from_the_checkpoint(tmp_path: Path, key: str) -> None:
    whole, killed = made(tmp_path / "whole"), made(tmp_path / "killed")
    for root in (whole, killed):
        set_params(root, key, hole_perceptual_weight=0.1, steps=60, validate_every=40, checkpoint_every_s=1e-6)
    assert ends(start(key, whole, whole)) == [0, 0]
    started = start(key, killed, killed)
    wait_for(lambda: any(killed.glob(".resume/*/checkpoint.pt")), 60)
    started[1].kill()
    assert ends(started) == [1, -signal.SIGKILL]  # the other does not wait for it
    assert ends(start(key, killed, killed)) == [0, 0]
    assert "resuming" in (killed / "said-0.txt").read_text()
    assert sha256(weights(killed, key)) == sha256(weights(whole, key))


def test_another_number_of_processes_may_go_on(tmp_path: Path) -> None:
    root = made(tmp_path / "project")
    set_params(root, "pconv", steps=200, validate_every=100, checkpoint_every_s=1e-6)
    for count, least in ((2, 5), (1, 50)):
        started = start("pconv", *[root] * count)
        wait_for(lambda least=least: _step(root) >= least, 60)  # type: ignore[misc]
        started[0].kill()
        assert ends(started)[0] == -signal.SIGKILL
    assert ends(start("pconv", root, root)) == [0, 0]
    assert json.loads((root / "data/training/pconv/record.json").read_text())["summary"]["steps"] == 202


def _step(root: Path) -> int:
    try:
        return max(int(torch.load(path)["step"]) for path in root.glob(".resume/*/checkpoint.pt"))
    except (ValueError, OSError):
        return 0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"batch_size": 5}, "`train.unet.batch_size` is 5, which 2 processes cannot share evenly"),
        ({"hole_weight": 1e40}, "at step 1 .*loss is inf.* lower the learning rate"),
        ({"levels": 4}, "`train.unet.levels` is 4"),
    ],
)
def test_an_error_ends_all_processes_in_the_same_words(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    root = made(tmp_path / "project")
    set_params(root, "unet", steps=100, validate_every=90, **changes)
    assert ends(start("unet", root, root)) == [2, 2]
    found = [(root / f"said-{rank}.txt").read_text().split("AgreedError: ")[1] for rank in (0, 1)]
    assert found[0] == found[1]
    assert re.search(said, found[0]), found[0]


def test_patience_ends_all_processes(tmp_path: Path) -> None:
    root = made(tmp_path / "project")
    set_params(root, "unet", steps=300, patience=2, learning_rate=1e-12, finetune_learning_rate=1e-12, ema_decay=0.0)
    assert ends(start("unet", root, root)) == [0, 0]
    assert json.loads((root / "data/training/unet/record.json").read_text())["summary"]["steps"] < 300


@pytest.mark.parametrize("what", ["batch_size", "data/prepared/val", "is missing"])
def test_machines_with_other_inputs_are_refused(tmp_path: Path, what: str) -> None:
    one, other = made(tmp_path / "one"), made(tmp_path / "other")
    if what == "batch_size":
        set_params(other, "unet", batch_size=8)
    elif what == "data/prepared/val":
        (other / what).rename(other / "before")
        (other / what).mkdir()
        write_tiles(other / what, (smooth_tile(np.random.default_rng(3)) for _ in range(5)))
    else:  # the folder is not shared
        (other / "data/prepared").rename(other / "before")
    assert ends(start("unet", one, other)) == [2, 2]
    assert what in (said := (one / "said-0.txt").read_text())
    assert said.count("\n") == 0
    assert not (one / ".resume").exists()


@pytest.mark.parametrize("key", ["pconv", "pix2pix"])
def test_synchronised_batch_norm_keeps_a_plain_network_for_export(key: str) -> None:
    module: Any = KINDS[key][1](KINDS[key][0](**tiny_params()["train"][key] | {"ema_decay": 0.0}))
    before = {name: value.data_ptr() for name, value in module.state_dict().items()}
    module._synchronise_batch_norm()
    assert {name: value.data_ptr() for name, value in module.state_dict().items()} == before
    kinds = [type(each) for each in module.modules()]
    assert torch.nn.SyncBatchNorm in kinds
    assert not any(issubclass(kind, torch.nn.BatchNorm2d) for kind in kinds)
    assert torch.nn.SyncBatchNorm not in [type(each) for each in module.trained.modules()]
    assert {name: value.data_ptr() for name, value in module.trained.state_dict().items()}.items() <= {
        name.removeprefix("network."): place for name, place in before.items()
    }.items()
    if key == "pconv":
        module.inner.freeze_encoder()
        module.train()
        assert not any(each.training for each in module.inner.encoder.modules() if type(each) is torch.nn.SyncBatchNorm)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"INPAINT_PROCESSES": "0"}, "INPAINT_PROCESSES should be an integer from 1, or gpu, but is '0'"),
        ({"INPAINT_PROCESSES": "gpu"}, "INPAINT_PROCESSES is gpu, but torch finds no CUDA device"),
        ({"INPAINT_PROCESSES": "3"}, "`train.pconv.batch_size` is 8, which 3 processes cannot share evenly"),
        ({"INPAINT_NODES": "two"}, "INPAINT_NODES should be an integer from 1, but is 'two'"),
        ({"INPAINT_NODES": "2"}, "INPAINT_RENDEZVOUS should be HOST:PORT of the machine that runs DVC, but is ''"),
        ({"INPAINT_NODES": "2", "INPAINT_RENDEZVOUS": "127.0.0.1:x"}, "INPAINT_RENDEZVOUS should be HOST:PORT"),
        ({"INPAINT_NODES": "2", "INPAINT_RENDEZVOUS": "127.0.0.1:70000"}, "INPAINT_RENDEZVOUS should be HOST:PORT"),
        ({"INPAINT_NODES": "2", "INPAINT_RENDEZVOUS": "nowhere.invalid:1"}, "names nowhere.invalid, which is unknown"),
        ({"INPAINT_NODES": "2", "INPAINT_RENDEZVOUS": "127.0.0.1:{free}"}, "not all came to 127.0.0.1:.* within 1 s"),
        ({"INPAINT_NODES": "2", "INPAINT_RENDEZVOUS": "192.0.2.1:{free}"}, "which cannot be opened"),
        ({"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "{free}"}, "INPAINT_NODES is 2, but not all"),
        ({"SLURM_STEP_NUM_NODES": "2", "SLURM_STEP_NODELIST": "127.0.0.[1-2]"}, "not all came to 127.0.0.1:29400"),
    ],
)
def test_a_rendezvous_that_fails_is_told_in_words(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], said: str
) -> None:
    monkeypatch.setenv("INPAINT_DEVICE", "cpu")
    monkeypatch.setenv("INPAINT_RENDEZVOUS_TIMEOUT", "1")
    monkeypatch.setenv("TORCH_DISABLE_SHARE_RDZV_TCP_STORE", "1")
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    for name, value in given.items():
        monkeypatch.setenv(name, value.format(free=free_port()))
    with pytest.raises(InputError, match=said):
        distributed.launch("pconv", len, batch_size=8)


def test_who_waits_has_to_know_for_whom(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="INPAINT_NODES should be the number of machines"):
        distributed.wait(len)


@pytest.mark.slow
def test_a_machine_that_is_killed_comes_again(tmp_path: Path) -> None:
    """Two processes stand for machines; one trains within the project, as retraining does, and the other finds it.

    The weights are those of an undisturbed training.
    """
    one, whole = tmp_path / "one", made(tmp_path / "whole")
    tree = one / ".retrain/tree"
    tree.parent.mkdir(parents=True)
    for root in (made(tree), whole):
        set_params(root, "unet", steps=300, validate_every=100, checkpoint_every_s=0.1)
    assert ends(start("unet", whole, whole)) == [0, 0]
    given = {"INPAINT_NODES": "2", "INPAINT_RENDEZVOUS": f"127.0.0.1:{free_port()}", "DVC_ROOT": str(one)}
    given |= {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "INPAINT_DEVICE": "cpu"}
    given["OMP_NUM_THREADS"] = "1"  # sums depend on the number of threads

    def run(word: str, folder: Path) -> Program:
        return Program([sys.executable, "-m", "stages.train", word], cwd=folder, env=os.environ | given)

    waiting, leading = run("--wait", one), run("unet", tree)
    wait_for(lambda: any(one.glob(".resume/*/checkpoint.pt")), 120)
    waiting.kill()
    waiting.wait()
    again = run("--wait", one)
    assert leading.wait(240) == 0, leading.communicate()
    again.send_signal(signal.SIGINT)
    assert again.wait(60) == 130
    assert "resuming the interrupted training" in "".join(leading.communicate())
    found, wanted = (load_file(weights(root, "unet")) for root in (tree, whole))
    assert all(torch.equal(value, found[name]) for name, value in wanted.items())

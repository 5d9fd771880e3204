"""LPIPS and FID: whole classifiers are built and read."""

import importlib.util

import numpy as np
import pytest
import torch
from torchvision.models import alexnet

from stages.evaluate.perceptual import Fid, Lpips
from stages.runtime.errors import InputError


def test_lpips_says_where_its_weights_belong(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", _no_network)
    with pytest.raises(InputError, match=rf"`evaluate.lpips` needs weights.*alexnet.*{tmp_path}/checkpoints"):
        Lpips("cpu")


def test_lpips_runs_where_weights_are(tmp_path, monkeypatch):
    (tmp_path / "checkpoints").mkdir()
    torch.manual_seed(0)
    torch.save(alexnet(weights=None).state_dict(), tmp_path / "checkpoints/alexnet-owt-7be5be79.pth")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    targets, noise = np.random.default_rng(0).random((2, 2, 64, 96, 3)).astype(np.float32)
    holes = np.zeros((2, 64, 96), np.uint8)
    holes[:, 8:40, 10:60] = 1
    measure = Lpips("cpu")
    assert measure(targets, targets, holes) == [0] * 2
    little, much = (
        measure(targets + share * holes[..., None] * (noise - targets), targets, holes) for share in (0.05, 1)
    )
    assert all(a < b for a, b in zip(little, much, strict=True))


def test_fid_says_what_it_lacks(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", _no_network)
    wanted = "`evaluate.fid` needs" if importlib.util.find_spec("torch_fidelity") else "torch-fidelity: pip install"
    with pytest.raises(InputError, match=wanted):
        Fid("cpu")


def _no_network(*_: object, **__: object) -> None:
    raise OSError("no network")

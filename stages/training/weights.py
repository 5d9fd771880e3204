"""Start weights for trainings, as safetensors with a description of their network in the header.

save(Path("weights.safetensors"), module, best, {"key": "pconv", ...})
load(Path("data/base/pconv.safetensors"), module, settings)
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from stages.runtime.errors import InputError, ParamsError
from stages.runtime.files import atomic_write
from stages.training.module import InpaintingModule
from stages.training.settings import WEIGHTS, FitSettings, differing

_NETWORK, _AVERAGE = "network.", "average."


def save(path: Path, module: InpaintingModule, best: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write the best weights of the network, and those of other trained parts, such as a discriminator.

    Args:
        path: of the file.
        module: at the end of its training.
        best: weights of the network.
        about: description for the header, JSON.
    """
    beside = {name: value for name, value in module.state_dict().items() if not name.startswith((_NETWORK, _AVERAGE))}
    tensors = {**{_NETWORK + name: value for name, value in best.items()}, **beside}
    write(path, tensors, about)


def write(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write tensors, atomically."""
    contiguous = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    with atomic_write(path) as file:
        file.write(safetensors.torch.save(contiguous, {"about": json.dumps(about)}))


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read tensors and their description.

    Raises:
        InputError: the file is missing, or has no such content.
    """
    try:
        with safe_open(path, "pt") as file:
            about: dict[str, Any] = json.loads((file.metadata() or {})["about"])
            return {name: file.get_tensor(name) for name in file.keys()}, about  # noqa: SIM118 - no mapping
    except FileNotFoundError:
        raise InputError(
            f"{path}, the weights to start from, is missing; git checkout it, or set start_from: none"
        ) from None
    except (SafetensorError, KeyError, ValueError) as error:
        raise InputError(f"{path} has no weights of a training ({error}); it should be a {WEIGHTS}") from None


def load(path: Path, module: InpaintingModule, settings: FitSettings) -> None:
    """Load start weights into a module.

    Args:
        path: of the file.
        module: is modified.
        settings: of the training.

    Raises:
        InputError: the file is missing, or has no such content, or a number that is not finite.
        ParamsError: the weights belong to a network of another shape.
    """
    tensors, about = read(path)
    own = {name: value for name, value in module.state_dict().items() if not name.startswith(_AVERAGE)}
    if {name: value.shape for name, value in own.items()} != {name: value.shape for name, value in tensors.items()}:
        theirs, ours = about.get("settings", {}), settings.model_dump(mode="json")
        raise ParamsError(
            f"{path} has weights of another network: "
            + (
                ", ".join(
                    f"`{name}` {theirs.get(name, False)} instead of {ours.get(name)}"
                    for name in differing(theirs, ours)
                )
                or "its code"
            )
            + "; set the same values, or start_from: none"
        )
    broken = [name for name, value in tensors.items() if not value.isfinite().all()]
    if broken:
        raise InputError(
            f"{path} has numbers that are not finite, in {broken[0]}; take others, or set start_from: none"
        )
    with torch.no_grad():
        for name, value in own.items():
            value.copy_(tensors[name])
    if module.average is not None:
        module.average.module.load_state_dict(module.network.state_dict())
    module.is_warm = True

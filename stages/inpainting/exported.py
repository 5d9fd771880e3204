"""`model.pt2`: the model format of evaluation, registry, command line and server.

A `torch.export` program. Its input is float32 (N, 4, H, W) in [0, 1]: RGB with holes set to 0, and the hole (1 =
missing). Its output is float32 (N, 3, H, W) in [0, 1], a prediction for every pixel. N, H and W are dynamic; H and W
must be multiples of `multiple` and at least twice as large, so callers pad.

    model = load("data/models/pconv/model.pt2", device="cpu")
    prediction = model(image, hole)
"""

import io
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.export.passes import move_to_device_pass

from stages.runtime import machine
from stages.runtime.errors import InputError
from stages.runtime.files import atomic_write

SIZES = ((1, 2, 2), (3, 4, 3), (2, 2, 5))  # on which an export is checked: batch, and height and width in multiples
TOLERANCE = 1e-4
_FACTS = "facts.json"


class Restorer(nn.Module):
    """Wraps an inpainting network for export, with a single input.

    Args:
        network: maps image (N, 3, H, W), 0 in holes, and hole (N, 1, H, W) to (N, 3, H, W).
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, holed: Tensor) -> Tensor:
        """Map (N, 4, H, W) to (N, 3, H, W), both float32 in [0, 1]."""
        hole = holed[:, 3:]
        image = holed[:, :3] * (1 - hole)
        prediction: Tensor = self.network(image, hole)
        return prediction.clamp(0, 1)


class Saved(NamedTuple):
    """The exported program, and its facts including `multiple`."""

    program: torch.export.ExportedProgram
    facts: dict[str, Any]


def save(network: nn.Module, path: str | Path, levels: int, facts: dict[str, Any]) -> Saved:
    """Export a network, compare the program with it on three sizes, and write the file.

    Args:
        network: as for `Restorer`; in evaluation mode, on the CPU, float32.
        path: of `model.pt2`.
        levels: number of halvings in the network; `multiple` is 2^levels.
        facts: stored with the program (JSON), such as the model's key; `multiple` is added.

    Raises:
        InputError: the exported program's prediction differs from the network's, or is not finite.
    """
    restorer = Restorer(network).eval()
    multiple = 2**levels
    n, h, w = (torch.export.Dim(name, min=low) for name, low in (("n", 1), ("h", 2), ("w", 2)))
    inputs = (example(2, 2 * multiple, 3 * multiple),)
    with torch.no_grad():
        program = torch.export.export(restorer, inputs, dynamic_shapes=({0: n, 2: multiple * h, 3: multiple * w},))
        _check(restorer, program.module(), multiple)
    _make_reproducible(program)
    facts = {**facts, "multiple": multiple}
    memory = io.BytesIO()  # torch's own writer does not report a full disk
    torch.export.save(program, memory, extra_files={_FACTS: json.dumps(facts)})
    with atomic_write(path) as file:
        file.write(memory.getbuffer())
    return Saved(program, facts)


def _make_reproducible(program: torch.export.ExportedProgram) -> None:
    """Remove what depends on the project's folder or the process, so that equal networks give equal bytes."""
    for module in program.graph_module.modules():
        if isinstance(module, torch.fx.GraphModule):
            for node in module.graph.nodes:
                node.meta.pop("stack_trace", None)  # source lines with file paths
    ranges = program.range_constraints  # in the random order of a set
    ordered = sorted(ranges.items(), key=lambda item: str(item[0]))
    ranges.clear()
    ranges.update(ordered)


def example(n: int, h: int, w: int) -> Tensor:
    """Make a fixed random input (N, 4, H, W) for export and checks."""
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(n, 3, h, w, generator=generator)
    hole = (torch.rand(n, 1, h // 8, w // 8, generator=generator) < 0.4).float()
    hole = nn.functional.interpolate(hole, size=(h, w))
    return torch.cat([image * (1 - hole), hole], dim=1)


def _check(restorer: nn.Module, exported: nn.Module, multiple: int) -> None:
    for n, h, w in SIZES:
        holed = example(n, h * multiple, w * multiple)
        require_equal(_predict(exported, holed), _predict(restorer, holed), "exported")


def require_equal(got: Tensor, wanted: Tensor, kind: str) -> None:
    """Compare an exported model's prediction with the network's.

    Args:
        got: (N, 3, H, W), the exported model's.
        wanted: the network's.
        kind: of the export, for the message.

    Raises:
        InputError: they differ by more than 1e-4, or `got` is not finite.
    """
    error = (wanted - got).abs().max().item()
    if not error <= TOLERANCE:  # nor may it be NaN
        raise InputError(f"the {kind} model differs from the network by {error:.2g} on {tuple(got.shape)}")


def _predict(network: nn.Module, holed: Tensor) -> Tensor:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # for networks with dropout at test time, such as Pix2Pix
        prediction: Tensor = network(holed)
    return prediction


class ExportedModel:
    """A loaded `model.pt2`.

    Attributes:
        facts: stored with the program: the model's key, its settings, `multiple`.
        multiple: H and W must be multiples of it, and at least twice as large.
    """

    def __init__(self, program: Any, facts: dict[str, Any], device: str) -> None:
        # The program checks for the device on which it was exported, so moving the weights is not enough.
        self._module = move_to_device_pass(program, device).module()
        self._device = device
        self.facts = facts
        self.multiple: int = facts["multiple"]

    def __call__(self, image: Tensor, hole: Tensor) -> Tensor:
        """Predict every pixel.

        Args:
            image: (N, 3, H, W), float32 in [0, 1]; its values in holes are ignored.
            hole: (N, 1, H, W), float32, 1 where `image` is missing.

        Returns:
            (N, 3, H, W), float32 in [0, 1], on the CPU.

        Raises:
            ValueError: H or W is not a multiple of `multiple`, or too small.
        """
        h, w = image.shape[-2:]
        if h % self.multiple or w % self.multiple or min(h, w) < 2 * self.multiple:
            raise ValueError(
                f"height and width should be multiples of {self.multiple} and at least {2 * self.multiple}, "
                f"but the image is {h} x {w}; pad it"
            )
        holed = torch.cat([image.where(hole < 0.5, 0.0), hole], dim=1)
        with torch.inference_mode():
            prediction: Tensor = self._module(holed.to(self._device))
        return prediction.cpu()


def load(path: str | Path, device: str = "cpu") -> ExportedModel:
    """Load a `model.pt2` without executing code from it.

    `torch.export.load` falls back to unpickling, so a manipulated file could run code. An environment variable of torch
    turns that off for the whole process, and is set first.

    Raises:
        InputError: the file is missing, not an exported model, or contains code.
    """
    os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
    machine.keep_to_cores()
    extra: dict[str, Any] = {_FACTS: ""}
    try:
        program = torch.export.load(path, extra_files=extra)
        facts = json.loads(extra[_FACTS])
    except FileNotFoundError:
        raise InputError(f"{path} is missing; run dvc repro, or dvc pull if a remote has it") from None
    except Exception as error:
        raise InputError(f"{path} is not a model that this project can load: {error}") from None
    return ExportedModel(program, facts, device)

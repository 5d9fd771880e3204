"""The model contract: `model.pt2`, all that evaluation, registry, command line and page know of a model.

A `torch.export` program: float32 (N, 4, H, W) in [0, 1], channels RGB (holes zeroed) and hole (1 = missing), to float32
(N, 3, H, W) in [0, 1], an answer for every pixel. N, H and W are free; H and W are multiples of `multiple` and at least
twice that: callers pad.

    restorer = load("data/models/pconv/model.pt2", device="cpu")
    filled = restorer(image, hole)
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
    """Any inpainting network behind the contract's one input; this is what is exported.

    Args:
        network: called with (image, hole), (N, 3, H, W) with holes zeroed and (N, 1, H, W), returns (N, 3, H, W).
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, holed: Tensor) -> Tensor:
        """Map (N, 4, H, W) to (N, 3, H, W), both float32 in [0, 1]."""
        hole = holed[:, 3:]
        image = holed[:, :3] * (1 - hole)
        filled: Tensor = self.network(image, hole)
        return filled.clamp(0, 1)


class Saved(NamedTuple):
    """What was written: the program, and the facts with `multiple`."""

    program: torch.export.ExportedProgram
    facts: dict[str, Any]


def save(network: nn.Module, path: str | Path, levels: int, facts: dict[str, Any]) -> Saved:
    """Export a network by the contract, check the export against it on three sizes, then write it.

    Args:
        network: as for `Restorer`; in evaluation mode, on the CPU, float32.
        path: where `model.pt2` is to stand.
        levels: halvings in the network: H and W must be multiples of 2^levels.
        facts: what a reader of the file should know, JSON; `multiple` is added.

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
    memory = io.BytesIO()  # torch's own writer turns a full disk into an error that does not say so
    torch.export.save(program, memory, extra_files={_FACTS: json.dumps(facts)})
    with atomic_write(path) as file:
        file.write(memory.getbuffer())
    return Saved(program, facts)


def _make_reproducible(program: torch.export.ExportedProgram) -> None:
    """Take out what would make the bytes depend on the folder of the project or on the process."""
    for module in program.graph_module.modules():
        if isinstance(module, torch.fx.GraphModule):
            for node in module.graph.nodes:
                node.meta.pop("stack_trace", None)  # source lines with the paths of their files
    ranges = program.range_constraints  # of the sizes; their order comes from a set
    ordered = sorted(ranges.items(), key=lambda item: str(item[0]))
    ranges.clear()
    ranges.update(ordered)


def example(n: int, h: int, w: int) -> Tensor:
    """Draw an input (N, 4, H, W) to export and to check by, always the same."""
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(n, 3, h, w, generator=generator)
    hole = (torch.rand(n, 1, h // 8, w // 8, generator=generator) < 0.4).float()
    hole = nn.functional.interpolate(hole, size=(h, w))
    return torch.cat([image * (1 - hole), hole], dim=1)


def _check(restorer: nn.Module, exported: nn.Module, multiple: int) -> None:
    for n, h, w in SIZES:
        holed = example(n, h * multiple, w * multiple)
        require_equal(_answer(exported, holed), _answer(restorer, holed), "exported")


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


def _answer(network: nn.Module, holed: Tensor) -> Tensor:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # of a network that drops out at test time, as Pix2Pix may
        answer: Tensor = network(holed)
    return answer


class ExportedModel:
    """A loaded `model.pt2`.

    Attributes:
        facts: what was written beside the program: the model's key, its settings, `multiple`.
        multiple: H and W are multiples of this, and at least twice it.
    """

    def __init__(self, program: Any, facts: dict[str, Any], device: str) -> None:
        # The program names the device it was exported on in its own checks, which moving the weights alone would fail.
        self._module = move_to_device_pass(program, device).module()
        self._device = device
        self.facts = facts
        self.multiple: int = facts["multiple"]

    def __call__(self, image: Tensor, hole: Tensor) -> Tensor:
        """Answer for every pixel.

        Args:
            image: (N, 3, H, W), float32 in [0, 1]; what stands in its holes is ignored.
            hole: (N, 1, H, W), float32, 1 where `image` is missing.

        Returns:
            (N, 3, H, W), float32 in [0, 1], on the CPU.

        Raises:
            ValueError: H or W is not a multiple of `multiple`, or less than twice it.
        """
        h, w = image.shape[-2:]
        if h % self.multiple or w % self.multiple or min(h, w) < 2 * self.multiple:
            raise ValueError(
                f"height and width should be multiples of {self.multiple} and at least {2 * self.multiple}, "
                f"but the image is {h} x {w}; pad it"
            )
        holed = torch.cat([image.where(hole < 0.5, 0.0), hole], dim=1)
        with torch.inference_mode():
            filled: Tensor = self._module(holed.to(self._device))
        return filled.cpu()


def load(path: str | Path, device: str = "cpu") -> ExportedModel:
    """Load a `model.pt2` without letting it run code of its own.

    `torch.export.load` falls back to a full unpickling, so a doctored file would run code; torch's own switch
    turns that off for the whole process, and is set first.

    Raises:
        InputError: the file is missing, no exported model, or tries to bring code along.
    """
    os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
    machine.keep_to_cores()
    extra: dict[str, Any] = {_FACTS: ""}
    try:
        program = torch.export.load(path, extra_files=extra)
        facts = json.loads(extra[_FACTS])
    except FileNotFoundError:
        raise InputError(f"{path} is missing; run dvc repro, or dvc pull where a remote holds it") from None
    except Exception as error:
        raise InputError(f"{path} is not a model that this project can load: {error}") from None
    return ExportedModel(program, facts, device)

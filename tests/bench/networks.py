"""A training step of each network, in units of what it is compared with, side by side in one process.

    python -m tests.bench.networks            # minutes; on the GPU where there is one

The rivals are written here from their rules: the partial convolution with a mask for every channel, as public code has
it, and Pix2Pix's step as the reference has it: contiguous tensors and one kernel a parameter in the optimiser.
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stages.imaging import features
from stages.pconv.losses import Weights, loss_terms
from stages.pconv.network import PartialConv, PConvUNet
from stages.pix2pix.losses import discriminator_loss, judge, l1
from stages.pix2pix.network import Generator, PatchDiscriminator, condition, to_signed
from stages.runtime import machine

WARM_UP, ROUNDS = 2, 5
ON_GPU = 40  # rounds there, where a step takes milliseconds
WIDTH, LEVELS = 64, 7

Step = Callable[[], None]


class MultiChannelUNet(nn.Module):
    """The same U-Net with the mask as wide as the features and summed by a convolution of ones, as public code does."""

    def __init__(self, width: int, levels: int) -> None:
        super().__init__()
        self.unet = PConvUNet(width, levels)
        layers: Iterator[PartialConv] = (m for m in self.unet.modules() if isinstance(m, PartialConv))
        for number, layer in enumerate(layers):
            self.register_buffer(f"ones{number}", torch.ones_like(layer.conv.weight))

    def forward(self, image: Tensor, hole: Tensor) -> Tensor:
        x, mask, number, skips = image, (1 - hole).expand_as(image), 0, []
        for layer in self.unet.encoder:
            skips.append((x, mask))
            x, mask = self._layer(layer, number, x, mask)
            number += 1
        for layer in self.unet.decoder:
            skipped, skipped_mask = skips.pop()
            x = torch.cat([F.interpolate(x, scale_factor=2.0), skipped], 1)
            mask = torch.cat([F.interpolate(mask, scale_factor=2.0), skipped_mask], 1)
            x, mask = self._layer(layer, number, x, mask)
            number += 1
        return x

    def _layer(self, layer: PartialConv, number: int, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        conv, ones = layer.conv, getattr(self, f"ones{number}")
        with torch.no_grad():
            total = F.conv2d(mask, ones, None, conv.stride, conv.padding)
            known = total.clamp(0, 1)
            ratio = ones[0].numel() / (total + 1e-8) * known
        raw = F.conv2d(x * mask, conv.weight, conv.bias, conv.stride, conv.padding)
        if conv.bias is not None:
            bias = conv.bias.view(1, -1, 1, 1)
            raw = ((raw - bias) * ratio + bias) * known
        else:
            raw = raw * ratio
        return layer._activate(raw), known


def pictures(batch: int, size: int) -> tuple[Tensor, Tensor]:
    """Random targets, and holes of a quarter of each side, on the device."""
    target = torch.rand(batch, 3, size, size, device=machine.device()).to(memory_format=torch.channels_last)
    hole = torch.zeros(batch, 1, size, size, device=machine.device())
    hole[..., size // 4 : size // 2, size // 4 : size // 2] = 1
    return target, hole


def unet_step(
    network: nn.Module, size: int, batch: int, half: bool, weights: Weights, channels_last: bool = True
) -> Step:
    """Return a function that trains a U-Net for one step."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    network = network.to(machine.device()).to(memory_format=layout)
    optimizer = torch.optim.Adam(network.parameters(), fused=True)
    target, hole = pictures(batch, size)
    target = target.contiguous(memory_format=layout)
    extractor = features.load("efficientnet_lite0").to(machine.device()) if weights.perceptual else None

    def step() -> None:
        with torch.autocast(target.device.type, torch.bfloat16, enabled=half):
            filled = network(target * (1 - hole), hole)
            loss = loss_terms(filled, target, hole, weights, extractor)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def pix2pix_step(size: int, batch: int, half: bool, as_published: bool) -> Step:
    """Return a function that trains Pix2Pix for one step."""
    layout = torch.contiguous_format if as_published else torch.channels_last
    generator, judges = (
        n.to(machine.device()).to(memory_format=layout) for n in (Generator(WIDTH, LEVELS), PatchDiscriminator(WIDTH))
    )
    optimizers = [
        torch.optim.Adam(n.parameters(), 2e-4, (0.5, 0.999), fused=not as_published) for n in (generator, judges)
    ]
    target, hole = pictures(batch, size)
    target = target.contiguous(memory_format=layout)

    def step() -> None:
        with torch.autocast(target.device.type, torch.bfloat16, enabled=half):
            image = target * (1 - hole)
            known, real = condition(image, hole), to_signed(target)
            filled = generator(image, hole)
            fake = to_signed(filled)
            loss_d = discriminator_loss(judges(known, real), judges(known, fake.detach()), "vanilla")
        optimizers[1].zero_grad()
        loss_d.backward()
        optimizers[1].step()
        judges.requires_grad_(False)
        with torch.autocast(target.device.type, torch.bfloat16, enabled=half):
            loss = judge(judges(known, fake), True, "vanilla") + 100 * l1(filled.float(), target)
        optimizers[0].zero_grad()
        loss.backward()
        optimizers[0].step()
        judges.requires_grad_(True)

    return step


def in_turn(steps: dict[str, Step]) -> dict[str, float]:
    """Time steps in turn, several rounds: the median seconds of each."""
    for step in steps.values():
        for _ in range(WARM_UP):
            step()
    taken: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(ON_GPU if machine.device().startswith("cuda") else ROUNDS):
        for name, step in steps.items():
            _wait()
            start = time.perf_counter()
            step()
            _wait()
            taken[name].append(time.perf_counter() - start)
    return {name: statistics.median(times) for name, times in taken.items()}


def _wait() -> None:
    if machine.device().startswith("cuda"):
        torch.cuda.synchronize()


def partial_against_others(size: int, batch: int) -> None:
    """The partial U-Net against its plain twin and against masks of many channels."""
    half, l1_only = machine.precision() == "bf16-mixed", Weights(perceptual=0, style=0)
    kinds: dict[str, Callable[[], nn.Module]] = {
        "plain": lambda: PConvUNet(WIDTH, LEVELS, partial=False),
        "partial": lambda: PConvUNet(WIDTH, LEVELS),
        "many channels": lambda: MultiChannelUNet(WIDTH, LEVELS),
    }
    taken = in_turn({name: unet_step(make(), size, batch, half, l1_only) for name, make in kinds.items()})
    memory = {name: _peak_mib(name, size, batch) for name in kinds}
    for name in ("partial", "many channels"):
        _line(f"U-Net, {name}, {batch} of {size} px", taken[name], taken["plain"], "the plain twin")
        print(f"{'':40} peak memory {memory[name] / memory['plain']:.2f} x the plain twin's {memory['plain']:.0f} MiB")
    print(f"{'':40} partial is {taken['many channels'] / taken['partial']:.2f} x as fast as many channels", flush=True)


def _peak_mib(name: str, size: int, batch: int) -> float:
    """Peak memory of three steps in a process of their own, less what the imports take."""
    code = f"from tests.bench import networks; networks.print_peak({name!r}, {size}, {batch})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout)


def print_peak(name: str, size: int, batch: int) -> None:
    """Print how many MiB three steps of one kind take."""
    make = {"plain": lambda: PConvUNet(WIDTH, LEVELS, partial=False), "partial": lambda: PConvUNet(WIDTH, LEVELS)}
    before = _greatest_mib()
    network = make[name]() if name in make else MultiChannelUNet(WIDTH, LEVELS)
    step = unet_step(network, size, batch, machine.precision() == "bf16-mixed", Weights(perceptual=0, style=0))
    for _ in range(3):
        step()
    if machine.device().startswith("cuda"):
        print(torch.cuda.max_memory_allocated() / 2**20)
    else:
        print(_greatest_mib() - before)


def _greatest_mib() -> float:
    """Return the most memory that this process ever held; Linux counts that of its parent to `ru_maxrss`."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def options(size: int, batch: int) -> None:
    """What memory layout, half precision, the compiler and the perceptual terms do to the step of the partial U-Net."""
    l1_only, whole = Weights(perceptual=0, style=0), Weights()
    variants: dict[str, Step] = {
        "channels_last": unet_step(PConvUNet(WIDTH, LEVELS), size, batch, False, l1_only),
        "contiguous": unet_step(PConvUNet(WIDTH, LEVELS), size, batch, False, l1_only, channels_last=False),
        "bf16": unet_step(PConvUNet(WIDTH, LEVELS), size, batch, True, l1_only),
        "perceptual and style": unet_step(PConvUNet(WIDTH, LEVELS), size, batch, False, whole),
    }
    try:
        compiled = torch.compile(PConvUNet(WIDTH, LEVELS))
        variants["torch.compile"] = unet_step(compiled, size, batch, False, l1_only)
        variants["torch.compile"]()
    except Exception as error:  # it needs a C++ compiler
        variants.pop("torch.compile", None)
        print(f"torch.compile does not work here: {type(error).__name__}")
    taken = in_turn(variants)
    for name in list(variants)[1:]:
        _line(f"partial U-Net, {name}, {size} px", taken[name], taken["channels_last"], "channels_last in float32")
    share = 1 - taken["channels_last"] / taken["perceptual and style"]
    print(f"{'':40} the perceptual pass is {100 * share:.0f} % of the step", flush=True)


def pix2pix(size: int, batch: int) -> None:
    """Pix2Pix's step against the same maths as published, in float32."""
    variants = {
        "as published": pix2pix_step(size, batch, half=False, as_published=True),
        "ours": pix2pix_step(size, batch, half=False, as_published=False),
        "ours, bf16": pix2pix_step(size, batch, half=True, as_published=False),
    }
    taken = in_turn(variants)
    for name in ("ours", "ours, bf16"):
        _line(f"Pix2Pix, {name}, {size} px", taken[name], taken["as published"], "as published")


def _line(what: str, seconds: float, against: float, rival: str) -> None:
    print(f"{what:40} {1000 * seconds:6.0f} ms a step, {seconds / against:.2f} x {rival}", flush=True)


def main() -> None:
    """Print a line a measurement."""
    machine.keep_freed_memory()  # as a training does
    on_gpu = machine.device().startswith("cuda")
    print(f"width {WIDTH}, {LEVELS} levels, on {machine.describe()['gpu' if on_gpu else 'processor']}")
    for size, batch in ((128, 16), (256, 16), (256, 64)) if on_gpu else ((128, 4), (256, 2)):
        partial_against_others(size, batch)
    size, batch = (256, 16) if on_gpu else (128, 4)
    options(size, batch)
    pix2pix(size, batch)


if __name__ == "__main__":
    main()

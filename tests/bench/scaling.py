"""Measure which share of a training step is spent waiting for communication, by torch's profiler.

python -m torch.distributed.run --standalone --nproc-per-node 2 -m tests.bench.scaling    # or 1; prints a row
"""

import time
from collections.abc import Iterable

import torch
import yaml
from torch.profiler import ProfilerActivity, profile

from stages.pconv.module import PConvModule, PConvSettings
from stages.runtime import machine
from stages.training import loop
from stages.training.dataset import Batch

WARM_UP, STEPS = 3, 5
COMMUNICATION = ("gloo:", "nccl", "c10d::")
Interval = tuple[float, float]


def union(intervals: Iterable[Interval]) -> list[Interval]:
    """Merge intervals that overlap."""
    merged: list[Interval] = []
    for start, end in sorted(intervals):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def length(intervals: list[Interval]) -> float:
    """Return how long intervals that do not overlap are together."""
    return sum(end - start for start, end in intervals)


def main() -> None:
    """Train the default network with the default batch, and print seconds a step and shares of them."""
    machine.keep_to_cores()
    fabric = loop.make_fabric()
    with open("params.yaml", encoding="utf-8") as file:  # noqa: PTH123 - one line
        params = yaml.safe_load(file)
    settings = PConvSettings(**params["train"]["pconv"])
    module = PConvModule(settings)
    module.setup(fabric)
    module.train()
    size, count = params["tile_size"], settings.batch_size // fabric.world_size
    hole = torch.zeros(count, 1, size, size, dtype=torch.uint8)
    hole[..., size // 4 : size // 2, size // 4 : size // 2] = 1
    target = torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8).to(memory_format=torch.channels_last)
    batch: Batch = {"target": fabric.to_device(target), "hole": fabric.to_device(hole), "step": 0}
    for _ in range(WARM_UP):
        module.fit_batch(batch)
    cuda = fabric.device.type == "cuda"
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]) as profiler:
        start = time.perf_counter()
        for _ in range(STEPS):
            module.fit_batch(batch)
        if cuda:
            torch.cuda.synchronize()
        whole = time.perf_counter() - start
    kind = torch.autograd.DeviceType.CUDA if cuda else torch.autograd.DeviceType.CPU
    events = [event for event in profiler.events() or [] if event.device_type == kind]
    spans = [(event.time_range.start, event.time_range.end, event.name.startswith(COMMUNICATION)) for event in events]
    talk = union((start, end) for start, end, talks in spans if talks)
    work = union((start, end) for start, end, talks in spans if not talks)
    waits = length(union(talk + work)) - length(work)  # communication beside which nothing else is done
    bytes_sent = sum(4 * each.numel() for each in module.network.parameters())
    if fabric.is_global_zero:
        print(
            f"{fabric.world_size} processes: {whole / STEPS:.2f} s a step, {length(talk) / 1e6 / whole:.1%} of it "
            f"communicating, {waits / 1e6 / whole:.1%} waiting for communication alone, "
            f"{bytes_sent / 2**20:.1f} MiB of gradients"
        )


if __name__ == "__main__":
    main()

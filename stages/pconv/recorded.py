"""Many small kernels launched as one: a CUDA graph of a computation without gradients.

On a GPU the pyramid of known maps takes hundreds of kernels of microseconds, which cost more to launch than to run.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

_WARM_UP = 2


class Recorded:
    """Replays a function of one tensor, recorded once for each shape and each type of its answer."""

    def __init__(self) -> None:
        self._graphs: dict[Any, tuple[Any, Tensor, Tensor, list[torch.Size]]] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> "Recorded":
        """A copied network records its own."""
        return Recorded()

    def __call__(self, function: Callable[[Tensor], list[Tensor]], given: Tensor, dtype: torch.dtype) -> list[Tensor]:
        """Return what `function(given)` returns, converted.

        Args:
            function: always the same one; launches kernels and never looks at a value.
            given: on a CUDA device.
            dtype: of the tensors in the answer.
        """
        key = (given.shape, given.device, dtype)
        if key not in self._graphs:
            self._graphs[key] = _record(function, given, dtype)
        graph, place, answer, shapes = self._graphs[key]
        place.copy_(given)
        graph.replay()
        parts = torch.split(
            answer.clone(), [shape.numel() for shape in shapes]
        )  # the next replay overwrites the answer
        return [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]


def _record(
    function: Callable[[Tensor], list[Tensor]], given: Tensor, dtype: torch.dtype
) -> tuple[Any, Tensor, Tensor, list[torch.Size]]:
    place = given.clone()
    aside = torch.cuda.Stream(given.device)  # type: ignore[no-untyped-call]
    aside.wait_stream(torch.cuda.current_stream(given.device))
    with torch.cuda.stream(aside):
        for _ in range(_WARM_UP):
            function(place)
    torch.cuda.current_stream(given.device).wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    # Other threads may go on meanwhile: the loader's pins memory.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        made = function(place)
        answer = torch.cat([one.reshape(-1) for one in made]).to(dtype)
    return graph, place, answer, [one.shape for one in made]

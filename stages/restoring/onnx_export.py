"""An exported model as `model.onnx`: the same contract for machines without torch.

    convert(exported.save(network, "model.pt2", levels, facts), "model.onnx")

What stands beside the program there stands in the metadata here.
"""

import json
import logging
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stages.restoring.exported import Saved, example
from stages.restoring.onnx_model import FACTS, INPUT, OUTPUT
from stages.running.errors import InputError
from stages.running.files import atomic_write

SIZES = ((1, 2, 2), (3, 4, 3), (2, 2, 5))  # batch, and height and width in multiples
TOLERANCE = 1e-4


def convert(saved: Saved, path: str | Path) -> None:
    """Convert an exported model, compare ONNX Runtime's answers with torch's, then write the file.

    Args:
        saved: what stands in `model.pt2`. A network that drops out at test time is converted without: answers
            that are drawn anew each time cannot be compared.
        path: where `model.onnx` is to stand.

    Raises:
        InputError: ONNX Runtime answers otherwise than torch, or not with finite numbers.
    """
    program, facts = saved
    for node in program.graph.nodes:
        if node.target is torch.ops.aten.dropout.default:
            node.args = (*node.args[:2], False)
    torch_model = program.module()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside the exporter
        converted = torch.onnx.export(program, dynamo=True, verbose=False, input_names=[INPUT], output_names=[OUTPUT])
    proto = converted.model_proto  # type: ignore[union-attr]
    _make_reproducible(proto.graph)
    proto.metadata_props.add(key=FACTS, value=json.dumps(facts))
    content = proto.SerializeToString(deterministic=True)
    _check(torch_model, content, facts["multiple"])
    with atomic_write(path) as file:
        file.write(content)


def _make_reproducible(graph: Any) -> None:
    """Take out what names source lines and symbols that differ between processes."""
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    graph.ClearField("value_info")
    for value in (*graph.input, *graph.output):
        for axis, dim in zip("nchw", value.type.tensor_type.shape.dim, strict=True):
            if dim.HasField("dim_param"):
                dim.dim_param = axis


def _check(torch_model: nn.Module, content: bytes, multiple: int) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    for n, h, w in SIZES:
        for holed in _cases(example(n, h * multiple, w * multiple), multiple):
            with torch.no_grad():
                wanted = torch_model(holed)
            got = torch.from_numpy(session.run(None, {INPUT: holed.numpy()})[0])
            if not torch.isfinite(got).all():
                raise InputError(f"the ONNX model answers {tuple(holed.shape)} with numbers that are not finite")
            error = (wanted - got).abs().max().item()
            if error > TOLERANCE:
                raise InputError(f"the ONNX model differs from the network by {error:.2g} on {tuple(holed.shape)}")


def _cases(holed: Tensor, multiple: int) -> list[Tensor]:
    """Return the picture with the example's holes, none, one along an edge, and nothing but hole."""
    picture = torch.rand(holed[:, :3].shape, generator=torch.Generator().manual_seed(1))
    whole, edge = torch.zeros_like(holed[:, 3:]), torch.zeros_like(holed[:, 3:])
    edge[..., :multiple] = 1
    return [holed, *(torch.cat([picture * (1 - hole), hole], dim=1) for hole in (whole, edge, torch.ones_like(whole)))]

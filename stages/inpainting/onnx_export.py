"""Export of a network as `model.onnx`, with the interface of `model.pt2`, for machines without torch.

    export(network, exported.save(network, "model.pt2", levels, facts), "model.onnx")

Facts are stored in the metadata. torch's older, tracing exporter is used: for dynamic sizes the newer one takes minutes
instead of seconds.
"""

import json
import warnings
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stages.inpainting.exported import SIZES, Restorer, Saved, example, require_equal
from stages.inpainting.onnx_model import FACTS, INPUT, OUTPUT, WITHOUT_DROPOUT
from stages.runtime.files import atomic_write

_OPSET = 18


def export(network: nn.Module, saved: Saved, path: str | Path) -> None:
    """Convert a network, compare ONNX Runtime's predictions with those of its exported program, and write the file.

    Args:
        network: as for `exported.save`. Dropout at test time is left out, since random predictions cannot be compared;
            the fact `WITHOUT_DROPOUT` records that.
        saved: the result of `exported.save` for the same network.
        path: of `model.onnx`.

    Raises:
        InputError: ONNX Runtime's prediction differs from torch's, or is not finite.
    """
    program, facts = saved
    dropouts = [node for node in program.graph.nodes if node.target is torch.ops.aten.dropout.default]
    if any(node.args[2] for node in dropouts):
        facts = {**facts, WITHOUT_DROPOUT: True}
    for node in dropouts:
        node.args = (*node.args[:2], False)
    content = _converted(Restorer(network).eval(), facts)
    _check(program.module(), content, facts["multiple"])
    with atomic_write(path) as file:
        file.write(content)


def _converted(restorer: nn.Module, facts: dict[str, Any]) -> bytes:
    import onnx

    free = {0: "n", 2: "h", 3: "w"}
    multiple = facts["multiple"]
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the older exporter
        torch.onnx.export(
            restorer,
            (example(2, 2 * multiple, 3 * multiple),),
            traced := BytesIO(),  # type: ignore[arg-type]
            dynamo=False,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_axes={INPUT: free, OUTPUT: free},
            opset_version=_OPSET,
        )
    model = onnx.load_from_string(traced.getvalue())
    for node in model.graph.node:
        node.ClearField("doc_string")  # source lines with file paths
        if node.op_type == "Dropout":
            del node.input[1:]  # without ratio and mode it is the identity
    model.metadata_props.add(key=FACTS, value=json.dumps(facts))
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _check(torch_model: nn.Module, content: bytes, multiple: int) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    for n, h, w in SIZES:
        for holed in _cases(example(n, h * multiple, w * multiple), multiple):
            with torch.no_grad():
                wanted = torch_model(holed)
            require_equal(torch.from_numpy(session.run(None, {INPUT: holed.numpy()})[0]), wanted, "ONNX")


def _cases(holed: Tensor, multiple: int) -> list[Tensor]:
    """Return pictures with the example's holes, no hole, a hole along an edge, and all missing."""
    picture = torch.rand(holed[:, :3].shape, generator=torch.Generator().manual_seed(1))
    whole, edge = torch.zeros_like(holed[:, 3:]), torch.zeros_like(holed[:, 3:])
    edge[..., :multiple] = 1
    return [holed, *(torch.cat([picture * (1 - hole), hole], dim=1) for hole in (whole, edge, torch.ones_like(whole)))]

"""A loaded `model.onnx`: the contract of `exported`, by ONNX Runtime, without torch.

network = load("data/models/pconv/model.onnx")
filled = network(holed)                           # float32 (N, 4, H, W) to (N, 3, H, W)
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stages.runtime.errors import InputError
from stages.runtime.machine import cores

INPUT, OUTPUT = "holed", "filled"
FACTS = "facts.json"  # the key of the metadata that holds them
WITHOUT_DROPOUT = "without_dropout"  # the fact that the model has none here, but was trained to have it at test time

Floats = npt.NDArray[np.float32]


class OnnxModel:
    """Answers on the CPU.

    Attributes:
        facts: what was written beside the network: the model's key, its settings, `multiple`.
    """

    def __init__(self, session: Any, facts: dict[str, Any]) -> None:
        self._session = session
        self.facts = facts

    def __call__(self, holed: Floats) -> Floats:
        """Answer for every pixel: (N, 4, H, W) to (N, 3, H, W), float32 in [0, 1]."""
        (filled,) = self._session.run([OUTPUT], {INPUT: holed})
        answer: Floats = filled
        return answer


def load(path: str | Path) -> OnnxModel:
    """Load a `model.onnx`; it is data, and runs no code of its own.

    Raises:
        InputError: the file is missing, or no model of this project.
    """
    import onnxruntime

    if not Path(path).is_file():
        raise InputError(f"{path} is missing; dvc repro writes it beside model.pt2, and dvc pull fetches it")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cores()
    options.log_severity_level = 3  # what is wrong comes as an exception, too
    options.enable_cpu_mem_arena = False  # it would keep the memory of the largest crop for good
    try:
        content = Path(path).read_bytes()  # so that a model cannot name other files to be read
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        facts = json.loads(session.get_modelmeta().custom_metadata_map[FACTS])
    except Exception as error:
        raise InputError(f"{path} is not an ONNX model that this project exported: {error}") from None
    return OnnxModel(session, facts)

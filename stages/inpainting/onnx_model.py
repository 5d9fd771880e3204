"""`model.onnx`, run by ONNX Runtime without torch; same input and output as `exported`.

network = load("data/models/pconv/model.onnx")
prediction = network(holed)                       # float32 (N, 4, H, W) to (N, 3, H, W)
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stages.runtime.errors import InputError
from stages.runtime.machine import cores

INPUT, OUTPUT = "holed", "filled"  # part of the file format, so not renamed
FACTS = "facts.json"  # key in the metadata
WITHOUT_DROPOUT = "without_dropout"  # the fact that dropout at test time was left out

Floats = npt.NDArray[np.float32]


class OnnxModel:
    """A loaded model; runs on the CPU.

    Attributes:
        facts: stored with the network: the model's key, its settings, `multiple`.
    """

    def __init__(self, session: Any, facts: dict[str, Any]) -> None:
        self._session = session
        self.facts = facts

    def __call__(self, holed: Floats) -> Floats:
        """Predict every pixel: (N, 4, H, W) to (N, 3, H, W), float32 in [0, 1]."""
        prediction: Floats = self._session.run([OUTPUT], {INPUT: holed})[0]
        return prediction


def load(path: str | Path) -> OnnxModel:
    """Load a `model.onnx`, which contains no code.

    Raises:
        InputError: the file is missing, or not a model of this project.
    """
    import onnxruntime

    if not Path(path).is_file():
        raise InputError(f"{path} is missing; dvc repro writes it beside model.pt2, and dvc pull fetches it")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cores()
    options.log_severity_level = 3  # errors are raised, too
    options.enable_cpu_mem_arena = False  # it would keep the memory of the largest crop
    try:
        content = Path(path).read_bytes()  # so that a model cannot refer to other files
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        facts = json.loads(session.get_modelmeta().custom_metadata_map[FACTS])
    except Exception as error:
        raise InputError(f"{path} is not an ONNX model that this project exported: {error}") from None
    return OnnxModel(session, facts)

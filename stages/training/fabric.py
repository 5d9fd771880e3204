"""Lightning Fabric, imported without torchmetrics.

Fabric imports torchmetrics, and with it torchvision and half of SciPy, only to compare its version for a callback that
nothing here uses. That takes 2 of the 5 seconds until a training begins.
"""

import sys

_hidden = "torchmetrics" not in sys.modules
if _hidden:
    sys.modules["torchmetrics"] = None  # type: ignore[assignment]  # makes `import torchmetrics` an ImportError

from lightning_fabric import Fabric  # noqa: E402
from lightning_fabric.plugins.environments.lightning import LightningEnvironment  # noqa: E402
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment  # noqa: E402
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment  # noqa: E402

if _hidden:
    del sys.modules["torchmetrics"]

__all__ = ["Fabric", "LightningEnvironment", "SLURMEnvironment", "TorchElasticEnvironment"]

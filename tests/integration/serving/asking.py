"""A server in this process, and what its clients send it."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO

import numpy as np
import psutil
from fastapi.testclient import TestClient
from PIL import Image

from stages.serving.app import create_app
from stages.serving.limits import Limits
from stages.serving.model_manager import ModelManager
from stages.serving.request_guard import Access
from tests.tracked import wait_for

H, W = 120, 180
HOSTS = ["testserver"]
LIMITS = Limits(max_bytes=300_000, max_megapixels=0.5, timeout_s=10, queue=1)


def png(array: np.ndarray, **options: object) -> bytes:
    Image.fromarray(array).save(content := BytesIO(), "PNG", **options)
    return content.getvalue()


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(content)))


NOISE = np.random.default_rng(0).integers(0, 256, (H, W, 3), np.uint8)
ROWS, COLUMNS = np.mgrid[0:H, 0:W]
PHOTO = np.stack([COLUMNS, 2 * ROWS, ROWS + COLUMNS], axis=2).astype(np.uint8)
MISSING = np.zeros((H, W), bool)
MISSING[40:60, 70:110] = True
HOLE = png(np.where(MISSING, 255, 0).astype(np.uint8))


def ask(client: TestClient, image: bytes = png(PHOTO), hole: bytes | None = HOLE, **form: object):
    files = {"image": ("photo.png", image)} | ({"hole": ("hole.png", hole)} if hole else {})
    return client.post("/v1/inpaint", files=files, data=form)


@contextmanager
def server(limits: Limits, *models: str, access: Access = Access(HOSTS), root_path: str = "") -> Iterator[TestClient]:  # noqa: B008
    served = ModelManager([*models] or ["telea"], None, 60, limits)
    served.load_first()
    with TestClient(create_app(served, limits, access), raise_server_exceptions=False, root_path=root_path) as client:
        wait_for(lambda: len(served.names()) == (len(models) or 1), 30)
        yield client


def process(client: TestClient) -> psutil.Process:
    """The process that decodes and fills."""
    return psutil.Process(client.app.state.served.worker()._process.pid)

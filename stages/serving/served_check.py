"""`inpaint model serve-check`: serve a registered version with MLflow's server, and compare one answer.

    differing = check(versions.resolve("models:/inpaint-pconv@champion"))

It shows what users see who load the model from the registry without this project.
"""

import base64
import io
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from stages.inpainting import inpainter
from stages.inpainting.cropping import Settings
from stages.runtime.errors import InputError
from stages.tracking import registry, store, versions
from stages.tracking.versions import Version

PATIENCE_S = 300.0  # for the server to start
_LAST_LINES = 15  # of its output, for an error message

Pixels = npt.NDArray[np.uint8]


def check(version: Version, patience_s: float = PATIENCE_S) -> int:
    """Serve a version with `mlflow models serve`, without pickle, and compare its answer with this library's.

    Args:
        version: of a registered model.
        patience_s: seconds that the server has to start.

    Returns:
        the largest difference of a pixel, of 255; 0 is expected.

    Raises:
        InputError: the server does not start or does not answer with a picture; the message has its last output.
        TrackingError: MLflow cannot be reached.
    """
    example = registry.input_example()
    with _serving(version, patience_s) as (port, log):
        served = _ask(port, example.to_dict(orient="split", index=False), log)
    image, hole = (_pixels(example[column][0]) for column in ("image", "hole"))
    with versions.fetched(version) as folder:
        own, _ = inpainter.load(folder, "cpu")(image, hole > 0, Settings())
    if served.shape != own.shape:
        raise InputError(f"the server answered with a picture of shape {served.shape} instead of {own.shape}")
    return int(np.abs(served.astype(int) - own.astype(int)).max())


@contextmanager
def _serving(version: Version, patience_s: float) -> Iterator[tuple[int, IO[bytes]]]:
    """Run the server until the block ends, however it ends."""
    port = _free_port()
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", f"models:/{version.name}/{version.number}"]
    environment = os.environ | {
        "MLFLOW_TRACKING_URI": store.uri(),
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
    }
    with tempfile.TemporaryFile() as log, tempfile.TemporaryDirectory() as elsewhere:
        server = subprocess.Popen(
            [*command, "--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)],
            cwd=elsewhere, env=environment, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        try:
            _wait(server, port, patience_s, log)
            yield port, log
        finally:
            _end(server)


def _end(server: subprocess.Popen[bytes]) -> None:
    for how in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):  # the whole group may have ended
            os.killpg(server.pid, how)
        with suppress(subprocess.TimeoutExpired):
            server.wait(10)


def _wait(server: subprocess.Popen[bytes], port: int, patience_s: float, log: IO[bytes]) -> None:
    until = time.monotonic() + patience_s
    while time.monotonic() < until:
        if server.poll() is not None:
            raise InputError(f"mlflow models serve ended with exit code {server.returncode}:\n{_last_lines(log)}")
        with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5):
            return
        time.sleep(0.3)
    raise InputError(f"mlflow models serve did not start within {patience_s:.0f} s:\n{_last_lines(log)}")


def _ask(port: int, table: dict[str, Any], log: IO[bytes]) -> Pixels:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/invocations",
        json.dumps({"dataframe_split": table}).encode(),
        {"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:  # noqa: S310 - the URL above is http
            return _pixels(json.load(answer)["predictions"][0]["composite"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise InputError(f"mlflow models serve did not answer with a picture ({error}):\n{_last_lines(log)}") from None


def _pixels(text: str) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


def _last_lines(log: IO[bytes]) -> str:
    log.seek(0)
    return "\n".join(log.read().decode(errors="replace").splitlines()[-_LAST_LINES:])


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])

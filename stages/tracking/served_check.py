"""`inpaint model serve-check`: serve a registered version with MLflow's server, and compare one answer.

    differing = check(versions.resolve("models:/inpaint-pconv@champion"))

It shows what users see who load the model from the registry without this project.
"""

import base64
import io
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Timer
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
        patience_s: seconds that the server has to start, and again to answer.

    Returns:
        the largest difference of a pixel, of 255; 0 is expected.

    Raises:
        InputError: the server does not start or does not answer with a picture; the message has its last output.
    """
    example = registry.input_example()
    with _serving(version, patience_s) as (client, log):
        try:
            served = _pixels(client.invoke(example)["predictions"][0]["composite"])
        except Exception as error:  # the client raises plain exceptions
            raise InputError(
                f"mlflow models serve did not answer with a picture ({error}):\n{_last_lines(log)}"
            ) from None
    image, hole = (_pixels(example[column][0]) for column in ("image", "hole"))
    with versions.fetched(version) as folder:
        own, _ = inpainter.load(folder, "cpu")(image, hole > 0, Settings())
    if served.shape != own.shape:
        raise InputError(f"the server answered with a picture of shape {served.shape} instead of {own.shape}")
    return int(np.abs(served.astype(int) - own.astype(int)).max())


@contextmanager
def _serving(version: Version, patience_s: float) -> Iterator[tuple[Any, IO[bytes]]]:
    """Run the server until the block ends, and yield MLflow's client for it and its output."""
    with store.reached():  # MLflow warns at its import
        from mlflow.pyfunc.scoring_server.client import ScoringServerClient

        store.connect()
        address = store.uri()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", version.uri]
    environment = os.environ | {
        "MLFLOW_TRACKING_URI": address,
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
    }
    with tempfile.TemporaryFile() as log, tempfile.TemporaryDirectory() as elsewhere:
        server = subprocess.Popen(
            [*command, "--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)],
            cwd=elsewhere, env=environment, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        try:
            client: Any = ScoringServerClient("127.0.0.1", port)  # type: ignore[no-untyped-call]
            try:
                with _ended_after(patience_s, server):
                    client.wait_server_ready(patience_s, server)
            except RuntimeError as error:
                raise InputError(f"mlflow models serve did not start ({error}):\n{_last_lines(log)}") from None
            with _ended_after(patience_s, server):
                yield client, log
        finally:
            _end(server)


@contextmanager
def _ended_after(seconds: float, server: subprocess.Popen[bytes]) -> Iterator[None]:
    """End the server if the block takes longer: MLflow's client waits for answers without a timeout."""
    timer = Timer(seconds, _end, [server])
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _end(server: subprocess.Popen[bytes]) -> None:
    for how in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):  # the whole group may have ended
            os.killpg(server.pid, how)
        with suppress(subprocess.TimeoutExpired):
            server.wait(10)


def _pixels(text: str) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


def _last_lines(log: IO[bytes]) -> str:
    log.seek(0)
    return "\n".join(log.read().decode(errors="replace").splitlines()[-_LAST_LINES:])

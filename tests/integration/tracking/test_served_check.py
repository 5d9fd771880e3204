"""What is said of servers that answer otherwise than MLflow's, whose answer is compared in test_logged_model.py."""

import base64
import io
import json
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stages.runtime.errors import InputError
from stages.tracking import served_check, store, versions
from stages.tracking.served_check import check
from tests.factories import write_model

with store.reached():  # MLflow warns at its own import
    from mlflow.pyfunc.scoring_server.client import ScoringServerClient

VERSION = versions.Version("inpaint-pconv", "1", "", (), 0, "", "", {})


def answering(answer: Callable[[dict[str, Any]], tuple[int, Any]]) -> Callable[..., Any]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            code, content = answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(code)
            self.end_headers()
            self.wfile.write(json.dumps(content).encode())

        def log_message(self, *_: object) -> None:
            pass

    @contextmanager
    def serving(_version: object, _patience_s: float) -> Iterator[tuple[int, Any]]:
        server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with tempfile.TemporaryFile() as log:
            log.write(b"first words\nlast words\n")
            yield ScoringServerClient("127.0.0.1", server.server_port), log
        server.shutdown()
        server.server_close()

    return serving


@pytest.fixture(autouse=True)
def own_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_model(tmp_path)

    @contextmanager
    def fetched(_version: object) -> Iterator[Path]:
        yield tmp_path

    monkeypatch.setattr(versions, "fetched", fetched)


def test_an_answer_with_other_pixels_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def white(asked: dict[str, Any]) -> tuple[int, Any]:
        image = Image.open(io.BytesIO(base64.b64decode(asked["dataframe_split"]["data"][0][0])))
        file = io.BytesIO()
        Image.fromarray(np.full_like(np.asarray(image), 255)).save(file, "PNG")
        return 200, {"predictions": [{"composite": base64.b64encode(file.getvalue()).decode()}]}

    monkeypatch.setattr(served_check, "_serving", answering(white))
    assert check(VERSION) > 100


def test_an_error_is_said_with_the_servers_last_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served_check, "_serving", answering(lambda _asked: (500, {"error": "no"})))
    with pytest.raises(InputError, match=r"(?s)did not answer with a picture .*500.*last words"):
        check(VERSION)


def test_a_server_that_does_not_come_up_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    with pytest.raises(InputError, match=r"(?s)mlflow models serve did not start"):
        check(VERSION, patience_s=60)


SILENT = """
import signal, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if {pings}:
            self.send_response(200)
            self.end_headers()
        else:
            signal.pause()
    def do_POST(self):
        signal.pause()
HTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Handler).serve_forever()
"""


@pytest.mark.parametrize(
    ("pings", "patience_s", "said"), [(False, 1, "did not start"), (True, 5, "did not answer with a picture")]
)
def test_a_server_that_accepts_but_does_not_answer_is_ended(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, pings: bool, patience_s: int, said: str
) -> None:
    (tmp_path / "mlflow").mkdir()
    (tmp_path / "mlflow/__init__.py").touch()
    (tmp_path / "mlflow/__main__.py").write_text(SILENT.format(pings=pings))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    with pytest.raises(InputError, match=said):
        check(VERSION, patience_s)

"""MLflow's server tells an address of what happens in the registry."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from typer.testing import CliRunner

from stages.serving.cli import app
from stages.tracking import aliases, store
from tests.tracked import Server, wait_for

NAME = "inpaint-pconv"


class Listener(BaseHTTPRequestHandler):
    """Keeps what it is told, and whether it was signed."""

    heard: ClassVar[list[tuple[str, Any, bool]]] = []

    def do_POST(self) -> None:
        said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.heard.append((self.path, said, "X-MLflow-Signature" in self.headers))
        self.send_response(200 if "refused" not in self.path else 403)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def address() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Listener) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def webhook(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["model", "webhook", *words])
    return done.exit_code, str(done.exception) + done.output


@pytest.mark.slow
def test_one_command_has_the_server_tell_of_versions_and_aliases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    """To loopback, which servers tell nothing unless they are allowed to."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    allowed = {"MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http", "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true"}
    with Server(tmp_path, given=allowed) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
        code, said = webhook(f"{address}/refused")
        assert code == 1
        assert "its first message failed" in said
        code, said = webhook(address, "--secret", "of-us")  # in place of the first
        assert (code, "was accepted" in said) == (0, True)
        Listener.heard.clear()
        with store.reached():
            client = store.connect()
            client.create_registered_model(NAME)
            client.create_model_version(NAME, "s3://elsewhere/model")
        aliases.promote(NAME, "1", "the first")
        wait_for(lambda: len(Listener.heard) >= 2, 30)
        assert {(path, signed) for path, _, signed in Listener.heard} == {("/", True)}
        told = [(said["entity"], said["action"], said["data"].get("alias")) for _, said, _ in Listener.heard]
        assert ("model_version", "created", None) in told
        assert ("model_version_alias", "created", "champion") in told
        with store.reached():
            assert [hook.url for hook in client.list_webhooks()] == [address]


def test_a_registry_that_is_a_file_tells_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    code, said = webhook("https://example.org/a-secret")
    assert code != 0
    assert "webhooks need a tracking server" in said
    assert "a-secret" not in said

"""MLflow's server tells an address of what happens in the registry."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from stages.serving.cli import app
from stages.tracking import aliases, store
from tests.tracked import Listener, Server, wait_for

NAME = "inpaint-pconv"


def webhook(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["model", "webhook", *words])
    return done.exit_code, str(done.exception) + done.output


@pytest.mark.slow
def test_one_command_has_the_server_tell_of_versions_and_aliases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listening: str
) -> None:
    """To loopback, which servers tell nothing unless they are allowed to."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    allowed = {"MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http", "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true"}
    with Server(tmp_path, given=allowed) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
        code, said = webhook(f"{listening}/refused")
        assert code == 1
        assert "its first message failed" in said
        code, said = webhook(listening, "--secret", "of-us")  # in place of the first
        assert (code, "was accepted" in said) == (0, True)
        Listener.heard.clear()
        with store.reached():
            client = store.connect()
            client.create_registered_model(NAME)
            client.create_model_version(NAME, "s3://elsewhere/model")
        aliases.promote(NAME, "1", "the first")
        wait_for(lambda: len(Listener.heard) >= 2, 30)
        assert {(path, "X-MLflow-Signature" in headers) for path, _, headers in Listener.heard} == {("/", True)}
        told = [(said["entity"], said["action"], said["data"].get("alias")) for _, said, _ in Listener.heard]
        assert ("model_version", "created", None) in told
        assert ("model_version_alias", "created", "champion") in told
        with store.reached():
            assert [hook.url for hook in client.list_webhooks()] == [listening]


def test_a_registry_that_is_a_file_tells_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    code, said = webhook("https://example.org/a-secret")
    assert code != 0
    assert "webhooks need a tracking server" in said
    assert "a-secret" not in said

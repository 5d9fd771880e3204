"""MLflow behind a login and over TLS with an authority of one's own; registries that are elsewhere, and can do less."""

import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from stages.publish.__main__ import main as publish
from stages.runtime.errors import InpaintError, LoginError, TrackingError
from stages.tracking import aliases, store, versions
from tests.tracked import PASSWORD, Seen, Server, write_database, write_outputs

NAME = "inpaint-pconv"


@pytest.fixture
def tree(trained: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(trained)
    monkeypatch.setenv("DVC_ROOT", str(trained))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return trained


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Path]]:
    """A server with MLflow's own login and a certificate that no authority of this machine knows."""
    folder = tmp_path_factory.mktemp("secured")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    words = [
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "1",
        "-subj",
        "/CN=localhost",
        "-keyout",
        key,
        "-out",
        certificate,
    ]
    words += ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(["openssl", "req", "-x509", *words], check=True, capture_output=True)
    options = ["--app-name", "basic-auth", "--uvicorn-opts", f"--ssl-keyfile {key} --ssl-certfile {certificate}"]
    with Server(folder, words=options, scheme="https") as server:
        yield server, certificate


@pytest.mark.slow
def test_a_login_is_asked_for_used_and_never_said(
    secured: tuple[Server, Path], tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import requests

    server, certificate = secured
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri.replace("//", "//admin:wrong-secret@"))
    publish()
    said = capsys.readouterr().out
    assert "cannot be used" in said
    assert "wrong-secret" not in said, "the certificate is not trusted yet: MLflow names the address"
    monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(certificate))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    with pytest.raises(LoginError, match="refuses the login: .*MLFLOW_TRACKING_USERNAME"):
        publish()
    for name, value in zip(("USERNAME", "PASSWORD"), ("admin", PASSWORD), strict=True):
        monkeypatch.setenv(f"MLFLOW_TRACKING_{name}", value)
    asked, request = dict[str, Any](), requests.Session.request

    def watched(session: Any, method: str, url: str, **words: Any) -> Any:
        asked[f"{method} {url}"] = words["timeout"]
        return request(session, method, url, **words)

    monkeypatch.setattr(requests.Session, "request", watched)
    publish()
    assert f"registered as {NAME} version 1, champion" in capsys.readouterr().out
    assert max(timeout for what, timeout in asked.items() if "experiments/search" in what) == 10
    assert min(timeout for what, timeout in asked.items() if what.startswith("PUT")) >= 120, "uploads take their time"


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (ConnectionResetError("by peer"), TrackingError),
        (type("ClientError", (Exception,), {"__module__": "botocore.exceptions"})("no such bucket"), TrackingError),
        (KeyError("a fault of ours"), KeyError),
    ],
)
def test_what_a_store_of_artifacts_raises_is_said_in_words(error: Exception, shown: type[Exception]) -> None:
    with pytest.raises(shown), store.reached():
        raise error


def test_an_upload_that_fails_leaves_no_model_behind(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_database(tree)
    with monkeypatch.context() as patch, suppress(InpaintError):
        patch.setattr("stages.publish.__main__.SERVED_BY", tree / "params.yaml")  # which is no model
        publish()
    client = Seen().client
    experiment = client.get_experiment_by_name("photographs").experiment_id
    assert list(client.search_logged_models([experiment])) == []
    assert versions.registered() == []
    publish()
    assert [version.number for version in versions.registered()] == ["1"]


def register_plain() -> None:
    """Teach MLflow `plain:` registries, which can do no more than Unity Catalog: search by name, and leave tags out."""
    with store.reached():
        from mlflow.exceptions import MlflowException
        from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
        from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore
        from mlflow.tracking._model_registry.utils import _get_store_registry

    class Plain(SqlAlchemyStore):
        def search_registered_models(self, filter_string=None, max_results=100, order_by=None, page_token=None):
            self._refuse(order_by or "mlflow.prompt" not in (filter_string or "mlflow.prompt"))  # which MLflow adds
            return super().search_registered_models(None, max_results, None, page_token)

        def search_model_versions(self, filter_string=None, max_results=100, order_by=None, page_token=None):
            self._refuse(order_by or not (filter_string or "").startswith("name = '") or " and " in filter_string)
            found = super().search_model_versions(filter_string, max_results, None, page_token)
            for version in found:
                version._tags, version.aliases = {}, []
            return found

        def _refuse(self, condition):
            if condition:
                raise MlflowException("this registry cannot search so", INVALID_PARAMETER_VALUE)

    _get_store_registry().register("plain", lambda store_uri: Plain(store_uri.replace("plain", "sqlite")))


def test_a_registry_of_its_own_that_searches_by_name_alone_does(
    tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_database(tree)
    text = (tree / "params.yaml").read_text()
    (tree / "params.yaml").write_text(text.replace("model_name: inpaint", "model_name: main.vision.inpaint"))
    register_plain()
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", f"plain:///{tree}/registry.db")
    name = f"main.vision.{NAME}"
    for seed in (0, 7):
        write_outputs(tree, seed)
        (tree / "params.yaml").write_text(text.replace("model_name: inpaint", "model_name: main.vision.inpaint"))
        publish()
        assert f"registered as {name} version " in capsys.readouterr().out
        publish()
        assert "has all 1 trainings" in capsys.readouterr().out
    aliases.promote(name, "2", "better")
    assert [move.number for move in aliases.ledger()] == ["1", "2"]
    with versions.fetched(versions.resolve(f"models:/{name}@previous")) as folder:
        assert (folder / "model.pt2").exists()
    monkeypatch.delenv("MLFLOW_REGISTRY_URI")
    assert versions.registered() == []
    (tree / "params.yaml").write_text(text)

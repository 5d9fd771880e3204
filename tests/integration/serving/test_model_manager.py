"""Aliases that move under a running server: the new version takes over, a bad one is refused, no answer is lost."""

from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from stages.runtime import project
from stages.runtime.errors import InputError
from stages.serving.cli import app
from stages.serving.fill_request import FillRequest
from stages.serving.limits import Limits
from stages.serving.model_manager import ModelManager
from stages.serving.models import open_inpainter
from stages.serving.worker import Source, Worker, WorkerRetiredError
from stages.tracking import aliases, versions
from tests.tracked import publish_outputs, wait_for, write_database

MODEL = "models:/inpaint-pconv@champion"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A tree with two versions: the first the champion, the second the challenger."""
    tree = tmp_path_factory.mktemp("registry")
    write_database(tree)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_ROOT", str(tree))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        for seed in (0, 1):
            publish_outputs(tree, seed)
        yield tree


def answer(worker: Worker) -> bytes:
    """Fill the same hole; return the PNG."""
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    Image.fromarray(image).save(content := BytesIO(), "PNG")
    reply = worker.fill(MODEL, FillRequest(content.getvalue(), "20,10,40,30"))
    assert reply.status == 200
    return reply.content


def test_an_alias_moves_a_bad_version_is_refused_and_the_old_one_goes_on(registry: Path) -> None:
    served = ModelManager([MODEL], "cpu", poll_s=0.2, limits=Limits())

    def version() -> str:
        return served.describe()[0]["version"]

    served.load_first()
    first = served.worker()
    assert (served.pick(), served.names(), version()) == (MODEL, ["inpaint-pconv"], "1")
    with served.kept_up_to_date():
        before = answer(first)
        aliases.promote("inpaint-pconv", "2", "test")
        wait_for(lambda: version() == "2", 30)
        assert served.pick("inpaint-pconv") == served.pick(MODEL) == MODEL
        after = answer(served.worker())
        assert before != after
        wait_for(lambda: not first.is_alive(), 10)

        (damaged,) = [path for path in registry.rglob("artifacts/model.pt2") if path.stat().st_size and _is(path, "1")]
        honest = damaged.read_bytes()
        damaged.write_bytes(honest[:-100])
        aliases.promote("inpaint-pconv", "1", "test")
        wait_for(lambda: served.describe()[0]["refused"] is not None, 30)
        (said,) = served.describe()
        assert (said["version"], said["refused"]["version"]) == ("2", "1")
        assert "is not the one that was registered" in said["refused"]["reason"]
        served.worker().kill()  # as a job that took too long: the same version answers again
        wait_for(lambda: served.worker() is not None, 30)
        assert answer(served.worker()) == after
        damaged.write_bytes(honest)
        aliases.promote("inpaint-pconv", "2", "test")
        wait_for(lambda: served.describe()[0]["refused"] is None, 30)


def test_a_model_is_listed_from_the_start_and_asked_for_by_what_is_listed(tmp_path: Path) -> None:
    elsewhere = str(tmp_path / "nothing.onnx")
    served = ModelManager(["mean", "telea", MODEL, f"{project.root()}/data/no.onnx", elsewhere], "cpu", 60, Limits())
    served.load_first()
    listed = [(each.get("name"), each["source"], each["loaded"]) for each in served.describe()]
    names = [("mean", "mean"), ("telea", "telea"), ("inpaint-pconv", MODEL), (None, "data/no.onnx")]
    assert listed == [(*each, each[0] == "mean") for each in [*names, (None, "nothing.onnx")]]
    with pytest.raises(LookupError, match="'telea' is not loaded yet"):
        served.pick("telea")
    with served.kept_up_to_date():
        wait_for(lambda: all(each["loaded"] or each["refused"] for each in served.describe()), 30)
        assert served.pick("telea") == "telea"
        with pytest.raises(KeyError, match="'nothing' is not served"):
            served.pick("nothing")
        assert str(tmp_path) not in str(served.describe())


def _is(model: Path, number: str) -> bool:
    from stages.runtime.files import sha256

    return sha256(model) == versions.resolve(f"models:/inpaint-pconv/{number}").digest


@pytest.mark.parametrize("registered_as", ["0" * 64, ""])
def test_a_model_onnx_that_was_not_registered_is_refused(registry: Path, registered_as: str) -> None:
    version = versions.resolve("models:/inpaint-pconv/1")
    other = replace(version, tags=version.tags | {versions.ONNX_SHA: registered_as})
    with versions.fetched(version) as folder:
        assert (folder / "model.onnx").is_file()
    with pytest.raises(InputError, match="model.onnx of inpaint-pconv version 1 is not"), versions.fetched(other):
        pass


def test_a_version_is_named_by_alias_or_number(registry: Path) -> None:
    assert open_inpainter("models:/inpaint-pconv/2", "cpu").about.version == "2"
    aliases.promote("inpaint-pconv", "2", "test")
    assert versions.resolve("models:/inpaint-pconv@champion").number == "2"
    with pytest.raises(InputError, match="nothing@champion is not registered"):
        versions.resolve("models:/nothing@champion")
    with pytest.raises(InputError, match='no registered model is called "it\'s"'):
        versions.resolve("models:/it's@champion")


def test_the_command_lists_shows_and_promotes(registry: Path) -> None:
    def inpaint(*words: str) -> str:
        result = CliRunner().invoke(app, words, catch_exceptions=False)
        assert result.exit_code == 0
        return result.stdout

    inpaint("model", "promote", "models:/inpaint-pconv/1")
    assert inpaint("model", "promote", "models:/inpaint-pconv/2") == (
        "version 2 is the champion of inpaint-pconv; it was version 1\n"
    )
    assert inpaint("model", "list").split()[:3] == ["inpaint-pconv", "2", "champion"]
    assert "inpaint-pconv, version 2 (champion), model.pt2 " in inpaint("model", "show", MODEL)
    assert inpaint("model", "rollback", "inpaint-pconv", "--why", "grey skies") == (
        "version 1 is the champion of inpaint-pconv again; version 2 is under a veto\n"
    )
    assert "may be promoted again; the veto was: " in inpaint("model", "lift-veto", "models:/inpaint-pconv/2")
    assert "rolled back from version 2: grey skies" in inpaint("model", "ledger").splitlines()[-1]


def test_a_process_that_has_grown_answers_once_more_and_takes_no_other_request() -> None:
    worker = Worker([Source(MODEL, "telea")], "cpu", Limits(), kept_bytes=-(2**40))
    assert worker.is_alive()
    assert answer(worker)
    assert not worker.is_alive()
    with pytest.raises(WorkerRetiredError):
        answer(worker)
    worker.kill()


def test_two_models_of_one_name_are_not_served_together(registry: Path) -> None:
    served = ModelManager([MODEL, "models:/inpaint-pconv/1"], "cpu", poll_s=60, limits=Limits())
    served.load_first()
    with served.kept_up_to_date():
        wait_for(lambda: served.describe()[1]["refused"] is not None, 30)
    assert "serve only one" in served.describe()[1]["refused"]["reason"]

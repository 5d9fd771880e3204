"""What `publish` leaves in MLflow: all that the pipeline holds, once, and registered models with their aliases."""

import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from playwright.sync_api import Browser, expect

from stages.publish.__main__ import main, publish
from stages.publish.pipeline_outputs import PipelineOutputs, PublishParams, hold
from stages.runtime.errors import InputError, ParamsError, TrackingError
from stages.tracking import aliases, runs, store, versions
from tests.clone import ROOT
from tests.tracked import Seen, Server, free_port, write_database, write_record

MODELS, METHODS = ["pconv"], ["mean", "biharmonic", "pconv"]
PARAMS = PublishParams(experiment="photographs", model_name="inpaint", strict=False)


@pytest.fixture
def tree(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    write_database(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("DVC_EXP_NAME", raising=False)
    return tmp_path


def held() -> PipelineOutputs:
    return hold(Path("data"), MODELS, METHODS, PARAMS)


def retrain(sha256: str) -> None:
    """Leave another training of other weights, as a changed param does."""
    write_record(Path("data/training/pconv"), sha256=sha256)


def test_first_all_is_sent_then_nothing_is_left_to_do(tree: Path) -> None:
    assert publish(held(), registering=True) == [
        "pconv: run logged",
        "pconv: registered as inpaint-pconv version 1, champion",
        "comparison of 3 methods: logged with the report",
    ]
    before = (tree / "mlflow.db").read_bytes()
    assert publish(held(), registering=True) == []
    assert (tree / "mlflow.db").read_bytes() == before


def test_test_scores_are_in_the_trainings_own_run(tree: Path) -> None:
    publish(held(), registering=False)
    seen = Seen()
    run = seen.run()
    assert run.data.metrics["tile_psnr_db"] == 22.0
    assert run.data.metrics["val/hole_psnr"] == 21.5
    assert seen.artifacts(run, "test") == ["by_ratio.csv", "photographs.jpg", "summary.json"]
    assert run.data.tags["mlflow.note.content"].splitlines()[2:] == [
        "- hole PSNR on tiles, dB (more is better): pconv 22.00, biharmonic 18.00, mean 14.00"
    ]


def test_what_a_run_shows_by_number_is_little_and_no_fact_is_a_bar(tree: Path) -> None:
    publish(held(), registering=True)
    seen = Seen()
    run = seen.run()
    assert {name for name in run.data.metrics if "/" not in name} == {"tile_psnr_db"}  # curves have a slash
    assert run.data.tags["summary.val_hole_psnr"] == "21.5"
    assert not {"checkpoint_every_s", "validate_every", "patience"} & run.data.params.keys()
    assert list(seen.versions("inpaint-pconv")[0].tags.items())[:2] == [
        ("tile_psnr_db", "22"),
        ("parent", "random weights"),
    ]


def test_a_training_that_kept_its_start_says_so(tree: Path) -> None:
    path = Path("data/training/pconv/record.json")
    record = json.loads(path.read_text())
    record["params"] |= {"start_from": "base", "base": "data/base/pconv.safetensors"}
    record["summary"]["best_step"] = 0
    path.write_text(json.dumps(record))
    publish(held(), registering=False)
    note = Seen().run().data.tags["mlflow.note.content"]
    assert note.startswith("pconv, the weights of data/base/pconv.safetensors: 30 steps of fine-tuning (2 min on")


def test_another_training_can_start_from_a_version_and_inherits_what_it_has_seen(tree: Path) -> None:
    publish(held(), registering=True)
    parent = versions.resolve("models:/inpaint-pconv@champion")
    with versions.fetched_weights(parent) as path:
        assert path.read_bytes() == Path("data/models/pconv/weights.safetensors").read_bytes()
    seen = versions.trained_on(parent)
    manifest = pd.read_parquet("data/prepared/manifest.parquet")
    manifest.assign(photo=["d" * 64, "e" * 64, "f" * 64]).to_parquet("data/prepared/manifest.parquet", index=False)
    Path("data/models/pconv/model.pt2").write_bytes(b"another")
    params = json.loads(Path("data/training/pconv/record.json").read_text())["params"]
    write_record(Path("data/training/pconv"), sha256="1" * 64, params=params | {"start_from": parent.uri})
    publish(held(), registering=False)
    (run,) = (run for run in Seen().runs() if run.data.params.get("start_from") == parent.uri)
    assert versions.trained_on(replace(parent, run_id=run.info.run_id)).keys() == {*seen, "d" * 64, "e" * 64}


@pytest.mark.parametrize(("damage", "words"), [("gone", "is gone"), ("other", "not the one"), ("never", "no weights")])
def test_a_version_without_its_weights_is_no_start(tree: Path, damage: str, words: str) -> None:
    publish(held(), registering=True)
    version = versions.resolve("models:/inpaint-pconv/1")
    (path,) = (tree / "mlartifacts").rglob("weights.safetensors")
    if damage == "gone":
        path.unlink()
    elif damage == "other":
        path.write_bytes(b"others")
    else:
        version = replace(version, tags={})
    with pytest.raises(InputError, match=words), versions.fetched_weights(version):
        pass


@pytest.mark.slow
def test_the_table_of_runs_opens_with_scores_as_columns(
    tree: Path, monkeypatch: pytest.MonkeyPatch, browser: Browser
) -> None:
    with Server(tree) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
        path = Path("data/evaluation/pconv/summary.json")
        path.write_text(json.dumps(json.loads(path.read_text()) | {"photo_perceptual": 0.5012}))
        publish(held(), registering=False)
        (printed,) = re.findall(r"http\S+#(/experiments\S+)", (ROOT / "Makefile").read_text())
        page = browser.new_page(viewport={"width": 1600, "height": 900})
        page.goto(f"{server.uri}/#{printed}")
        expect(page.get_by_text("photo_distance").first).to_be_visible(timeout=60_000)
        expect(page.get_by_text("0.5012").first).to_be_visible()
        page.close()


def test_the_comparison_has_every_method_and_the_report(tree: Path) -> None:
    publish(held(), registering=False)
    seen = Seen()
    (run,) = (run for run in seen.runs() if store.RECORD not in run.data.tags)
    assert run.data.metrics == {}
    assert seen.artifacts(run, "report") == ["index.html"]


def test_the_comparison_has_the_counts_and_pages_of_what_was_trained_on(tree: Path) -> None:
    Path("data/prepared").mkdir(exist_ok=True)
    Path("data/prepared/summary.json").write_text('{"files": 20, "rejected_truncated": 3}')
    Path("data/report/photographs.html").write_text("<h1>photographs</h1>")
    publish(held(), registering=False)
    seen = Seen()
    (run,) = (run for run in seen.runs() if store.RECORD not in run.data.tags)
    assert {"photographs.html", "summary.json"} <= set(seen.artifacts(run, "report"))
    assert publish(held(), registering=False) == []
    Path("data/report/photographs.html").write_text("<h1>other photographs</h1>")
    assert publish(held(), registering=False) == ["comparison of 3 methods: logged with the report"]


def test_scores_on_photographs_come_first_and_a_method_without_its_package_has_none(tree: Path) -> None:
    for method, distance in (("mean", 1.5), ("pconv", 1.1)):
        path = Path(f"data/evaluation/{method}/summary.json")
        scores = json.loads(path.read_text()) | {"photo_perceptual": distance, "photo_hole_psnr": 17.5}
        path.write_text(json.dumps(scores))
    Path("data/evaluation/biharmonic/summary.json").write_text('{"missing": "biharmonic needs a package"}')
    publish(held(), registering=True)
    seen = Seen()
    assert seen.run().data.metrics["photo_distance"] == 1.1
    assert next(iter(seen.versions("inpaint-pconv")[0].tags.items())) == ("photo_distance", "1.1")
    read = versions.resolve("models:/inpaint-pconv/1").scores
    assert list(read) == ["photo_distance", "photo_psnr_db", "tile_psnr_db"]  # what a retraining tells of a version
    assert (read["photo_distance"], read["photo_psnr_db"]) == (1.1, 17.5)
    (run,) = (run for run in seen.runs() if store.RECORD not in run.data.tags)
    assert run.data.tags["mlflow.note.content"].splitlines()[2:] == [
        "- perceptual distance on photographs (less is better): pconv 1.100, mean 1.500",
        "- hole PSNR on photographs, dB (more is better): mean 17.50, pconv 17.50",
        "- hole PSNR on tiles, dB (more is better): pconv 22.00, mean 14.00",
        "- not scored, since packages are not installed: biharmonic",
    ]


def test_other_scores_of_the_same_training_replace_the_old_ones(tree: Path) -> None:
    publish(held(), registering=False)
    Path("data/evaluation/pconv/summary.json").write_text('{"hole_psnr": 19.5}')
    assert publish(held(), registering=False)[0] == "pconv: run logged"
    assert Seen().run().data.metrics["tile_psnr_db"] == 19.5


def test_a_deleted_database_is_built_again(tree: Path) -> None:
    done = publish(held(), registering=True)
    write_database(tree)
    assert publish(held(), registering=True) == done
    assert Seen().run().info.status == "FINISHED"


def test_a_changed_param_and_back_leaves_two_runs_and_two_versions(tree: Path) -> None:
    publish(held(), registering=True)
    shutil.copytree("data", "before")
    retrain(sha256="1" * 64)
    assert publish(held(), registering=True)[:2] == [
        "pconv: run logged",
        "pconv: registered as inpaint-pconv version 2, challenger",
    ]
    shutil.rmtree("data")
    Path("before").rename("data")
    assert publish(held(), registering=True) == []
    assert len([run for run in Seen().runs() if store.RECORD in run.data.tags]) == 2
    assert [version.aliases for version in Seen().versions("inpaint-pconv")] == [["champion"], ["challenger"]]


def test_a_champion_stays_and_the_newest_is_the_challenger(tree: Path) -> None:
    for number in range(3):
        retrain(sha256=str(number) * 64)
        publish(held(), registering=True)
    assert [version.aliases for version in Seen().versions("inpaint-pconv")] == [["champion"], [], ["challenger"]]


def test_outputs_that_were_lost_and_made_again_add_neither_run_nor_version(tree: Path) -> None:
    """MLflow kept, DVC's cache lost: the training ran again, and the same came out."""
    publish(held(), registering=True)
    before = {run.info.run_id for run in Seen().runs()}
    retrain(sha256=held().records["pconv"].model_sha256)
    assert publish(held(), registering=True) == []
    write_record(Path("data/training/pconv"), sha256=held().records["pconv"].model_sha256, fingerprint="e" * 64)
    assert publish(held(), registering=True) == ["pconv: run logged"]  # of other inputs
    seen = Seen()
    assert before < {run.info.run_id for run in seen.runs()}
    assert len([run for run in seen.runs() if store.RECORD in run.data.tags]) == 2
    assert len(seen.versions("inpaint-pconv")) == 1


def test_a_version_left_without_its_alias_gets_it(tree: Path) -> None:
    publish(held(), registering=True)
    seen = Seen()
    seen.client.delete_registered_model_alias("inpaint-pconv", aliases.CHAMPION)
    seen.client.delete_model_version_tag("inpaint-pconv", "1", store.PUBLISHED)
    assert publish(held(), registering=True) == ["pconv: registered as inpaint-pconv version 1, champion"]
    assert [version.aliases for version in seen.versions("inpaint-pconv")] == [["champion"]]


def test_a_version_says_what_it_is(tree: Path) -> None:
    publish(held(), registering=True)
    record = held().records["pconv"]
    seen = Seen()
    (version,) = seen.versions("inpaint-pconv")
    assert version.run_id == seen.run().info.run_id
    assert version.tags["model_sha256"] == record.model_sha256
    assert version.tags["git_commit"] == "d" * 40
    assert version.tags["data.data/prepared/train"] == "a" * 64
    assert version.tags["tile_psnr_db"] == "22"
    (model,) = seen.client.search_logged_models([seen.run().info.experiment_id], f"source_run_id = '{version.run_id}'")
    assert model.name == "pconv"
    scores = {metric.key: (metric.value, metric.dataset_name) for metric in model.metrics}
    assert scores["tile_psnr_db"] == (22, "data/pairs.csv")  # MLflow's list of models has a column for it
    assert version.description.startswith(
        "pconv, trained for 30 steps from random weights (2 min on 40 tiles of data/prepared/train, on Abacus 2)."
    )
    about = seen.client.get_registered_model("inpaint-pconv").description
    assert 'load_model("models:/inpaint-pconv@champion")' in about


def test_an_experiment_of_dvc_is_logged_and_registers_nothing(
    tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DVC_EXP_NAME", "brave-otter")
    main()
    assert Seen().run().info.status == "FINISHED"
    assert Seen().client.search_registered_models() == []
    assert "registered as" not in capsys.readouterr().out
    main()
    assert "has all 1 trainings" in capsys.readouterr().out


def test_a_server_that_is_away_is_said_and_does_no_harm(
    tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    main()
    said = capsys.readouterr().out
    assert said.startswith(f"publish: MLflow at {uri} cannot be used: ")
    assert "the next dvc repro sends what is missing" in said

    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(text.replace("strict: false", "strict: true"))
    with pytest.raises(TrackingError, match="cannot be used"):
        main()


def test_a_deleted_version_and_a_deleted_run_come_back(tree: Path) -> None:
    publish(held(), registering=True)
    seen = Seen()
    seen.client.delete_model_version("inpaint-pconv", "1")
    assert publish(held(), registering=True) == ["pconv: registered as inpaint-pconv version 2, champion"]
    seen.client.delete_run(seen.run().info.run_id)
    assert publish(held(), registering=True) == ["pconv: run logged"]


def test_a_run_left_running_is_settled(tree: Path) -> None:
    publish(held(), registering=True)
    write_record(tree / "died", status="running")
    with store.reached():
        runs.Mirror(tree / "died", "photographs").update(f"{os.uname().nodename} 1 1")
    assert publish(held(), registering=True) == ["1 abandoned run: marked as killed"]
    assert publish(held(), registering=True) == []


@pytest.mark.slow
def test_a_server_killed_half_way_is_caught_up_with_when_it_is_back(
    tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_record(tree / "growing", status="running", id=held().records["pconv"].id)
    (tree / "growing/history.csv").write_text("step,seconds,loss\n1,2.5,1.0\n2,5.0,0.5\n")
    server = Server(tree)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    with server:
        run_id = runs.bring_up_to_date(tree / "growing", "photographs")
    main()
    assert "cannot be used" in capsys.readouterr().out
    with server:
        assert len(publish(held(), registering=True)) == 3
        assert publish(held(), registering=True) == []
        seen = Seen()
        run = seen.run()
        assert (run.info.run_id, run.info.status) == (run_id, "FINISHED")
        assert run.info.artifact_uri.startswith("mlflow-artifacts:")
        assert [step for step, _, _ in seen.curve(run, "train/loss")] == list(range(1, 31))
        assert len(seen.artifacts(run, "images")) == 6
        assert [version.aliases for version in seen.versions("inpaint-pconv")] == [["champion"]]
    assert not (tree / "mlartifacts").exists()


def test_a_model_that_is_not_scored_is_named(tree: Path) -> None:
    with pytest.raises(ParamsError, match=r"`models\.unet` has no row"):
        hold(Path("data"), ["pconv", "unet"], METHODS, PARAMS)


def test_an_unfinished_training_is_named(tree: Path) -> None:
    write_record(Path("data/training/pconv"), status="running")
    with pytest.raises(InputError, match="data/training/pconv is not finished"):
        held()


@pytest.mark.parametrize(
    ("path", "content", "message"),
    [
        ("evaluation/mean/summary.json", None, "is missing; run dvc repro"),
        ("evaluation/mean/summary.json", "[1]", "should hold a JSON object of scores"),
        ("report/index.html", None, "is missing; run dvc repro"),
    ],
)
def test_what_is_missing_or_damaged_is_named(tree: Path, path: str, content: str | None, message: str) -> None:
    file = tree / "data" / path
    file.unlink()
    if content is not None:
        file.write_text(content)
    with pytest.raises(InputError, match=rf"{file.name} {message}"):
        publish(held(), registering=True)


def test_scores_that_are_no_finite_numbers_are_left_out(tree: Path) -> None:
    scores = {"hole_psnr": 20, "ssim": None, "method": "pconv", "exact": True, "l1_percent": float("inf")}
    Path("data/evaluation/pconv/summary.json").write_text(json.dumps(scores))
    assert held().scores["pconv"] == {"hole_psnr": 20.0}

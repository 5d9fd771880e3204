"""A method on the photograph test: through the Inpainter that people use, scored photograph by photograph."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from stages.comparing.scores import by_default, plain
from stages.evaluate import evaluation, filling
from stages.evaluate import photographs as photograph_test
from stages.evaluate.__main__ import main
from stages.evaluate.photographs import summarise_photographs
from stages.inpainting import classical, inpainter
from stages.inpainting.cropping import Settings
from stages.inpainting.inpainter import About
from stages.runtime.errors import InputError
from tests.factories import EVALUATION, Blur, write_network


def scores_of(key: str) -> pd.DataFrame:
    return pd.read_parquet(f"data/evaluation/{key}/photographs.parquet")


def test_a_classical_method_answers_once_with_what_the_command_makes(project: Path) -> None:
    main("telea")
    scores, questions = scores_of("telea"), pd.read_csv("data/photographs/photographs.csv")
    assert scores[list(questions.columns)].equals(questions)
    assert not scores["detail"].any()
    assert {"hole_psnr", "hole_ssim", "sharpness", "perceptual", "milliseconds"} <= set(scores.columns)
    assert not any(name.startswith("raw_") for name in scores.columns)
    shown = sorted(path.stem for path in Path("data/evaluation/telea/photographs").iterdir())
    assert shown == sorted(questions.loc[questions["shown"], "id"])
    for name in shown:
        target = np.asarray(Image.open(f"data/photographs/images/{name}.png"))
        hole = np.asarray(Image.open(f"data/photographs/holes/{name}.png")) > 0
        expected, _ = inpainter.load("telea")(np.where(hole[..., None], 0, target).astype(np.uint8), hole, Settings())
        assert np.array_equal(np.asarray(Image.open(f"data/evaluation/telea/photographs/{name}.png")), expected)


class Doubler:
    """Stands for a model: with copied texture it is right, without it black."""

    about = About("doubler", source="doubler")

    def __init__(self, targets: list[Any]) -> None:
        self._targets = targets

    def self_test(self) -> None: ...

    def __call__(self, image: Any, missing: Any, settings: Settings) -> tuple[Any, dict[str, Any]]:
        assert not image[missing].any()
        target = next(one for one in self._targets if one.shape == image.shape and (one == image)[~missing].all())
        return (image if settings.detail is False else target), {}


def test_a_model_answers_with_and_without_copied_texture(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    targets = [np.asarray(Image.open(path)) for path in sorted(Path("data/photographs/images").iterdir())]
    monkeypatch.setattr(photograph_test.inpainter, "load", lambda _: Doubler(targets))
    main("grey_net")
    scores = scores_of("grey_net")
    assert scores["detail"].to_list() == [True, False] * 4
    assert (by_default(scores)["hole_psnr"] == 100).all()
    assert by_default(scores)["perceptual"].max() < 1e-6
    assert (plain(scores)["hole_psnr"] < 30).all()
    summary = json.loads(Path("data/evaluation/grey_net/summary.json").read_text())
    assert summary["photo_hole_psnr"] == 100
    assert summary["photo_plain_hole_psnr"] == pytest.approx(plain(scores)["hole_psnr"].mean())
    assert {"photo_perceptual", "photo_sharpness", "photo_ms", "photo_plain_sharpness"} <= summary.keys()
    names = {path.stem for path in Path("data/evaluation/grey_net/photographs").iterdir()}
    assert names == {"box-photo0", "box-photo0_plain", "stroke-photo1", "stroke-photo1_plain"}


def test_an_answer_that_is_not_finite_names_model_and_photograph(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(Doubler):
        def __call__(self, image: Any, missing: Any, settings: Settings) -> tuple[Any, dict[str, Any]]:
            raise ValueError("the model answers with prediction is not finite")

    monkeypatch.setattr(photograph_test.inpainter, "load", lambda _: Broken([]))
    with pytest.raises(InputError, match="doubler fails on the photograph box-photo0: .* not finite"):
        main("grey_net")


@pytest.mark.parametrize("key", ["telea", "blur"])
def test_workers_change_nothing(project: Path, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    write_network(Path("data/models/blur"), Blur(0), key="blur")
    Path("params.yaml").write_text(
        EVALUATION.replace("methods:", "methods:\n  blur: {filled_by: data/models/blur/model.onnx}")
    )
    monkeypatch.setattr(evaluation, "BATCH_SIZE", 7)

    def evaluated() -> tuple[list[pd.DataFrame], dict[Path, bytes]]:
        main(key)
        folder = Path(f"data/evaluation/{key}")
        tables = [pd.read_parquet(path).drop(columns="milliseconds") for path in sorted(folder.glob("*.parquet"))]
        return tables, {path: path.read_bytes() for path in sorted(folder.rglob("*.png"))}

    tables, pictures = evaluated()
    monkeypatch.setenv("INPAINT_WORKERS", "2")
    monkeypatch.setattr(evaluation, "LOCAL_S", 0.0)
    others, other_pictures = evaluated()
    assert other_pictures == pictures
    for table, other in zip(tables, others, strict=True):
        pd.testing.assert_frame_equal(table, other, check_exact=True)


def test_a_method_whose_package_is_missing_says_so_and_has_no_scores(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: str) -> None:
        raise InputError("mean needs a package that is not installed")

    monkeypatch.setattr(filling.inpainter, "load", refuse)
    main("mean")
    folder = Path("data/evaluation/mean")
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["missing"].startswith("mean needs a package that is not installed; then dvc repro")
    for table in (scores_of("mean"), pd.read_parquet(folder / "scores.parquet"), pd.read_csv(folder / "by_ratio.csv")):
        assert len(table) == 0
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == ["photographs", "pictures", "worst"]


def test_a_package_is_never_missing_to_a_model_or_a_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(filling.inpainter, "load", None)
    assert filling.lacking("pconv", "data/models/pconv/model.onnx") == ""
    assert filling.lacking("telea", str(tmp_path)) == ""
    assert filling.lacking("median", classical.__file__) == ""


def test_without_the_photographs_they_are_not_needed(project: Path) -> None:
    Path("params.yaml").write_text(EVALUATION.replace("photographs: true", "photographs: false"))
    shutil.rmtree("data/photographs")
    main("mean")
    assert len(scores_of("mean")) == 0
    Path("params.yaml").write_text(EVALUATION)
    with pytest.raises(InputError, match=r"photographs\.csv is missing"):
        main("mean")


def test_means_of_what_was_measured_only() -> None:
    scores = pd.DataFrame({"detail": [True, False] * 2, "hole_psnr": [20.0, 10, 22, 12], "sharpness": 1.0})
    assert summarise_photographs(scores) == {
        "photo_hole_psnr": 21.0,
        "photo_sharpness": 1.0,
        "photo_plain_hole_psnr": 11.0,
        "photo_plain_sharpness": 1.0,
    }
    assert summarise_photographs(scores.iloc[:0]) == {}

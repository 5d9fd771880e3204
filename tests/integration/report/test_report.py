import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from stages.evaluate.__main__ import main as evaluate
from stages.pair import main as pair
from stages.report.__main__ import main
from stages.report.album import Album
from stages.report.pictures import with_hole
from stages.report.reading import read_evaluations, read_trainings
from stages.report.runs import compare_runs
from stages.runtime.errors import InputError
from tests.factories import EVALUATION, METHODS, evaluate_all, make_evaluation_project, make_training


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    make_evaluation_project(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        evaluate_all(patch)
    return folder


@pytest.fixture
def project(evaluated, tmp_path, monkeypatch) -> Path:
    shutil.copytree(evaluated, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Page(HTMLParser):
    """Checks that tags close in order, and collects texts, pictures and addresses."""

    VOID = frozenset({"meta", "link", "img", "input"})

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.images: list[str] = []
        self.addresses: list[str] = []
        self.source = path.read_text(encoding="utf-8")
        self.album = json.loads(self.source.partition('id="album">')[2].partition("</script>")[0])
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.addresses += [str(named[name]) for name in ("src", "href") if name in named]
        if "data-picture" in named:
            self.images.append(str(named["alt"]))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, text: str) -> None:
        if self.open[-1:] not in (["style"], ["script"]):
            self.text.append(" ".join(text.split()))


def page_words() -> str:
    return re.sub(r"\s+", " ", " ".join(Page(Path("data/report/index.html")).text))


def test_the_page_stands_alone(project):
    main()
    page = Page(Path("data/report/index.html"))
    assert page.open == []
    assert all(address.startswith(("data:", "#")) for address in (*page.addresses, *page.album))
    assert "url(h" not in page.source
    assert "@import" not in page.source


def test_the_page_says_the_numbers(project):
    main()
    words = page_words()
    scores = pd.read_csv("data/report/scores.csv").set_index("method")
    assert f"telea has the highest hole PSNR, {scores.loc['telea', 'hole_psnr']:.2f} dB (95 % interval" in words
    assert "All 3 methods filled the same 36 pairs of test tile and hole, from 5 photographs" in words
    for key in METHODS:
        summary = json.loads(Path(f"data/evaluation/{key}/summary.json").read_text())
        assert f"{summary['hole_psnr']:.2f}" in words
        assert f"{summary['hole_psnr_30']:.2f}" in words
        assert f"{summary['ssim']:.4f}" in words
        assert summary["hole_psnr"] == pytest.approx(scores.loc[key, "hole_psnr"])


def test_the_gallery_shows_target_image_and_every_answer(project):
    main()
    page = Page(Path("data/report/index.html"))
    images = [text for text in page.images if "pair " in text]
    assert len(images) == 12 * (2 + len(METHODS)) + 2 * (4 + 3 + 4)  # the worst two of each, telea's answer beside
    assert len(set(page.album)) == len(page.album) < len(page.images)  # each picture once
    assert images[0].startswith("target (pair 10n0000: boxes, 5 % missing, no border)")
    assert images[1].startswith("image with its hole")
    assert [text.split(":")[0] for text in images[2:5]] == ["mean", "telea", "grey net"]


def test_the_headline_is_the_photograph_test(project):
    main()
    words = page_words()
    table = pd.read_csv("data/report/photographs.csv").set_index("name")
    assert list(table.index) == ["mean", "telea", "grey net", "grey net without detail"]
    closest = table.loc[~table["plain"], "perceptual"].idxmin()
    assert re.search(rf"(?:{closest} comes closest to the original|methods tie|tie) on 2 photographs", words)
    distance = table.loc[closest, "perceptual"]
    assert f"nearest to the originals: perceptual distance {distance:.3f}, where 0 is equal" in words
    assert "All filled the same 4 holes as people make them, in 2 photographs that no training saw" in words
    assert "2 test photographs are few" in words
    assert words.index("nearest to the originals") < words.index("All 3 methods filled the same 36 pairs")
    for key in METHODS:
        summary = json.loads(Path(f"data/evaluation/{key}/summary.json").read_text())
        assert f"{summary['photo_perceptual']:.3f}" in words
        assert f"{summary['photo_hole_psnr']:.2f}" in words
        assert summary["photo_hole_psnr"] == pytest.approx(table.loc[key.replace("_", " "), "hole_psnr"])


def test_photographs_are_shown_with_every_answer(project):
    main()
    page = Page(Path("data/report/index.html"))
    images = [text for text in page.images if "photo0" in text or "photo1" in text]
    examples, images = images[:12], images[12:]
    best = examples[0].split(":")[0]
    assert len(images) == 2 * (2 + len(METHODS))
    assert images[0].startswith("target (box-photo0: box, 7.1 % missing)")
    scores = pd.read_parquet(f"data/evaluation/{best.replace(' ', '_')}/photographs.parquet").query(
        "detail == detail.max()"
    )
    by_rank = scores.sort_values("perceptual")["id"].to_list()
    assert [re.search(r"\((.*?):", text)[1] for text in examples[::4]] == [by_rank[0], by_rank[2], by_rank[3]]
    ranked = pd.read_csv("data/report/photographs.csv").query("not plain").sort_values("perceptual")["name"]
    assert [text.split(":")[0] for text in images[2:5]] == list(ranked)
    with Image.open("data/report/methods/grey_net/photographs.jpg") as sheet:
        assert sheet.width > 3 * 168  # target, image, with copied texture, without


def test_a_method_that_lacks_its_package_has_a_line_that_says_so(project):
    shutil.rmtree("data/evaluation/telea")
    Path("data/evaluation/telea").mkdir()
    Path("data/evaluation/telea/summary.json").write_text('{"missing": "telea needs <b>OpenCV</b>"}')
    main()
    page = Page(Path("data/report/index.html"))
    assert page.text.count("not scored: telea needs <b>OpenCV</b>") == 2  # photographs, tiles
    assert "All 2 methods filled the same 36 pairs" in page_words()
    assert list(pd.read_csv("data/report/scores.csv")["method"]) == ["mean", "grey_net"]


def test_a_tool_without_photographs_has_a_line_that_says_so(project):
    path = Path("data/evaluation/telea/photographs.parquet")
    pd.read_parquet(path).iloc[:0].to_parquet(path)
    main()
    assert "not scored: it has no answers to photographs" in Page(Path("data/report/index.html")).text
    assert "telea" not in list(pd.read_csv("data/report/photographs.csv")["method"])


def test_without_photographs_the_headline_is_that_of_tiles(project):
    for path in Path("data/evaluation").glob("*/photographs.parquet"):
        pd.read_parquet(path).iloc[:0].to_parquet(path)
    shutil.rmtree("data/photographs")
    main()
    words = page_words()
    assert "nearest to the originals" not in words
    assert words.index("telea has the highest hole PSNR") < words.index("Where models help")
    assert not Path("data/report/photographs.csv").exists()


def test_answers_to_different_photographs_are_not_compared(project):
    path = Path("data/evaluation/telea/photographs.parquet")
    pd.read_parquet(path).assign(sha256="0").to_parquet(path)
    with pytest.raises(InputError, match="different photographs"):
        main()


def test_pictures_beyond_the_bound_lie_beside_the_page(tmp_path):
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 255, (40, 60, 3)).astype(np.uint8) for _ in range(4)]
    album = Album(tmp_path, most_bytes=8000)
    made = [album.add(picture, "answer", "", "", "") for picture in (*pictures, pictures[0])]
    assert [one.number for one in made] == [0, 1, 2, 3, 0]
    within = [address for address in album.addresses if address.startswith("data:")]
    assert 0 < len(within) < 4
    assert sum(map(len, within)) < 8000 * 4 / 3 + 200
    for address in album.addresses[len(within) :]:
        with Image.open(tmp_path / address) as beside:
            assert beside.size == (60, 40)


def test_what_the_trainings_saw_lies_beside_the_page(project):
    main()
    assert "What the trainings saw" not in page_words()
    Path("data/prepared/data_report.html").write_text("<p>photographs</p>")
    counts = {"files": 12345, "kept": 9, "converted": 8, "duplicates": 7, "rejected": 6}
    counts |= {f"{what}_{split}": 3 for what in ("tiles", "photos") for split in ("train", "val", "test")}
    Path("data/prepared/summary.json").write_text(json.dumps(counts))
    main()
    assert (
        "Of 12,345 files 9 were kept as they are, 8 converted, 7 were duplicates and 6 rejected: 3 train"
        in page_words()
    )
    assert "photographs.html" in Page(Path("data/report/index.html")).addresses
    assert Path("data/report/photographs.html").read_text() == "<p>photographs</p>"


def test_what_comes_from_records_is_escaped(project):
    main()
    source = Path("data/report/index.html").read_text(encoding="utf-8")
    assert "&lt;fast &amp; small&gt;" in source
    assert "<fast" not in source


def test_the_same_inputs_give_the_same_page(project):
    main()
    before = {path: path.read_bytes() for path in Path("data/report").rglob("*.*")}
    main()
    assert before == {path: path.read_bytes() for path in Path("data/report").rglob("*.*")}
    names = {str(path.relative_to("data/report")) for path in before}
    of_method = {f"methods/{key}/photographs.jpg" for key in METHODS}
    tables = {"scores.csv", "differences.csv", "photographs.csv", "gain_by_ratio.csv", "validation.csv", "loss.csv"}
    assert names == {"index.html", "metrics.json"} | tables | of_method


def test_the_metrics_are_those_of_trained_models_and_the_best_classical_answer(project):
    main()
    few = json.loads(Path("data/report/metrics.json").read_text())
    table = pd.read_csv("data/report/photographs.csv").query("not plain").set_index("method")
    classical = table.loc[["mean", "telea"]]
    for name, column, best in (("photo_distance", "perceptual", "min"), ("photo_psnr_db", "hole_psnr", "max")):
        wanted = {"grey_net": table.loc["grey_net", column], "best_classical": getattr(classical[column], best)()}
        assert few[name] == pytest.approx(wanted, abs=1e-4)
    gains = pd.read_csv("data/report/gain_by_ratio.csv").set_index("method")["gain_db"]
    assert (gains["telea"] == 0).all()  # the best classical method
    assert gains["grey_net"].max() < 0


def test_what_kept_its_start_is_said_and_the_same_weights_are_no_rivals(project):
    """A second training of the same base weights, which neither improved."""
    again = (
        Path("params.yaml")
        .read_text()
        .replace("  grey_net: ", "  grey_twin: {filled_by: data/models/grey_net/model.pt2}\n  grey_net: ")
    )
    Path("params.yaml").write_text(again)
    for folder in ("evaluation", "training"):
        shutil.copytree(f"data/{folder}/grey_net", f"data/{folder}/grey_twin")
    for key in ("grey_net", "grey_twin"):
        path = Path(f"data/training/{key}/record.json")
        record = json.loads(path.read_text())
        record["params"] |= {"start_from": "base", "base": "grey.safetensors"}
        record["inputs"] |= {f"data/start/{key}/weights.safetensors": {"digest": "ba5e"}}
        record["summary"] |= {"best_step": 0}
        path.write_text(json.dumps(record))
    main()
    page = Page(Path("data/report/index.html"))
    words = page_words()
    assert "grey twin and grey net kept the weights they started from: 40 steps of fine-tuning gained nothing." in words
    assert page.text.count("the same weights as grey twin") == 2  # photographs, tiles
    assert "All 3 methods filled the same 36 pairs" in words
    assert set(json.loads(Path("data/report/metrics.json").read_text())["photo_psnr_db"]) == {
        "grey_net", "grey_twin", "best_classical",
    }  # fmt: skip


def test_without_trainings_the_page_has_no_such_sections(project):
    shutil.rmtree("data/training")
    main()
    page = Page(Path("data/report/index.html"))
    assert "#training" not in page.addresses
    assert "What was run" not in page.text


def test_a_missing_evaluation_says_what_to_run(project):
    shutil.rmtree("data/evaluation/telea")
    with pytest.raises(InputError, match=r"telea/scores\.parquet is missing"):
        main()
    assert not Path("data/report").exists()


def test_evaluations_of_different_pairs_are_not_compared(project):
    Path("params.yaml").write_text(EVALUATION.replace("seed: 7", "seed: 8"))
    pair()
    evaluate("telea")
    with pytest.raises(InputError, match="mean and telea .*different pairs"):
        main()


def test_a_training_without_its_history_is_named(project):
    Path("data/training/grey_net/history.csv").unlink()
    with pytest.raises(InputError, match=r"history\.csv is missing"):
        main()


def test_methods_come_in_the_order_of_the_params(project):
    methods = {"grey_net": "m.pt2", "mean": "classical.py"}
    evaluations = read_evaluations(Path("data/evaluation"), methods)
    assert [(one.key, one.label, one.trained) for one in evaluations] == [
        ("grey_net", "grey net", True),
        ("mean", "mean", False),
    ]


def test_runs_stand_side_by_side(tmp_path):
    make_training(tmp_path / "one")
    make_training(tmp_path / "other")
    record = json.loads((tmp_path / "other/record.json").read_text())
    record["params"] |= {"learning_rate": 0.001, "levels": 4}
    record["machine"] |= {"gpu": "fast", "processes": 2}
    record["commit"] = ""  # git told none
    (tmp_path / "other/record.json").write_text(json.dumps(record))
    parts = compare_runs(read_trainings(tmp_path, ["one", "none", "other"]))
    facts = {fact.name: fact for facts in parts.values() for fact in facts}
    assert facts["took"].values == ["1 min 35 s"] * 2
    assert facts["cost"].values == ["0.05 core hours", "0.05 GPU hours"]  # two of each for 95 s
    assert facts["started"].values[0] == "2023-11-14 22:13 UTC"
    assert facts["commit"].values == ["0123456789ab and changes", "none and changes"]
    assert facts["tiles a second"].values[0] == "40"  # 40 steps of 95 tiles in 95 s, whatever the rates between
    assert facts["waiting for data"].values[0] == "1.0 %"
    assert facts["data/prepared/train.digest"].values[0] == "ab" * 6
    assert facts["seed"].shared
    assert facts["learning_rate"].values == ["0.002", "0.001"]
    assert facts["levels"].values == ["", "4"]
    assert not facts["levels"].shared


def test_missing_pixels_are_white_and_known_ones_untouched():
    picture = np.random.default_rng(0).integers(0, 200, (24, 32, 3)).astype(np.uint8)
    hole = np.zeros((24, 32), np.uint8)
    hole[3:7, 10:30] = 1
    shown = with_hole(picture, hole)
    assert (shown[hole == 1] == 255).all()
    assert np.array_equal(shown[hole == 0], picture[hole == 0])

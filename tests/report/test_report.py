import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from stages.evaluate.__main__ import main as evaluate
from stages.pair import main as pair
from stages.report.__main__ import main
from stages.report.reading import read_evaluations, read_trainings
from stages.report.runs import compare_runs
from stages.running.errors import InputError
from tests.evaluated import METHODS, PARAMS, evaluate_all, make_project, make_training


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    make_project(folder)
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

    VOID = frozenset({"meta", "link", "img", "path", "circle", "input"})

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.images: list[str] = []
        self.addresses: list[str] = []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.addresses += [str(named[name]) for name in ("src", "href") if name in named]
        if tag == "img" and named.get("src"):
            self.images.append(str(named["alt"]))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, text: str) -> None:
        if self.open[-1:] not in (["style"], ["script"]):
            self.text.append(" ".join(text.split()))


def test_the_page_stands_alone(project):
    main()
    page = Page(Path("data/report/index.html"))
    assert page.open == []
    assert all(address.startswith(("data:", "#")) for address in page.addresses)
    assert "url(" not in page.source
    assert "@import" not in page.source


def test_the_page_says_the_numbers(project):
    main()
    words = re.sub(r"\s+", " ", " ".join(Page(Path("data/report/index.html")).text))
    scores = pd.read_csv("data/report/scores.csv").set_index("method")
    assert f"telea fills holes best, at {scores.loc['telea', 'hole_psnr']:.1f}\xa0dB".replace("\xa0", " ") in words
    assert "All 3 methods filled the same 36 pairs of test tile and hole, from 5 photographs" in words
    for key in METHODS:
        summary = json.loads(Path(f"data/evaluation/{key}/summary.json").read_text())
        assert f"{summary['hole_psnr']:.2f}" in words
        assert f"{summary['hole_psnr_30']:.2f}" in words
        assert f"{summary['ssim']:.4f}" in words
        assert summary["hole_psnr"] == pytest.approx(scores.loc[key, "hole_psnr"])


def test_the_gallery_shows_target_image_and_every_answer(project):
    main()
    images = Page(Path("data/report/index.html")).images
    assert len(images) == 12 * (2 + len(METHODS)) + len(METHODS) * 2 * 3  # the worst two of each method
    assert images[0].startswith("target (pair 10n0000: boxes, 5 % missing, no border)")
    assert images[1].startswith("image with its hole")
    assert [text.split(":")[0] for text in images[2:5]] == ["mean", "telea", "grey net"]
    with Image.open("data/report/gallery.png") as sheet:
        assert sheet.width > 5 * 128
        assert sheet.height > 12 * 128


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
    of_method = {f"methods/{key}/{name}" for key in METHODS for name in ("cells.csv", "gallery.png", "over_ratio.png")}
    assert names == {"index.html", "gallery.png", "scores.csv", "differences.csv"} | of_method


def test_without_trainings_the_page_has_no_such_sections(project):
    shutil.rmtree("data/training")
    main()
    page = Page(Path("data/report/index.html"))
    assert "#training" not in page.addresses
    assert "What was run" not in page.text


def test_a_missing_evaluation_says_what_to_run(project):
    shutil.rmtree("data/evaluation/telea")
    with pytest.raises(InputError, match=r"telea/scores\.parquet is missing; run dvc repro evaluate@telea"):
        main()
    assert not Path("data/report").exists()


def test_evaluations_of_different_pairs_are_not_compared(project):
    Path("params.yaml").write_text(PARAMS.replace("seed: 7", "seed: 8"))
    pair()
    evaluate("telea")
    with pytest.raises(InputError, match="mean and telea were evaluated on different pairs; run dvc repro evaluate"):
        main()


def test_a_training_without_its_history_is_named(project):
    Path("data/training/grey_net/history.csv").unlink()
    with pytest.raises(InputError, match=r"history\.csv is missing; run dvc repro train@grey_net"):
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
    (tmp_path / "other/record.json").write_text(json.dumps(record))
    parts = compare_runs(read_trainings(tmp_path, ["one", "none", "other"]))
    facts = {fact.name: fact for facts in parts.values() for fact in facts}
    assert facts["took"].values == ["1 min 35 s"] * 2
    assert facts["cost"].values == ["0.05 core hours", "0.05 GPU hours"]  # two of each for 95 s
    assert facts["started"].values[0] == "2023-11-14 22:13 UTC"
    assert facts["commit"].values[0] == "0123456789ab and changes"
    assert facts["tiles a second"].values[0] == "40"
    assert facts["waiting for data"].values[0] == "1.0 %"
    assert facts["data/prepared/train.digest"].values[0] == "ab" * 6
    assert facts["seed"].shared
    assert facts["learning_rate"].values == ["0.002", "0.001"]
    assert facts["levels"].values == ["", "4"]
    assert not facts["levels"].shared

"""The photograph test as the report words it: who is closest, who cannot be told from it, on constructed scores."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stages.report.photographs import Answered, answered, as_table, detail, find_headline, lines
from stages.report.reading import Evaluation

COUNT = 28


def evaluation(key: str, perceptual: Any, hole_psnr: Any, plain: tuple[Any, Any] | None = None) -> Evaluation:
    rows = {"id": [f"q{n}" for n in range(COUNT)], "photo": [f"p{n % 7}" for n in range(COUNT)], "sha256": "0"}
    scored = pd.DataFrame(rows).assign(shown=False, sharpness=1.0, milliseconds=5.0)
    table = scored.assign(perceptual=perceptual, hole_psnr=hole_psnr, detail=plain is not None)
    if plain:
        table = pd.concat([table, scored.assign(perceptual=plain[0], hole_psnr=plain[1], detail=False)])
    return Evaluation(key, plain is not None, pd.DataFrame(), pd.DataFrame(), {}, photographs=table)


def found(*evaluations: Evaluation, absent: dict[str, str] | None = None) -> Answered:
    made = answered(evaluations, absent or {}, np.random.default_rng(3), Path("nowhere"))
    assert made is not None
    return made


def test_the_closest_leads_and_what_it_cannot_be_told_from_is_named() -> None:
    noise = np.random.default_rng(0).normal(0, 0.2, COUNT)
    noise -= noise.mean()
    near, far = evaluation("near", 1.01 + noise, 18), evaluation("far", 1.3 + noise, 19)
    headline = find_headline(found(far, near, evaluation("best", 1.0, 17)))
    assert headline.best.key == "best"
    assert [one.key for one in headline.tied] == ["near"]
    assert (headline.score.name, headline.estimate.mean) == ("perceptual", 1.0)


def test_a_model_without_its_texture_is_a_line_of_its_own_and_no_rival() -> None:
    one = found(evaluation("net", 1.2, 17, plain=(0.9, 18.5)), evaluation("telea", 1.3, 18))
    assert [(entry.label, entry.is_plain) for entry in one.entries] == [
        ("net", False), ("net without detail", True), ("telea", False)
    ]  # fmt: skip
    headline = find_headline(one)
    assert headline.best.label == "net"
    assert headline.tied == []
    assert [line.cells[0].text for line in lines(one, {"net": "a", "telea": "b"})] == ["0.900", "1.200", "1.300"]
    assert as_table(one)[["name", "perceptual_low"]].round(6).to_numpy().tolist() == [
        ["net", 1.2], ["net without detail", 0.9], ["telea", 1.3]
    ]  # fmt: skip


def test_where_nobody_measured_perceptual_distance_hole_psnr_decides() -> None:
    one, other = evaluation("one", 1.0, 17), evaluation("other", 1.0, 18)
    for each in (one, other):
        del each.photographs["perceptual"]
    headline = find_headline(found(one, other))
    assert (headline.best.key, headline.score.name) == ("other", "hole_psnr")


def test_who_did_not_answer_is_listed_with_the_reason() -> None:
    silent = Evaluation("tool", False, pd.DataFrame(), pd.DataFrame(), {})
    made = found(silent, evaluation("telea", 1.0, 18), absent={"fsr": "it needs a package"})
    assert made.absent == {"tool": "not scored: it has no answers to photographs", "fsr": "it needs a package"}
    assert answered([silent], {}, np.random.default_rng(3), Path("nowhere")) is None


@pytest.mark.parametrize(
    ("rows", "columns", "wanted"),
    [
        ((50, 60), (10, 20), (slice(35, 75), slice(0, 80))),  # at least two fifths of the sides, within the photograph
        ((20, 70), (90, 110), (slice(5, 85), slice(20, 180))),  # 1.6 times as long as the hole
        ((0, 100), (0, 5), (slice(0, 100), slice(0, 200))),  # all of it
        ((0, 0), (0, 0), (slice(None), slice(None))),  # no hole
    ],
)
def test_a_detail_is_the_hole_and_its_surroundings_in_the_shape_of_the_photograph(rows, columns, wanted) -> None:
    missing = np.zeros((100, 200), np.uint8)
    missing[slice(*rows), slice(*columns)] = 255
    assert detail(missing) == wanted

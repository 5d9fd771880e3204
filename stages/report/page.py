"""The page: tables, charts, claims and records laid out for the template `page.html.j2`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd

from stages.comparing.bootstrap import FEW_PHOTOS, RESAMPLES, Estimate, Resamples
from stages.report import charts, comparison, gallery, photographs
from stages.report.charts import Chart, Line, line_chart
from stages.report.claims import Claim
from stages.report.data_size import DataSize
from stages.report.pictures import Shown, magnification
from stages.report.reading import Evaluation, Training
from stages.report.runs import compare_runs

_STYLES = 6  # of each kind, in the style sheet
_HOLE_RATIO = "missing pixels, %"
_MOST_POINTS = 200  # of a training curve; longer ones are averaged down to as many
_CHARTED = ("hole_psnr", "ssim", "l1_percent", "sharpness", "perceptual")


@dataclass(frozen=True)
class Content:
    """All that the page shows.

    Attributes:
        evaluations: of all methods, at least one.
        absent: why others were not scored, by their labels.
        photographs: what the photograph test found, if it was made.
        trainings: of those trained here.
        gallery: pictures of the pairs to look at, from small holes to large ones.
        worst: pictures of each method's worst pairs, by its key; `Shown.answers` has that method's alone.
        claims: questions with answers.
        data_size: what the experiment on the size of the data found, if it was run.
        resamples: of the photos of the pairs.
        pairs_sha256: of data/pairs.csv, to be cited.
        looks: the section from `looks.render_looks`, "" without one.
    """

    evaluations: list[Evaluation]
    absent: dict[str, str]
    photographs: photographs.Answered | None
    trainings: list[Training]
    gallery: Sequence[Shown]
    worst: dict[str, list[Shown]]
    claims: list[Claim]
    data_size: DataSize | None
    resamples: Resamples
    pairs_sha256: str
    looks: str = ""


@dataclass(frozen=True)
class Method:
    """A method as the tables show it."""

    key: str
    label: str
    style: str
    estimate: Estimate
    strip: charts.Strip
    cells: list[comparison.Cell]
    scores: list[comparison.Cell]
    differences: list[comparison.Difference | None]


@dataclass(frozen=True)
class ShownClaim:
    """A claim with its drawings and pictures."""

    claim: Claim
    strips: list[charts.Strip]
    headings: list[gallery.Heading]
    pictures: list[list[gallery.Picture]]
    chart: Chart | None


def render(content: Content) -> str:
    """Lay out the page.

    Returns:
        HTML that needs no other file and no network.
    """
    evaluations, resamples = content.evaluations, content.resamples
    styles = choose_styles(evaluations)
    width = content.gallery[0].target.shape[1] * magnification(max(content.gallery[0].target.shape[:2]))
    photos = min([resamples.photos, *([content.photographs.resamples.photos] if content.photographs else [])])
    headline = comparison.find_headline(evaluations, resamples)
    return _template().render(
        headline=headline,
        headline_style=styles[headline.best.key],
        pairs=len(evaluations[0].scores),
        pairs_sha256=content.pairs_sha256,
        photos=resamples.photos,
        few_photos=photos if photos < FEW_PHOTOS else 0,
        photographs=_photographs(content.photographs, styles),
        absent=content.absent,
        resamples=RESAMPLES,
        methods=_methods(content, styles),
        columns=[(name, int(rows.sum())) for name, rows in comparison.columns_of(evaluations)],
        scores=comparison.scores_of(evaluations),
        ratio_charts=_ratio_charts(evaluations, styles),
        claims=[_shown_claim(content, claim, styles) for claim in content.claims],
        data_size=content.data_size,
        headings=gallery.headings(evaluations, styles),
        gallery=[gallery.row(evaluations, shown) for shown in content.gallery],
        worst=[
            (one.label, styles[one.key], [gallery.row([one], shown) for shown in content.worst[one.key]])
            for one in evaluations
            if content.worst.get(one.key)
        ],
        picture_px=width,
        validation_chart=_validation_chart(content.trainings, styles),
        loss_charts=[_loss_chart(training) for training in content.trainings],
        trainings=[(training.label, styles[training.key]) for training in content.trainings],
        runs=compare_runs(content.trainings),
        geometry=charts,
        looks=content.looks,
    )


def _photographs(found: photographs.Answered | None, styles: dict[str, str]) -> dict[str, Any] | None:
    if found is None:
        return None
    headline = photographs.find_headline(found)
    return {
        "headline": headline,
        "style": styles[headline.best.key],
        "questions": len(found.questions),
        "photos": found.resamples.photos,
        "scores": found.scores(),
        "lines": photographs.lines(found, styles),
        "absent": found.absent,
        "headings": photographs.headings(found, styles),
        "gallery": photographs.gallery(found),
        "picture_px": photographs.WIDTH_PX,
    }


def _template() -> jinja2.Template:
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("page.html.j2")


def choose_styles(evaluations: list[Evaluation]) -> dict[str, str]:
    """Give each method its class of the style sheet: colours to trained models, greys to the others."""
    styles: dict[str, str] = {}
    for trained, kind in ((True, "trained"), (False, "classical")):
        keys = [one.key for one in evaluations if one.trained == trained]
        styles |= {key: f"{kind}-{number % _STYLES}" for number, key in enumerate(keys)}
    return styles


def _methods(content: Content, styles: dict[str, str]) -> list[Method]:
    evaluations, resamples = content.evaluations, content.resamples
    estimates = [resamples.estimate(one.scores["hole_psnr"]) for one in evaluations]
    return [
        Method(one.key, one.label, styles[one.key], *of_method)
        for one, *of_method in zip(
            evaluations,
            estimates,
            charts.interval_strips(estimates),
            comparison.by_cell(evaluations, resamples),
            comparison.all_scores(evaluations, resamples),
            comparison.differences(evaluations, resamples),
            strict=True,
        )
    ]


def _shown_claim(content: Content, claim: Claim, styles: dict[str, str]) -> ShownClaim:
    by_key = {one.key: number for number, one in enumerate(content.evaluations)}
    chosen = [by_key[key] for key in claim.methods if key in by_key]
    compared = [content.evaluations[number] for number in chosen]
    by_row = {shown.row: shown for shown in content.gallery}
    pictures = [
        gallery.row(compared, Shown(row, shown.target, shown.image, [shown.answers[number] for number in chosen]))
        for row in claim.pictures
        if (shown := by_row.get(row))
    ]
    units = {row.unit for row in claim.rows}
    strips = charts.interval_strips([row.estimate for row in claim.rows], zero=True) if len(units) == 1 else []
    found = content.data_size if claim.anchor == "data-size" else None
    return ShownClaim(
        claim, strips, gallery.headings(compared, styles), pictures, _data_size_chart(found, styles) if found else None
    )


def _data_size_chart(found: DataSize, styles: dict[str, str]) -> Chart:
    lines = [
        Line(model, styles.get(model, f"trained-{number}"), points)
        for number, (model, points) in enumerate(found.curves.items())
    ]
    return line_chart("hole PSNR, dB", "training photographs", lines)


def _ratio_charts(evaluations: list[Evaluation], styles: dict[str, str]) -> list[Chart]:
    return [
        line_chart(
            f"{score.label}, {score.unit}" if score.unit else score.label,
            _HOLE_RATIO,
            [
                Line(one.label, styles[one.key], _points(one.by_ratio, "ratio_percent", score.name))
                for one in evaluations
            ],
        )
        for score in comparison.scores_of(evaluations)
        if score.name in _CHARTED and all(score.name in one.by_ratio for one in evaluations)
    ]


def _points(table: pd.DataFrame, x: str, y: str) -> list[tuple[float, float]]:
    """Return two columns as points, averaged over neighbours where there are too many."""
    finite = table.loc[np.isfinite(table[y].astype(float)), [x, y]].astype(float)
    if len(finite) > _MOST_POINTS:
        finite = finite.groupby(np.arange(len(finite)) * _MOST_POINTS // len(finite)).mean()
    return list(zip(finite[x].tolist(), finite[y].tolist(), strict=True))


def _validation_chart(trainings: list[Training], styles: dict[str, str]) -> Chart:
    lines = [Line(one.label, styles[one.key], _points(one.validation, "step", "val_hole_psnr")) for one in trainings]
    return line_chart("validation hole PSNR, dB", "step", lines)


def _loss_chart(training: Training) -> Chart:
    terms = [name for name in training.history.columns if name.startswith("loss")]
    lines = [
        Line(name.removeprefix("loss_"), f"trained-{number % _STYLES}", _points(training.history, "step", name))
        for number, name in enumerate(terms)
    ]
    return line_chart(f"{training.label}: loss and its terms", "step", lines)

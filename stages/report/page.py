"""The page: tables, charts, gallery and records laid out for the template `page.html.j2`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
import numpy as np
import pandas as pd

from stages.report import charts, comparison
from stages.report.charts import Chart, Line, line_chart
from stages.report.comparison import Resamples
from stages.report.pictures import Shown, data_uri, magnification
from stages.report.reading import Evaluation, Training
from stages.report.runs import compare_runs

_STYLES = 6  # of each kind, in the style sheet
_HOLE_RATIO = "missing pixels, %"
_MOST_POINTS = 200  # of a training curve; longer ones are averaged down to as many


@dataclass(frozen=True)
class Method:
    """A method as the tables show it."""

    label: str
    style: str
    estimate: comparison.Estimate
    strip: charts.Strip
    cells: list[comparison.Cell]
    scores: list[comparison.Cell]


@dataclass(frozen=True)
class Picture:
    """A picture of the gallery: `uri` holds it, `caption` says what it is, `best` whether it scores best of its row."""

    uri: str
    caption: str
    score: str
    best: bool = False


def render(
    evaluations: list[Evaluation],
    trainings: list[Training],
    gallery: Sequence[Shown],
    resamples: Resamples,
    looks: str = "",
) -> str:
    """Lay out the page; `looks` is the section from `looks.render_looks`.

    Returns:
        HTML that needs no other file and no network.
    """
    styles = choose_styles(evaluations)
    columns, _ = comparison.by_cell(evaluations)
    height, width, _ = gallery[0].target.shape
    factor = magnification(max(height, width))
    headline = comparison.find_headline(evaluations, resamples)
    return _template().render(
        headline=headline,
        headline_style=styles[headline.best.key],
        pairs=len(evaluations[0].scores),
        photos=resamples.photos,
        resamples=comparison.RESAMPLES,
        methods=_methods(evaluations, styles, resamples),
        columns=columns,
        scores=comparison.SCORES,
        ratio_charts=_ratio_charts(evaluations, styles),
        gallery=[_gallery_row(evaluations, shown) for shown in gallery],
        picture_px=factor * width,
        picture_height_px=factor * height,
        validation_chart=_validation_chart(trainings, styles),
        loss_charts=[_loss_chart(training) for training in trainings],
        trainings=[(training.label, styles[training.key]) for training in trainings],
        runs=compare_runs(trainings),
        geometry=charts,
        looks=looks,
    )


def _template() -> jinja2.Template:
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("page.html.j2")


def choose_styles(evaluations: list[Evaluation]) -> dict[str, str]:
    """Give each method its class of the style sheet: colours to trained models, greys to classical methods."""
    styles: dict[str, str] = {}
    for trained, kind in ((True, "trained"), (False, "classical")):
        keys = [one.key for one in evaluations if one.trained == trained]
        styles |= {key: f"{kind}-{number % _STYLES}" for number, key in enumerate(keys)}
    return styles


def _methods(evaluations: list[Evaluation], styles: dict[str, str], resamples: Resamples) -> list[Method]:
    estimates = [resamples.estimate(one.scores["hole_psnr"].to_numpy()) for one in evaluations]
    strips = charts.interval_strips(estimates)
    _, cells = comparison.by_cell(evaluations)
    scores = comparison.all_scores(evaluations)
    return [
        Method(one.label, styles[one.key], estimate, strip, of_cells, of_scores)
        for one, estimate, strip, of_cells, of_scores in zip(evaluations, estimates, strips, cells, scores, strict=True)
    ]


def _ratio_charts(evaluations: list[Evaluation], styles: dict[str, str]) -> list[Chart]:
    return [
        line_chart(
            f"{label}, {unit}" if unit else label,
            _HOLE_RATIO,
            [Line(one.label, styles[one.key], _points(one.by_ratio, "ratio_percent", name)) for one in evaluations],
        )
        for name, label, unit, _, _ in comparison.SCORES
        if name in ("hole_psnr", "ssim", "l1_percent")
    ]


def _points(table: pd.DataFrame, x: str, y: str) -> list[tuple[float, float]]:
    """Return two columns as points, averaged over neighbours where there are too many."""
    finite = table.loc[np.isfinite(table[y].astype(float)), [x, y]].astype(float)
    if len(finite) > _MOST_POINTS:
        finite = finite.groupby(np.arange(len(finite)) * _MOST_POINTS // len(finite)).mean()
    return list(zip(finite[x].tolist(), finite[y].tolist(), strict=True))


def _gallery_row(evaluations: list[Evaluation], shown: Shown) -> list[Picture]:
    pair = evaluations[0].scores.iloc[shown.row]
    hole = f"{pair['kind']}, {100 * pair['ratio']:.0f} % missing, {'border' if pair['border'] else 'no border'}"
    scores = [float(one.scores["hole_psnr"].iloc[shown.row]) for one in evaluations]
    texts = [f"{score:.1f}" for score in scores]
    best = f"{max(scores):.1f}"
    return [
        Picture(data_uri(shown.target), f"target ({hole})", "target"),
        Picture(data_uri(shown.image), f"image with its hole ({hole})", f"{100 * pair['ratio']:.0f} % hole"),
        *(
            Picture(data_uri(answer), f"{one.label}: {text} dB hole PSNR ({hole})", f"{text} dB", text == best)
            for one, answer, text in zip(evaluations, shown.answers, texts, strict=True)
        ),
    ]


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

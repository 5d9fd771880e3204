"""The page: fills the template `page.html.j2` with tables, charts, claims and records."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from markupsafe import Markup

from stages.comparing.bootstrap import FEW_PHOTOS, RESAMPLES, Resamples
from stages.comparing.scores import SCORES, Score
from stages.imaging.data_report.charts import Line, line_chart
from stages.report import comparison, gallery, photographs
from stages.report.album import Album
from stages.report.claims import Claim
from stages.report.pictures import Shown
from stages.report.reading import Evaluation, Training, label_of, said_of_kept, twins
from stages.report.runs import compare_runs

_STYLES = 6  # colours of each kind in page.css
_HOLE_RATIO = "missing pixels, %"
_MOST_POINTS = 40  # of a training curve; longer curves are averaged
_MAIN = ("hole_psnr", "perceptual", "sharpness", "ssim", "milliseconds")  # columns shown without a click
_CHARTED = ("hole_psnr", "perceptual")


@dataclass(frozen=True)
class Content:
    """Everything that the page shows.

    Attributes:
        evaluations: of all methods, at least one.
        absent: by label, why a method was not scored.
        photographs: results of the photograph test, if there are any.
        trainings: of the models trained here.
        gallery: pairs with every method's answer, from small holes to large ones.
        worst: by key, the method's worst pairs; its own answer first, then that of the reference.
        claims: questions with answers.
        resamples: of the photographs behind the pairs.
        pairs_sha256: of data/pairs.csv.
        counts: files by what became of them, as in data/prepared/summary.json; may be empty.
        pages: by title, the data reports beside the page.
    """

    evaluations: list[Evaluation]
    absent: dict[str, str]
    photographs: photographs.Answered | None
    trainings: list[Training]
    gallery: Sequence[Shown]
    worst: dict[str, list[Shown]]
    claims: list[Claim]
    resamples: Resamples
    pairs_sha256: str
    counts: dict[str, int] = field(default_factory=dict)
    pages: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Method:
    """A row of the tables."""

    label: str
    style: str
    cells: list[comparison.Cell]
    scores: list[comparison.Cell]
    differences: list[comparison.Difference | None]


@dataclass(frozen=True)
class ShownClaim:
    """A claim with its interval strips and pictures."""

    claim: Claim
    strips: list[comparison.Strip]
    pictures: list[gallery.Row]


def render(content: Content, album: Album) -> str:
    """Render the page.

    Args:
        content: what it shows.
        album: stores its pictures.

    Returns:
        HTML that needs no network and no other file, apart from pictures beyond the album's limit.
    """
    styles, kept = choose_styles(content.evaluations), said_of_kept(content.trainings)
    content = _each_model_once(content)
    evaluations, resamples = content.evaluations, content.resamples
    photos = min([resamples.photos, *([content.photographs.resamples.photos] if content.photographs else [])])
    headline = comparison.find_headline(evaluations, resamples, SCORES[0])
    wins = f"has the highest hole PSNR, {headline.estimate.mean:.1f} dB,"
    tile_title = comparison.title(headline, wins, f"on tiles of {resamples.photos} photographs")
    scores = _main_first(comparison.scores_of(evaluations))
    reference = comparison.reference(evaluations)
    found = _photographs(content.photographs, styles, album)  # first, since the first pictures go inside the page
    return _template().render(
        title=found["title"] if found else tile_title,
        opened=(found["headline"] if found else headline).best.label,
        headline=headline,
        pairs=len(evaluations[0].scores),
        pairs_sha256=content.pairs_sha256,
        photos=resamples.photos,
        few_photos=photos if photos < FEW_PHOTOS else 0,
        photographs=found,
        kept=kept,
        absent=content.absent,
        resamples=RESAMPLES,
        methods=_methods(content, styles, scores),
        columns=[(name, int(rows.sum())) for name, rows in comparison.columns_of(evaluations)],
        scores=scores,
        main_scores=sum(score.name in _MAIN for score in scores),
        reference=reference.label if reference else "",
        ratio_charts=_ratio_charts(evaluations, reference, styles),
        claims=[_shown_claim(content, claim, album) for claim in content.claims],
        gallery=[gallery.row(album, evaluations, shown) for shown in content.gallery],
        worst=[
            (one.label, styles[one.key], [_worst(one, reference, shown, album) for shown in content.worst[one.key]])
            for one in evaluations
            if content.worst.get(one.key)
        ],
        validation_chart=_validation_chart(content.trainings, styles),
        trainings=[(training.label, styles[training.key]) for training in content.trainings],
        runs=compare_runs(content.trainings),
        counts=content.counts,
        pages=content.pages,
        album=Markup(json.dumps(album.addresses)),  # noqa: S704 - data URIs and names of our own
    )


def _each_model_once(content: Content) -> Content:
    """Drop models with the weights of an earlier one, which would tie with it."""
    same = twins(content.trainings)
    why = {label_of(one): f"the same weights as {label_of(other)}" for one, other in same.items()}
    places = [number for number, one in enumerate(content.evaluations) if one.key not in same]
    found = content.photographs
    if found is not None:
        entries = [one for one in found.entries if one.key not in same]
        found = replace(found, entries=entries, absent=found.absent | why)
    return replace(
        content,
        evaluations=[content.evaluations[number] for number in places],
        absent=content.absent | why,
        photographs=found,
        gallery=[replace(shown, answers=[shown.answers[number] for number in places]) for shown in content.gallery],
    )


def _main_first(scores: list[Score]) -> list[Score]:
    return sorted(scores, key=lambda score: _MAIN.index(score.name) if score.name in _MAIN else len(_MAIN))


def _photographs(found: photographs.Answered | None, styles: dict[str, str], album: Album) -> dict[str, Any] | None:
    if found is None:
        return None
    headline = photographs.find_headline(found)
    where = f"on {found.resamples.photos} photographs"
    return {
        "title": comparison.title(headline, "comes closest to the original", where),
        "headline": headline,
        "highest": max(found.entries, key=lambda one: float(one.scores["hole_psnr"].mean())),
        "examples": photographs.examples(found, headline, album),
        "questions": len(found.questions),
        "photos": found.resamples.photos,
        "scores": found.scores(),
        "lines": photographs.lines(found, styles),
        "absent": found.absent,
        "gallery": photographs.gallery(found, album),
    }


def _template() -> jinja2.Template:
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("page.html.j2")


def choose_styles(evaluations: list[Evaluation]) -> dict[str, str]:
    """Choose each method's class in page.css by key: colours for trained models, greys for the others."""
    styles: dict[str, str] = {}
    for trained, kind in ((True, "trained"), (False, "classical")):
        keys = [one.key for one in evaluations if one.trained == trained]
        styles |= {key: f"{kind}-{number % _STYLES}" for number, key in enumerate(keys)}
    return styles


def _methods(content: Content, styles: dict[str, str], scores: Sequence[Score]) -> list[Method]:
    """Tabulate the scores, the highest hole PSNR first."""
    evaluations = sorted(content.evaluations, key=lambda one: -float(one.scores["hole_psnr"].mean()))
    resamples = content.resamples
    cells = comparison.by_cell(evaluations, resamples)
    means = comparison.all_scores(evaluations, resamples, scores)
    differences = comparison.differences(evaluations, resamples)
    return [
        Method(one.label, styles[one.key], cells[number], means[number], differences[number])
        for number, one in enumerate(evaluations)
    ]


def _worst(one: Evaluation, reference: Evaluation | None, shown: Shown, album: Album) -> gallery.Row:
    beside = [reference] if reference and len(shown.answers) > 1 else []
    return gallery.row(album, [one, *beside], shown)


def _shown_claim(content: Content, claim: Claim, album: Album) -> ShownClaim:
    by_key = {one.key: number for number, one in enumerate(content.evaluations)}
    chosen = [by_key[key] for key in claim.methods if key in by_key]
    compared = [content.evaluations[number] for number in chosen]
    by_row = {shown.row: shown for shown in content.gallery}
    pictures = [
        gallery.row(album, compared, replace(shown, answers=[shown.answers[number] for number in chosen]))
        for row in claim.pictures
        if (shown := by_row.get(row))
    ]
    units = {row.unit for row in claim.rows}
    estimates = [row.estimate for row in claim.rows]
    strips = comparison.interval_strips(estimates, zero=True) if len(units) == 1 else []
    return ShownClaim(claim, strips, pictures)


def _ratio_charts(
    evaluations: list[Evaluation], reference: Evaluation | None, styles: dict[str, str]
) -> list[tuple[str, Markup]]:
    charts = []
    for score in comparison.scores_of(evaluations):
        if score.name not in _CHARTED or not all(score.name in one.by_ratio for one in evaluations):
            continue
        beyond = comparison.beyond_reference(evaluations, score.name)
        lines = [
            Line(
                one.label,
                styles[one.key],
                _points(one.by_ratio.assign(beyond=beyond[one.key]), "ratio_percent", "beyond"),
                dashes=0 if one.trained else 1 + number % 3,
            )
            for number, one in enumerate(evaluations)
            if one.key in beyond and one is not reference
        ]
        title = f"{score.label}{f', {score.unit}' if score.unit else ''}"
        title += f", minus {reference.label}'s ({score.best} is better)" if reference else ""
        charts.append((title, line_chart(title, _HOLE_RATIO, lines, zero=reference is not None)))
    return charts


def _points(table: pd.DataFrame, x: str, y: str) -> list[tuple[float, float]]:
    """Return two columns as points, averaging neighbours if there are too many."""
    finite = table.loc[np.isfinite(table[y].astype(float)), [x, y]].astype(float)
    if len(finite) > _MOST_POINTS:
        finite = finite.groupby(np.arange(len(finite)) * _MOST_POINTS // len(finite)).mean()
    return list(zip(finite[x].tolist(), finite[y].tolist(), strict=True))


def _validation_chart(trainings: list[Training], styles: dict[str, str]) -> tuple[str, Markup]:
    lines = [Line(one.label, styles[one.key], _points(one.validation, "step", "val_hole_psnr")) for one in trainings]
    title = "validation hole PSNR, dB"
    return title, line_chart(title, "step", lines)

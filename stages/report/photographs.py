"""The photograph test on the page: headline, table and pictures.

A model has two entries: with copied texture, as it fills by default, and without. The headline compares the defaults.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from stages.comparing.bootstrap import Resamples
from stages.comparing.scores import PHOTOGRAPH_SCORES, Score, by_default, plain
from stages.inpainting import inpainter
from stages.report import comparison
from stages.report.album import Album, Picture
from stages.report.gallery import Row
from stages.report.pictures import Pixels, fitted, read_picture, with_hole
from stages.report.reading import Evaluation

_SHEET_PX, _GAP_PX = 168, 4  # two sheets side by side, as `dvc plots diff` shows them, fit on a screen
_PLAIN = "_plain"  # at the end of a composite's name, as evaluation writes it
_KINDS = {"hull": "lasso", "text": "writing"}  # where people have another word for a kind of hole
_WITHOUT_TEXTURE = "{} without detail"
_VISIBLE_RATIO = 0.02  # of missing pixels, from which a hole is seen in a photograph at the top of the page
_DETAIL_SHARE = 0.4  # of the photograph's sides, the least that a detail shows
_AROUND = 1.6  # how much longer a detail is than its hole


@dataclass(frozen=True)
class Entry:
    """A method's answers, with or without copied texture.

    Attributes:
        key: the method's key.
        label: the method's name for people.
        trained: whether the method is a trained model.
        is_plain: whether this is without the texture that the method copies by default.
        scores: one row per question.
        pictures: files of composites by the question's id.
        again: as in `Evaluation`.
    """

    key: str
    label: str
    trained: bool
    is_plain: bool
    scores: pd.DataFrame
    pictures: dict[str, Path]
    again: str = ""


@dataclass(frozen=True)
class Answered:
    """Results of the photograph test.

    Attributes:
        entries: at least one.
        absent: by label, why a method has none.
        resamples: of the photographs.
        folder: data/photographs.
    """

    entries: list[Entry]
    absent: dict[str, str]
    resamples: Resamples
    folder: Path

    @property
    def questions(self) -> pd.DataFrame:
        """The questions, one row each."""
        return self.entries[0].scores

    @property
    def rivals(self) -> list[Entry]:
        """The entries with copied texture, as methods fill by default."""
        return [one for one in self.entries if not one.is_plain]

    def scores(self) -> list[Score]:
        """Return the scores that every entry has; the headline is by the first."""
        return [score for score in PHOTOGRAPH_SCORES if all(score.name in one.scores for one in self.entries)]

    def shown(self) -> list[str]:
        """Return the ids of the questions to look at."""
        return [str(name) for name in self.questions.loc[self.questions["shown"], "id"]]

    def read(self, name: str) -> tuple[Pixels, Pixels]:
        """Read a question's target (H, W, 3) and its hole (H, W), 255 where pixels are missing."""
        return read_picture(self.folder / f"images/{name}.png"), read_picture(self.folder / f"holes/{name}.png")

    def answer(self, one: Entry, name: str) -> Pixels:
        """Read an entry's composite, or fill again if evaluation kept none."""
        if name in one.pictures:
            return read_picture(one.pictures[name])
        target, hole = self.read(name)
        composite, _ = _loaded(one.again)(np.where(hole[..., None] > 0, np.uint8(0), target), hole > 0)
        return composite


_loaded = cache(inpainter.load)


def answered(
    evaluations: Sequence[Evaluation], absent: dict[str, str], rng: np.random.Generator, folder: Path
) -> Answered | None:
    """Collect the answers to photographs; None if there are none.

    Args:
        evaluations: of all methods.
        absent: by label, why a method was not scored at all.
        rng: for the resampling of photographs.
        folder: data/photographs.
    """
    entries = [entry for one in evaluations for entry in _entries(one)]
    if not entries:
        return None
    silent = {one.label: "not scored: it has no answers to photographs" for one in evaluations if one.photographs.empty}
    return Answered(entries, silent | absent, Resamples(entries[0].scores["photo"], rng), folder)


def _entries(one: Evaluation) -> list[Entry]:
    found: tuple[dict[str, Path], dict[str, Path]] = ({}, {})
    for path in one.composites:
        found[path.stem.endswith(_PLAIN)][path.stem.removesuffix(_PLAIN)] = path
    entries = (
        Entry(one.key, one.label, one.trained, False, by_default(one.photographs), found[0], one.again),
        Entry(one.key, _WITHOUT_TEXTURE.format(one.label), one.trained, True, plain(one.photographs), found[1]),
    )
    return [entry for entry in entries if len(entry.scores)]


def find_headline(found: Answered) -> comparison.Headline[Entry]:
    """Find the method that comes closest by default, and those that cannot be told from it."""
    return comparison.find_headline(found.rivals, found.resamples, found.scores()[0])


@dataclass(frozen=True)
class Line:
    """A row of the table: the entry, its class in page.css, its interval, its cells."""

    entry: Entry
    style: str
    strip: comparison.Strip
    cells: list[comparison.Cell]


def lines(found: Answered, styles: dict[str, str]) -> list[Line]:
    """Tabulate the scores, one row per entry, the best first."""
    first = found.scores()[0].name
    entries = comparison.ranked(found.entries, found.scores()[0])
    strips = comparison.interval_strips([found.resamples.estimate(one.scores[first]) for one in entries])
    every = pd.Series(True, index=found.questions.index)
    columns = [comparison.column(entries, found.resamples, score, every) for score in found.scores()]
    return [
        Line(one, styles[one.key], strip, list(cells))
        for one, strip, *cells in zip(entries, strips, *columns, strict=True)
    ]


@dataclass(frozen=True)
class Example:
    """A large picture at the top of the page.

    Attributes:
        rank: "Best of 20" and so on.
        title: the hole and the score.
        answer: of the best method.
        others: by name, what can lie left of the slider: hole, original, the best method of the other kind.
        cut_percent: where the slider starts, from the left: in the middle of the hole.
    """

    rank: str
    title: str
    answer: Picture
    others: dict[str, Picture]
    cut_percent: int


def examples(found: Answered, headline: comparison.Headline[Entry], album: Album) -> list[Example]:
    """Choose three pictures by rule: the best method's best and worst answer, and a middle one of another photograph.

    Holes below 2 % are left out where there are others: they would hardly be seen.
    """
    score, best = headline.score, headline.best
    compared = [best, *([headline.rival] if headline.rival else [])]
    asked = found.questions.assign(goodness=score.goodness(best.scores[score.name]))
    if not all(one.again for one in compared):
        asked = asked[asked["shown"].astype(bool)]
    visible = asked[asked["ratio"] >= _VISIBLE_RATIO]
    asked = (visible if len(visible) else asked).sort_values(["goodness", "id"], ascending=[False, True])
    photos = asked["photo"].to_list()
    between = sorted(range(1, len(photos) - 1), key=lambda place: abs(place - len(photos) // 2))
    middle = sorted(between, key=lambda place: photos[place] in (photos[0], photos[-1]))[:1]
    ranks = {0: "Best", **dict.fromkeys(middle, "Middle"), len(photos) - 1: "Worst"} if middle else {0: "One"}
    made = []
    for place, rank in ranks.items():
        question = asked.iloc[place]
        row = _row(found, str(question["id"]), compared, album, (slice(None), slice(None)))
        target, image, answer, *theirs = row.pictures
        others = {"the hole": image, "the original": target} | {one.label: one for one in theirs}
        title = f"{row.title}: {score.label} {abs(question['goodness']):.{score.decimals}f} {score.unit}".strip()
        _, hole = found.read(str(question["id"]))
        cut = round(100 * float(np.median(np.nonzero(hole)[1])) / hole.shape[1]) if hole.any() else 50
        made.append(Example(f"{rank} of {len(asked)}", title, answer, others, cut))
    return made if len(asked) else []


def gallery(found: Answered, album: Album) -> list[Row]:
    """Lay out one row per question: details of target, image and answers, the best method first."""
    ranked = comparison.ranked(found.rivals, found.scores()[0])
    return [_row(found, name, ranked, album, detail(found.read(name)[1])) for name in found.shown()]


def detail(missing: Pixels) -> tuple[slice, slice]:
    """Cut out a hole with its surroundings, in the shape of the photograph.

    Args:
        missing: (H, W), above 0 where pixels are missing.

    Returns:
        rows and columns.
    """
    if not missing.any():
        return slice(None), slice(None)
    ends = [np.flatnonzero(missing.any(axis=axis))[[0, -1]] for axis in (1, 0)]
    shares = [_AROUND * (last + 1 - first) / side for (first, last), side in zip(ends, missing.shape, strict=True)]
    lengths = [round(min(1.0, max(_DETAIL_SHARE, *shares)) * side) for side in missing.shape]
    rows, columns = (
        slice(start := int(np.clip((first + last + 1 - length) // 2, 0, side - length)), start + length)
        for (first, last), length, side in zip(ends, lengths, missing.shape, strict=True)
    )
    return rows, columns


def _row(found: Answered, name: str, entries: Sequence[Entry], album: Album, window: tuple[slice, slice]) -> Row:
    place = found.questions["id"].to_list().index(name)
    question = found.questions.iloc[place]
    hole = f"{_KINDS.get(question['kind'], question['kind'])}, {100 * question['ratio']:.1f} % missing"
    target, missing = found.read(name)
    first = found.scores()[0]
    values = pd.Series([float(one.scores[first.name].iloc[place]) for one in entries])
    best = int(np.argmax(first.goodness(values.round(first.decimals)))) if len(values) > 1 else -1
    texts = [_scored(one, place, found.scores()[:2]) for one in entries]
    asked = [
        album.add(target[window], "target", "target", "", f"target ({name}: {hole})"),
        album.add(
            with_hole(target, missing)[window], "image", "hole", "", f"photograph with its hole ({name}: {hole})"
        ),
    ]
    return Row(hole, [*asked, *(
        album.add(
            found.answer(one, name)[window], "answer", one.label, text, f"{one.label}: {text} ({name}: {hole})",
            number == best,
        )
        for number, (one, text) in enumerate(zip(entries, texts, strict=True))
    )])  # fmt: skip


def _scored(one: Entry, place: int, scores: Sequence[Score]) -> str:
    return ", ".join(
        f"{one.scores[score.name].iloc[place]:.{score.decimals}f} {score.unit}".strip() for score in scores
    )


def sheet(found: Answered, key: str) -> Image.Image:
    """Draw a contact sheet of a method's answers: one row of details per question."""
    entries = [one for one in found.entries if one.key == key]
    rows = []
    for name in found.shown():
        target, hole = found.read(name)
        window = detail(hole)
        pictures = [target, with_hole(target, hole), *(found.answer(one, name) for one in entries)]
        rows.append([fitted(picture[window], _SHEET_PX) for picture in pictures])
    step = _SHEET_PX + _GAP_PX
    height = sum(row[0].height + _GAP_PX for row in rows)
    whole, y = Image.new("RGB", (len(rows[0]) * step - _GAP_PX, height - _GAP_PX), "white"), 0
    for row in rows:
        for x, picture in enumerate(row):
            whole.paste(picture, (x * step, y))
        y += row[0].height + _GAP_PX
    return whole


def as_table(found: Answered) -> pd.DataFrame:
    """Return photographs.csv: one row per entry with its means and their intervals."""
    rows = []
    for one in found.entries:
        row = {"method": one.key, "name": one.label, "plain": one.is_plain, "questions": len(one.scores)}
        for score in found.scores():
            estimate = found.resamples.estimate(one.scores[score.name])
            row[score.name] = estimate.mean
            if score.name != "milliseconds":
                row |= {f"{score.name}_low": estimate.low, f"{score.name}_high": estimate.high}
        rows.append(row)
    return pd.DataFrame(rows)

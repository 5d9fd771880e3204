"""Rows of pictures as the page shows them: target, image, and what methods made of it."""

from collections.abc import Sequence
from dataclasses import dataclass

from stages.report.pictures import Shown, data_uri, magnification
from stages.report.reading import Evaluation


@dataclass(frozen=True)
class Heading:
    """Over a column of answers."""

    label: str
    style: str


@dataclass(frozen=True)
class Picture:
    """One picture.

    Attributes:
        uri: holds it.
        role: target, image or answer; the viewer slides an answer over the other two.
        caption: what it is.
        score: below it.
        size: width and height on the page, in pixels.
        best: whether it scores best of its row.
    """

    uri: str
    role: str
    caption: str
    score: str
    size: tuple[int, int]
    best: bool = False


def headings(evaluations: Sequence[Evaluation], styles: dict[str, str]) -> list[Heading]:
    """Return what stands over the answers of some methods."""
    return [Heading(one.label, styles[one.key]) for one in evaluations]


def row(evaluations: Sequence[Evaluation], shown: Shown) -> list[Picture]:
    """Lay out one pair.

    Args:
        evaluations: of the methods that the answers are from, in their order.
        shown: the pair.
    """
    pair = evaluations[0].scores.iloc[shown.row]
    border = "border" if pair["border"] else "no border"
    hole = f"pair {pair['pair']}: {pair['kind']}, {100 * pair['ratio']:.0f} % missing, {border}"
    scores = [float(one.scores["hole_psnr"].iloc[shown.row]) for one in evaluations]
    texts = [f"{score:.1f}" for score in scores]
    best = f"{max(scores):.1f}" if len(scores) > 1 else ""
    factor = magnification(max(shown.target.shape[:2]))
    size = (factor * shown.target.shape[1], factor * shown.target.shape[0])
    return [
        Picture(data_uri(shown.target), "target", f"target ({hole})", "target", size),
        Picture(data_uri(shown.image), "image", f"image with its hole ({hole})", str(pair["pair"]), size),
        *(
            Picture(
                data_uri(answer),
                "answer",
                f"{one.label}: {text} dB hole PSNR ({hole})",
                f"{text} dB",
                size,
                text == best,
            )
            for one, answer, text in zip(evaluations, shown.answers, texts, strict=True)
        ),
    ]

"""Rows of pictures: target, image with its hole, and the methods' answers."""

from collections.abc import Sequence
from dataclasses import dataclass

from stages.report.album import Album, Picture
from stages.report.pictures import Shown
from stages.report.reading import Evaluation


@dataclass(frozen=True)
class Row:
    """The pictures of one question, with its title."""

    title: str
    pictures: list[Picture]


def row(album: Album, evaluations: Sequence[Evaluation], shown: Shown) -> Row:
    """Lay out one pair of test tile and hole.

    Args:
        album: stores the pictures.
        evaluations: of the methods, in the order of the answers.
        shown: the pair.
    """
    pair = evaluations[0].scores.iloc[shown.row]
    border = "border" if pair["border"] else "no border"
    hole = f"pair {pair['pair']}: {pair['kind']}, {100 * pair['ratio']:.0f} % missing, {border}"
    texts = [f"{float(one.scores['hole_psnr'].iloc[shown.row]):.1f}" for one in evaluations]
    best = max(texts, key=float) if len(texts) > 1 else ""
    answers = [
        album.add(answer, "answer", one.label, f"{text} dB", f"{one.label}: {text} dB hole PSNR ({hole})", text == best)
        for one, answer, text in zip(evaluations, shown.answers, texts, strict=True)
    ]
    asked = [
        album.add(shown.target, "target", "target", "", f"target ({hole})"),
        album.add(shown.image, "image", "hole", "", f"image with its hole ({hole})"),
    ]
    return Row(hole, [*asked, *answers])

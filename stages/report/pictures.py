"""Pictures for people: read, scaled, and on one contact sheet.

Pictures are uint8 (H, W, 3).
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

Pixels = npt.NDArray[np.uint8]

WHITE = 255  # missing pixels, as in the files of holes
_CELL_PX, _GAP_PX, _LABEL_PX = 128, 4, 26
_PAPER, _INK = (255, 255, 255), (31, 35, 40)


@dataclass(frozen=True)
class Shown:
    """One row of the gallery.

    Attributes:
        row: of the scores.
        target: the whole picture.
        image: the same with its hole in white.
        answers: each method's composite.
        hole: uint8 (H, W), 1 = missing.
    """

    row: int
    target: Pixels
    image: Pixels
    answers: Sequence[Pixels]
    hole: Pixels


def with_hole(target: Pixels, hole: Pixels) -> Pixels:
    """Whiten the missing pixels, where `hole`, uint8 (H, W), is 1."""
    return np.where(hole[..., None] > 0, np.uint8(WHITE), target)


def read_picture(path: Path) -> Pixels:
    """Read a picture that evaluation wrote."""
    return np.asarray(Image.open(path))


def fitted(picture: Pixels, side_px: int) -> Image.Image:
    """Scale a picture down so that its longer side has at most so many pixels."""
    opened = Image.fromarray(picture)
    opened.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
    return opened


def contact_sheet(gallery: Sequence[Shown], labels: Sequence[str]) -> Image.Image:
    """Put the gallery on one sheet: a row a picture, all of one width, under a line of labels.

    Args:
        gallery: rows, at least one; all pictures of one size.
        labels: of the columns: target, image, then the methods.
    """
    width, height = _CELL_PX, round(_CELL_PX * gallery[0].target.shape[0] / gallery[0].target.shape[1])
    step_x, step_y = width + _GAP_PX, height + _GAP_PX
    size = (len(labels) * step_x + _GAP_PX, _LABEL_PX + len(gallery) * step_y)
    sheet = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(sheet)
    for column, label in enumerate(labels):
        font = _font_that_fits(label, width)
        draw.text((_GAP_PX + column * step_x + width / 2, _LABEL_PX / 2), label, _INK, font, anchor="mm")
    for line, shown in enumerate(gallery):
        for column, picture in enumerate((shown.target, shown.image, *shown.answers)):
            scaled = Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC)
            sheet.paste(scaled, (_GAP_PX + column * step_x, _LABEL_PX + line * step_y))
    return sheet


def _font_that_fits(text: str, width: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    font = ImageFont.load_default(15)
    for size in range(15, 7, -1):
        font = ImageFont.load_default(size)
        if font.getlength(text) <= width:
            break
    return font


def over_ratio(by_ratio: pd.DataFrame, label: str) -> Image.Image:
    """Draw a method's hole PSNR and SSIM over the hole ratio, for where no page opens.

    Args:
        by_ratio: means by bucket.
        label: the method's name.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2), layout="constrained")
    axes = figure.subplots(1, 2)
    for place, name, title in zip(axes, ("hole_psnr", "ssim"), ("hole PSNR, dB", "SSIM"), strict=True):
        place.plot(by_ratio["ratio_percent"], by_ratio[name], marker="o")
        place.set(xlabel="missing pixels, %", title=f"{label}: {title}")
        place.grid(alpha=0.3)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=110, metadata={"Software": None})
    return Image.open(file)

"""The pictures of the page: each stored once and compressed, within a size limit; the rest are files beside the page.

Pictures are uint8 (H, W, 3).
"""

import base64
import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from stages.report.pictures import Pixels, fitted

MOST_BYTES = 10 * 2**20  # of pictures within the page: 14 MB as base64
_MOST_PX = 512  # of a picture's longer side
_QUALITY = 85
_FOLDER = "pictures"


@dataclass(frozen=True)
class Picture:
    """A picture on the page.

    Attributes:
        number: its place in the album.
        role: `target`, `image` or `answer`; the viewer compares an answer with the other two.
        label: name below the picture.
        score: second line below the picture.
        caption: alternative text, also shown in the viewer.
        size: width and height in pixels.
        best: whether its score is the best of its row.
    """

    number: int
    role: str
    label: str
    score: str
    caption: str
    size: tuple[int, int]
    best: bool = False


class Album:
    """Collects the pictures of a page.

    Args:
        beside: folder for the pictures that exceed the limit.
        most_bytes: limit for the pictures inside the page; the first ones added go there.

    Attributes:
        addresses: by picture number, a data URI or a path relative to the page.
    """

    def __init__(self, beside: Path, most_bytes: int = MOST_BYTES) -> None:
        self.addresses: list[str] = []
        self._beside = beside
        self._left = most_bytes
        self._numbers: dict[bytes, int] = {}

    def add(self, picture: Pixels, role: str, label: str, score: str, caption: str, best: bool = False) -> Picture:
        """Add a picture, scaled down to at most 512 pixels; equal pictures are stored once."""
        small = fitted(picture, _MOST_PX)
        digest = hashlib.sha256(small.tobytes()).digest() + bytes(str(small.size), "ascii")
        if digest not in self._numbers:
            self._numbers[digest] = len(self.addresses)
            self.addresses.append(self._keep(small))
        return Picture(self._numbers[digest], role, label, score, caption, small.size, best)

    def _keep(self, picture: Image.Image) -> str:
        picture.save(file := io.BytesIO(), "webp", quality=_QUALITY, method=4)
        content = file.getvalue()
        if len(content) <= self._left:
            self._left -= len(content)
            return "data:image/webp;base64," + base64.b64encode(content).decode("ascii")
        path = Path(_FOLDER) / f"{len(self.addresses):04}.webp"
        (self._beside / path).parent.mkdir(parents=True, exist_ok=True)
        (self._beside / path).write_bytes(content)
        return path.as_posix()

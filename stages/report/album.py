"""The pictures of the page: each once, compressed, within a bound; what goes beyond lies beside the page.

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
    """One picture.

    Attributes:
        number: in the album.
        role: target, image or answer; the viewer slides an answer over the other two.
        label: above it.
        score: below it.
        caption: what it is, for the viewer and for those who cannot see it.
        size: width and height in pixels.
        best: whether it scores best of its row.
    """

    number: int
    role: str
    label: str
    score: str
    caption: str
    size: tuple[int, int]
    best: bool = False


class Album:
    """Gathers pictures and says where each is found.

    Args:
        beside: gets those that are too many for the page.
        most_bytes: of pictures within the page; those that come first are within.

    Attributes:
        addresses: of each picture by its number, a data URI or a path from the page.
    """

    def __init__(self, beside: Path, most_bytes: int = MOST_BYTES) -> None:
        self.addresses: list[str] = []
        self._beside = beside
        self._left = most_bytes
        self._numbers: dict[bytes, int] = {}

    def add(self, picture: Pixels, role: str, label: str, score: str, caption: str, best: bool = False) -> Picture:
        """Take in a picture, once, however often it is shown."""
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

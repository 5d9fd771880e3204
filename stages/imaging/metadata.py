"""Metadata of a photo: colour profile and density, which are kept, and private data, which are not by default.

    metadata = read(picture)                   # an opened Pillow image
    options = metadata.save_options("JPEG", private=True)

Camera, time, place, XMP, IPTC and comments are written only on request. Only EXIF tags that describe the photograph are
copied: a TIFF also stores its pixel layout there, which would be wrong in another file, and a thumbnail would show what
was filled.
"""

import math
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

_XMP_TAG, _IPTC_TAG = 700, 33723  # of TIFF
_IPTC_RESOURCE = 0x0404  # of Photoshop, in JPEG's APP13
_TURNED = re.compile(rb"(tiff:Orientation(?:=[\"']|>))[2-8]")
_SEGMENT_BYTES = 65_000  # about what one segment of a JPEG holds
_Tag = ExifTags.Base
_DESCRIPTIVE = (
    _Tag.ImageDescription, _Tag.Make, _Tag.Model, _Tag.Software, _Tag.DateTime, _Tag.Artist, _Tag.HostComputer,
    _Tag.Rating, _Tag.RatingPercent, _Tag.Copyright, _Tag.XPTitle, _Tag.XPComment, _Tag.XPAuthor, _Tag.XPKeywords,
    _Tag.XPSubject,
)  # fmt: skip
_NO_COMMENTS = ("XML:com.adobe.xmp", "Raw profile type exif", "Raw profile type xmp", "Raw profile type iptc")
_LAYOUT = (_Tag.ExifImageWidth, _Tag.ExifImageHeight, _Tag.ExifInteroperabilityOffset)  # in the camera's part


@dataclass(frozen=True)
class Metadata:
    """Metadata of a picture file.

    Attributes:
        profile: the ICC profile, or None.
        dpi: pixels per inch across and down, or None.
        exif: descriptive tags, camera and place, as bytes; never an orientation or a thumbnail.
        xmp: Adobe's XML.
        iptc: IPTC-IIM, as news agencies use it.
        text: comments by keyword, such as "Comment".
    """

    profile: bytes | None = None
    dpi: tuple[float, float] | None = None
    exif: bytes = b""
    xmp: bytes = b""
    iptc: bytes = b""
    text: Mapping[str, str] = field(default_factory=dict)

    def save_options(self, kind: str, private: bool) -> dict[str, Any]:
        """Return the options of Pillow's `save` for a format.

        Args:
            kind: Pillow's name of the format.
            private: whether to write camera, place and comments, too.
        """
        if kind == "BMP":
            return {"dpi": self.dpi} if self.dpi else {}
        options: dict[str, Any] = {"icc_profile": self.profile} if self.profile else {}
        if self.dpi and kind in ("JPEG", "PNG", "TIFF"):
            options["dpi"] = self.dpi
        return options | getattr(self, f"_{kind.lower()}", self._others)() if private else options

    def lost(self, kind: str) -> list[str]:
        """Name the metadata that a format cannot hold."""
        parts = {"EXIF": self.exif, "XMP": self.xmp, "IPTC": self.iptc, "comments": self.text}
        holds = {"JPEG": ("EXIF", "XMP", "IPTC", "comments"), "TIFF": ("EXIF", "XMP", "IPTC")}
        held = {"PNG": ("EXIF", "XMP", "comments"), "BMP": ()} | holds
        return [
            name for name, part in parts.items()
            if part and (name not in held.get(kind, ("EXIF", "XMP")) or (kind == "JPEG" and len(part) > _SEGMENT_BYTES))
        ]  # fmt: skip

    def _others(self) -> dict[str, Any]:
        return {name: part for name, part in (("exif", self.exif), ("xmp", self.xmp)) if part}

    def _jpeg(self) -> dict[str, Any]:
        options = {name: part for name, part in self._others().items() if len(part) <= _SEGMENT_BYTES}
        if comment := self.text.get("Comment"):
            options["comment"] = comment.encode()[:_SEGMENT_BYTES]
        if 0 < len(self.iptc) <= _SEGMENT_BYTES:
            resource = (
                b"8BIM\x04\x04\0\0" + len(self.iptc).to_bytes(4, "big") + self.iptc + b"\0" * (len(self.iptc) % 2)
            )
            content = b"Photoshop 3.0\0" + resource
            options["extra"] = b"\xff\xed" + (len(content) + 2).to_bytes(2, "big") + content
        return options

    def _png(self) -> dict[str, Any]:
        chunks = PngInfo()
        for keyword, words in self.text.items():
            chunks.add_itxt(keyword, words)
        if self.xmp:
            chunks.add_itxt("XML:com.adobe.xmp", self.xmp.decode("utf-8", "replace"))
        return {"pnginfo": chunks} | ({"exif": self.exif} if self.exif else {})

    def _tiff(self) -> dict[str, Any]:
        tags = Image.Exif()
        if self.exif:
            tags.load(self.exif)
        tags.update({tag: part for tag, part in ((_XMP_TAG, self.xmp), (_IPTC_TAG, self.iptc)) if part})
        return {"tiffinfo": tags, "compression": "raw"}  # libtiff, needed for compression, cannot write nested tags


def read(picture: Image.Image) -> Metadata:
    """Read the metadata of a picture; damaged parts are left out.

    Args:
        picture: as opened by Pillow.
    """
    info = picture.info
    texts = {
        **getattr(picture, "text", {}),
        "Comment": info.get("comment", getattr(picture, "text", {}).get("Comment")),
    }
    exif, xmp, iptc = b"", b"", b""
    with suppress(Exception):  # damaged metadata; the pixels are intact
        exif = _described(picture.getexif())
    with suppress(Exception):
        xmp = _TURNED.sub(rb"\g<1>1", _bytes(info.get("xmp")))
    with suppress(Exception):
        iptc = _bytes(info.get("photoshop", {}).get(_IPTC_RESOURCE) or getattr(picture, "tag_v2", {}).get(_IPTC_TAG))
    comments = {
        str(keyword): words.decode("utf-8", "replace") if isinstance(words, bytes) else str(words)
        for keyword, words in texts.items() if words and keyword not in _NO_COMMENTS
    }  # fmt: skip
    return Metadata(info.get("icc_profile") or None, _density(info.get("dpi")), exif, xmp, iptc, comments)


def _bytes(value: Any) -> bytes:
    return bytes(value) if isinstance(value, (bytes, tuple)) else b""


def _density(dpi: Any) -> tuple[float, float] | None:
    with suppress(Exception):  # as above
        across, down = (float(each) for each in dpi)
        if math.isfinite(across + down) and min(across, down) > 0:
            return across, down
    return None


def _described(exif: Image.Exif) -> bytes:
    kept = Image.Exif()
    for tag in _DESCRIPTIVE:
        if tag in exif:
            kept[tag] = exif[tag]
    for part in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
        if tags := {tag: value for tag, value in exif.get_ifd(part).items() if tag not in _LAYOUT}:
            kept[part] = tags
    return kept.tobytes() if len(kept) else b""

"""Files in every state in which people have them, and what is to become of each: kept, converted, or refused why."""

import struct
import zlib
from collections.abc import Callable
from io import BytesIO

import numpy as np
import tifffile
from PIL import ExifTags, Image, ImageCms

H, W = 48, 64

KEPT = ""  # as it is; else what it is converted from, or the reason why it is refused
State = tuple[bytes, str]


def photo(height: int = H, width: int = W, seed: int = 0) -> Image.Image:
    """Return a smooth picture in RGB."""
    small = np.random.default_rng(seed).integers(30, 226, (6, 8, 3), np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def encoded(picture: Image.Image, name: str, **options: object) -> bytes:
    """Return the bytes of a picture's file."""
    picture.save(buffer := BytesIO(), name, **options)
    return buffer.getvalue()


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *more: bytes) -> bytes:
    """Assemble a PNG by hand, lies included."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = [b"IHDR" + header, *more, b"IDAT" + zlib.compress(rows), b"IEND"]
    framed = [struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


def deep_rgb(kind: str) -> bytes:
    """Sixteen bits a channel, which Pillow reads and does not write."""
    deep = np.random.default_rng(0).integers(0, 65536, (H, W, 3))
    if kind == "PNG":
        return png(W, H, 16, 2, b"".join(b"\0" + row.tobytes() for row in deep.astype(">u2")))
    return tiff_rgb16(deep.astype("<u2"))


def tiff_rgb16(deep: np.ndarray) -> bytes:
    """An uncompressed little-endian TIFF of one strip."""
    height, width, _ = deep.shape
    tags = [
        (256, 4, 1, width), (257, 4, 1, height), (258, 3, 3, 8), (259, 3, 1, 1), (262, 3, 1, 2), (273, 4, 1, 200),
        (277, 3, 1, 3), (278, 4, 1, height), (279, 4, 1, deep.nbytes), (284, 3, 1, 1),
    ]  # fmt: skip
    head = b"II*\0" + struct.pack("<I", 14) + struct.pack("<3H", 16, 16, 16)
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return (head + struct.pack("<H", len(tags)) + entries + b"\0" * 4).ljust(200, b"\0") + deep.tobytes()


def float_rgb() -> bytes:
    tifffile.imwrite(content := BytesIO(), np.ones((H, W, 3), np.float32), photometric="rgb")
    return content.getvalue()


def flipped(content: bytes, *places: int) -> bytes:
    """Flip all bits of some bytes."""
    damaged = bytearray(content)
    for place in places:
        damaged[place] ^= 0xFF
    return bytes(damaged)


def bad_checksum() -> bytes:
    whole = bytearray(encoded(photo(), "PNG"))
    whole[whole.index(b"IDAT") + 40] ^= 0xFF
    return bytes(whole)


def turned(orientation: int) -> dict[str, object]:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return {"exif": exif}


def adobe_cmyk() -> bytes:
    """A CMYK JPEG as Adobe's programs write it, all values inverted: its marker is what says so."""
    return encoded(photo().convert("CMYK"), "JPEG", quality=95)


def plain_cmyk() -> bytes:
    """The same without Adobe's marker and not inverted: a TIFF."""
    return encoded(photo().convert("CMYK"), "TIFF")


def swapped_profile() -> bytes:
    """A profile by which red looks blue."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return srgb.replace(b"rXYZ", b"????").replace(b"bXYZ", b"rXYZ").replace(b"????", b"bXYZ")


def see_through(share: float) -> Image.Image:
    """A picture whose upper part, of this share, is transparent."""
    alpha = np.full((H, W), 255, np.uint8)
    alpha[: round(H * share)] = 0
    picture = photo()
    picture.putalpha(Image.fromarray(alpha))
    return picture


def deep_grey(kind: str) -> bytes:
    return encoded(Image.fromarray(np.full((H, W), 30000, np.uint16)), kind)


def animation(kind: str, **options: object) -> bytes:
    frames = [photo(seed=1), photo(seed=2)]
    return encoded(photo(), kind, save_all=True, append_images=frames, **options)


JPEG = encoded(photo(), "JPEG", quality=90)
USABLE: dict[str, Callable[[], State]] = {
    "plain.jpg": lambda: (JPEG, KEPT),
    "progressive.jpg": lambda: (encoded(photo(), "JPEG", progressive=True), KEPT),
    **{
        f"plain.{kind.lower()}": lambda kind=kind: (encoded(photo(), kind), KEPT)
        for kind in ("PNG", "WEBP", "TIFF", "BMP", "AVIF", "PPM")
    },
    "plain.gif": lambda: (encoded(photo(), "GIF"), "palette"),
    "a png named.jpg": lambda: (encoded(photo(), "PNG"), KEPT),
    "no suffix": lambda: (JPEG, KEPT),
    "trailing garbage.jpg": lambda: (JPEG + b"garbage" * 99, KEPT),
    "grey.jpg": lambda: (encoded(photo().convert("L"), "JPEG"), "grey"),
    "grey and alpha.png": lambda: (encoded(see_through(0.2).convert("LA"), "PNG"), "grey+transparency"),
    "one bit.png": lambda: (encoded(photo().convert("1"), "PNG"), "one_bit"),
    "palette.png": lambda: (encoded(photo().quantize(16), "PNG"), "palette"),
    "palette, one clear.png": lambda: (encoded(photo().quantize(16), "PNG", transparency=3), "palette+transparency"),
    "cmyk.jpg": lambda: (adobe_cmyk(), "cmyk"),
    "cmyk.tif": lambda: (plain_cmyk(), "cmyk"),
    "ycbcr.tif": lambda: (encoded(photo().convert("YCbCr"), "TIFF", compression="raw"), "ycbcr"),
    "opaque alpha.png": lambda: (encoded(photo().convert("RGBA"), "PNG"), KEPT),
    "alpha.png": lambda: (encoded(see_through(0.3), "PNG"), "transparency"),
    "sixteen bit grey.png": lambda: (deep_grey("PNG"), "sixteen_bit+grey"),
    "sixteen bit grey.tif": lambda: (deep_grey("TIFF"), "sixteen_bit+grey"),
    "sixteen bit.png": lambda: (deep_rgb("PNG"), "sixteen_bit"),
    "sixteen bit.tif": lambda: (deep_rgb("TIFF"), "sixteen_bit"),
    "two pages.tif": lambda: (animation("TIFF"), "first_frame"),
    "animation.gif": lambda: (animation("GIF"), "palette+first_frame"),
    "animation.webp": lambda: (animation("WEBP", lossless=True), "first_frame"),
    "animation.png": lambda: (animation("PNG"), "first_frame"),
    "upright.jpg": lambda: (encoded(photo(), "JPEG", **turned(1)), KEPT),
    **{
        f"turned {way}.{kind.lower()}": lambda way=way, kind=kind: (encoded(photo(), kind, **turned(way)), "turned")
        for way in range(2, 9) for kind in ("JPEG", "PNG", "TIFF", "WEBP")
    },
    "profile.jpg": lambda: (encoded(photo(), "JPEG", icc_profile=swapped_profile()), "profile"),
    "broken profile.jpg": lambda: (encoded(photo(), "JPEG", icc_profile=b"no profile"), KEPT),
}  # fmt: skip
REFUSED: dict[str, Callable[[], State]] = {
    "empty.jpg": lambda: (b"", "not_an_image"),
    "text.jpg": lambda: (b"a text named .jpg", "not_an_image"),
    "page.jpg": lambda: (b"<!doctype html><title>404</title>", "not_an_image"),
    "drawing.svg": lambda: (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not_an_image"),
    "document.pdf": lambda: (b"%PDF-1.7\n%%EOF", "not_an_image"),
    "header only.jpg": lambda: (JPEG[: JPEG.index(b"\xff\xda")], "corrupt"),
    "flipped bits.jpg": lambda: (flipped(JPEG, *np.arange(len(JPEG) // 2, len(JPEG) - 20, 30)), "corrupt"),
    "flipped bits in the header.jpg": lambda: (flipped(JPEG, JPEG.index(b"\xff\xc4") + 10), "corrupt"),
    "flipped bits.png": lambda: (flipped(encoded(photo(), "PNG"), 1000), "corrupt"),
    "first bytes only.jpg": lambda: (JPEG[:20], "not_an_image"),
    "half.jpg": lambda: (JPEG[: len(JPEG) // 2], "truncated"),
    "half progressive.jpg": lambda: (encoded(photo(), "JPEG", progressive=True)[:-400], "truncated"),
    "last two bytes missing.jpg": lambda: (JPEG[:-2], "truncated"),
    "half.png": lambda: (encoded(photo(), "PNG")[:-900], "truncated"),
    "half.webp": lambda: (encoded(photo(), "WEBP")[:-300], "corrupt"),
    "half.tif": lambda: (encoded(photo(), "TIFF")[:-900], "truncated"),
    "half.bmp": lambda: (encoded(photo(), "BMP")[:-900], "truncated"),
    "bad checksum.png": lambda: (bad_checksum(), "corrupt"),
    "float.tif": lambda: (encoded(Image.fromarray(np.ones((H, W), np.float32)), "TIFF"), "float_image"),
    "float colours.tif": lambda: (float_rgb(), "float_image"),
    "integers.tif": lambda: (encoded(Image.fromarray(np.ones((H, W), np.int32)), "TIFF"), "bit_depth"),
    "nothing to see.png": lambda: (encoded(see_through(0.8), "PNG"), "mostly_transparent"),
    "one pixel.png": lambda: (encoded(photo(1, 1), "PNG"), "too_small"),
    "a line.png": lambda: (encoded(photo(1, 4000), "PNG"), "too_small"),
    "too many pixels.png": lambda: (png(1001, 1000, 1, 0, b"\0" * 126000), "too_many_pixels"),
    "lying header.png": lambda: (png(60000, 60000, 8, 2, b"\0"), "too_many_pixels"),
    "text bomb.png": lambda: (png(1, 1, 8, 0, b"\0\0", b"zTXta\0\0" + zlib.compress(b"\0" * 10**8)), "corrupt"),
}

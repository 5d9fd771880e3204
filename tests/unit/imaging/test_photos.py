"""A photo comes back as it was but for its holes: size, profile, transparency, one channel, upright."""

from io import BytesIO
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms

from stages.imaging.images import BadImageError
from stages.imaging.photos import encode, lost, read_photo, target
from tests.bad_files import REFUSED, deep_rgb, flipped, png

H, W = 48, 64
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()


def pixels(channels: int = 3) -> np.ndarray:
    return np.random.default_rng(channels).integers(0, 256, (H, W, channels), np.uint8)


def file_of(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    picture.save(content := BytesIO(), kind, **options)
    return content.getvalue()


def camera(orientation: int, nested: bool = True) -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    exif[ExifTags.Base.Make] = "Camera"
    if nested:
        exif.get_ifd(ExifTags.IFD.Exif).update({ExifTags.Base.ISOSpeedRatings: 400, ExifTags.Base.ExifImageWidth: 9})
        exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = "N"
    return exif


def rotated(orientation: int) -> bytes:
    return file_of(Image.fromarray(pixels()), exif=camera(orientation).tobytes())


def reopened(content: bytes) -> Image.Image:
    return Image.open(BytesIO(content))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_it_is_upright_whatever_its_exif_says_and_stays_so_when_written(orientation: int) -> None:
    photo = read_photo(rotated(orientation), 1)
    assert photo.pixels.shape == ((H, W, 3) if orientation < 5 else (W, H, 3))
    again = encode(photo, "PNG", keep_exif=True)
    assert np.array_equal(read_photo(again, 1).pixels, photo.pixels)
    assert reopened(again).getexif()[ExifTags.Base.Make] == "Camera"


XMP = b'<x:xmpmeta><rdf:Description tiff:Orientation="6" dc:title="T"/></x:xmpmeta>'
IPTC = b"\x1c\x02\x78\x00\x07Caption"


def told(kind: str) -> bytes:
    """A photo turned by 90 degrees whose file says all that a file can say."""
    resource = b"Photoshop 3.0\x008BIM\x04\x04\0\0" + len(IPTC).to_bytes(4, "big") + IPTC
    options = {"JPEG": {"extra": b"\xff\xed" + (len(resource) + 2).to_bytes(2, "big") + resource, "comment": "Hello"}}
    exif = camera(6)
    if kind == "TIFF":
        exif[700], exif[33723] = XMP, IPTC
    return file_of(
        Image.fromarray(pixels()), kind, exif=exif.tobytes(), xmp=XMP, dpi=(300, 300), **options.get(kind, {})
    )


@pytest.mark.parametrize("source", ["JPEG", "TIFF"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_camera_and_place_are_private_unless_asked_for(source: str, kind: str) -> None:
    photo = read_photo(told(source), 1)
    plain = reopened(encode(photo, kind))
    assert ExifTags.Base.Make not in plain.getexif()
    assert not {"xmp", "comment", "photoshop"} & set(plain.info)
    kept = reopened(encode(photo, kind, keep_exif=True))
    kept.load()
    exif = kept.getexif()
    assert (exif[ExifTags.Base.Make], exif.get(ExifTags.Base.Orientation, 1)) == ("Camera", 1)
    assert exif.get_ifd(ExifTags.IFD.Exif) == {ExifTags.Base.ISOSpeedRatings: 400}
    assert exif.get_ifd(ExifTags.IFD.GPSInfo) == {ExifTags.GPS.GPSLatitudeRef: "N"}
    assert b'dc:title="T"' in kept.info["xmp"]
    assert b'Orientation="6"' not in kept.info["xmp"]
    again = read_photo(encode(photo, kind, keep_exif=True), 1).metadata
    said = lost(photo, kind, keep_exif=True)
    assert all(line.endswith("comments, which are dropped" if "comments" in line else "is dropped") for line in said)
    losing = {line.split()[3].rstrip(",") for line in said}
    assert losing == {name for name, part in (("IPTC", again.iptc), ("comments", again.text)) if not part} - (
        {"comments"} if source == "TIFF" else set()
    )
    assert again.iptc in (IPTC, b"")


@pytest.mark.parametrize(
    ("mode", "compression"),
    [
        *product(["P", "L", "1", "RGBA", "RGB", "CMYK", "YCbCr"], ["raw", "tiff_lzw"]),
        *product(["L", "RGB", "CMYK"], ["jpeg"]),
    ],
)
def test_a_tiff_of_any_layout_keeps_its_camera_and_its_pixels(mode: str, compression: str) -> None:
    picture = Image.fromarray(pixels()).convert(mode)
    photo = read_photo(file_of(picture, "TIFF", exif=camera(6, nested=False).tobytes(), compression=compression), 1)
    kept = read_photo(encode(photo, "TIFF", keep_exif=True), 1)
    assert np.array_equal(kept.pixels, photo.pixels)
    assert photo.pixels.shape == (W, H, 3)
    assert kept.metadata.exif == photo.metadata.exif != b""


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_numbers_are_not_converted_and_the_profile_is_kept(kind: str) -> None:
    photo = read_photo(file_of(Image.fromarray(pixels()), icc_profile=PROFILE), 1)
    assert np.array_equal(photo.pixels, pixels())
    written = encode(photo, kind)
    assert reopened(written).info["icc_profile"] == PROFILE
    if kind != "JPEG":
        assert np.array_equal(np.asarray(reopened(written)), pixels())


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_transparency_is_kept_and_so_are_the_colours_under_it(kind: str) -> None:
    photo = read_photo(file_of(Image.fromarray(pixels(4))), 1)
    assert np.array_equal(np.asarray(reopened(encode(photo, kind))), pixels(4))


def test_one_channel_stays_one_channel_to_the_bit() -> None:
    grey = pixels(1)[..., 0]
    photo = read_photo(file_of(Image.fromarray(grey)), 1)
    written = reopened(encode(photo, "PNG"))
    assert written.mode == "L"
    assert np.array_equal(np.asarray(written), grey)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_grey_of_sixteen_bits_stays_so(kind: str) -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (H, W)).astype(np.uint16)
    photo = read_photo(file_of(Image.fromarray(deep), kind), 1)
    assert np.array_equal(np.asarray(reopened(encode(photo, kind))), deep)
    assert reopened(encode(photo, "JPEG")).mode == "L"
    assert lost(photo, "JPEG") == ["JPEG holds 8 bits per channel, so 16 become 8"]


def test_grey_of_sixteen_bits_with_transparency_stays_grey() -> None:
    rows = np.random.default_rng(0).integers(0, 65536, (H, 2 * W)).astype(">u2")
    photo = read_photo(png(W, H, 16, 4, b"".join(b"\0" + row.tobytes() for row in rows)), 1)
    assert reopened(encode(photo, "PNG")).mode == "LA"
    assert "more than 8 bits per channel become 8" in photo.notes[0]


def cmyk() -> bytes:
    return file_of(Image.new("CMYK", (W, H)), "TIFF")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (cmyk(), "CMYK pixels converted to 8-bit sRGB"),
        (deep_rgb("PNG"), "more than 8 bits per channel become 8"),
        (deep_rgb("TIFF"), "more than 8 bits per channel become 8"),
        (flipped(file_of(Image.fromarray(pixels()), "JPEG"), 2000), "the file is damaged"),
    ],
)
def test_what_cannot_be_kept_is_converted_and_said(content: bytes, said: str) -> None:
    photo = read_photo(content, 1)
    assert photo.pixels.shape == (H, W, 3)
    assert said in photo.notes[0]


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("quality", [30, 75, 98])
def test_a_jpeg_keeps_its_own_quality_and_density(quality: int, subsampling: int) -> None:
    smooth = Image.fromarray(pixels()).resize((300, 200))
    content = file_of(smooth, "JPEG", quality=quality, subsampling=subsampling, dpi=(300, 200))
    photo = read_photo(content, 1)
    again = encode(photo, "JPEG")
    assert 0.95 < len(again) / len(content) < 1.05
    assert reopened(again).info["dpi"] == (300, 200)
    own, other = (read_photo(each, 1).pixels.astype(int) for each in (again, encode(photo, "JPEG", quality=95)))
    assert np.abs(own - photo.pixels).mean() < 1.2 * np.abs(other - photo.pixels).mean() + 0.1


@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_a_turned_jpeg_keeps_its_quality_like_an_upright_one(subsampling: int) -> None:
    picture, changes = Image.fromarray(pixels()).resize((304, 208)), []
    for orientation in (1, 6, 8):
        exif = Image.Exif()
        exif[0x0112] = orientation
        photo = read_photo(file_of(picture, "JPEG", quality=60, subsampling=subsampling, exif=exif), 1)
        again = read_photo(encode(photo, "JPEG"), 1)
        changes.append(np.abs(again.pixels.astype(int) - photo.pixels).mean())
    assert max(changes[1:]) < 1.5 * changes[0] + 0.05


def test_a_lossy_webp_does_not_become_ten_times_as_large() -> None:
    smooth = Image.fromarray(pixels()).resize((300, 200))
    for options, most in (({"quality": 75}, 2.0), ({"lossless": True}, 1.3)):
        content = file_of(smooth, "WEBP", **options)
        photo = read_photo(content, 1)
        again = encode(photo, "WEBP")
        assert len(again) < most * len(content)
        assert np.array_equal(read_photo(again, 1).pixels, photo.pixels) == ("lossless" in options)


def test_of_several_frames_the_first_is_taken_and_that_is_said() -> None:
    frames = [Image.new("RGB", (W, H), colour) for colour in ("red", "blue")]
    photo = read_photo(file_of(frames[0], "TIFF", save_all=True, append_images=frames[1:]), 1)
    assert photo.pixels[0, 0].tolist() == [255, 0, 0]
    assert photo.notes == ("only the first of several frames is used",)


@pytest.mark.parametrize("name", ["text.jpg", "half.jpg", "too many pixels.png"])
def test_what_cannot_be_used_is_refused_from_memory_and_from_a_file(tmp_path: Path, name: str) -> None:
    content, code = REFUSED[name]()
    (tmp_path / "photo.jpg").write_bytes(content)
    with pytest.raises(BadImageError, match=code):
        read_photo(content, 1)
    with pytest.raises(BadImageError, match=rf"photo\.jpg.*{code}"):
        read_photo(tmp_path / "photo.jpg", 1)


@pytest.mark.parametrize(
    ("wanted", "suffix", "kind"),
    [
        ("keep", "", "PNG"),
        ("keep", ".JPG", "JPEG"),
        ("keep", ".gif", "PNG"),
        ("jpg", ".png", "JPEG"),
        ("png", "", "PNG"),
    ],
)
def test_the_format_follows_from_what_is_wanted_and_the_suffix(wanted: str, suffix: str, kind: str) -> None:
    assert target(read_photo(file_of(Image.fromarray(pixels())), 1), wanted, suffix) == kind

"""A photo comes back as it was but for its holes: size, profile, transparency, one channel, upright."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms

from stages.imaging.images import BadImageError
from stages.imaging.photos import encode, open_photo, read_photo, target

H, W = 48, 64
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()


def pixels(channels: int = 3) -> np.ndarray:
    return np.random.default_rng(channels).integers(0, 256, (H, W, channels), np.uint8)


def file_of(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    picture.save(content := BytesIO(), kind, **options)
    return content.getvalue()


def rotated(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    exif[ExifTags.Base.Make] = "Camera"
    return file_of(Image.fromarray(pixels()), exif=exif.tobytes())


def reopened(content: bytes) -> Image.Image:
    return Image.open(BytesIO(content))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_it_is_upright_whatever_its_exif_says_and_stays_so_when_written(orientation: int) -> None:
    photo = read_photo(rotated(orientation), 1)
    assert photo.pixels.shape == ((H, W, 3) if orientation < 5 else (W, H, 3))
    again = encode(photo, photo.pixels, "PNG", keep_exif=True)
    assert np.array_equal(read_photo(again, 1).pixels, photo.pixels)
    assert reopened(again).getexif()[ExifTags.Base.Make] == "Camera"


def test_camera_and_place_are_private_unless_asked_for() -> None:
    photo = read_photo(rotated(6), 1)
    assert not dict(reopened(encode(photo, photo.pixels, "PNG")).getexif())


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_numbers_are_not_converted_and_the_profile_is_kept(kind: str) -> None:
    photo = read_photo(file_of(Image.fromarray(pixels()), icc_profile=PROFILE), 1)
    assert np.array_equal(photo.pixels, pixels())
    written = encode(photo, photo.pixels, kind)
    assert reopened(written).info["icc_profile"] == PROFILE
    if kind != "JPEG":
        assert np.array_equal(np.asarray(reopened(written)), pixels())


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_transparency_is_kept_and_so_are_the_colours_under_it(kind: str) -> None:
    photo = read_photo(file_of(Image.fromarray(pixels(4))), 1)
    assert np.array_equal(np.asarray(reopened(encode(photo, photo.pixels, kind))), pixels(4))


def test_one_channel_stays_one_channel_to_the_bit() -> None:
    grey = pixels(1)[..., 0]
    photo = read_photo(file_of(Image.fromarray(grey)), 1)
    written = reopened(encode(photo, photo.pixels, "PNG"))
    assert written.mode == "L"
    assert np.array_equal(np.asarray(written), grey)


@pytest.mark.parametrize(("mode", "said"), [("CMYK", "CMYK pixels converted"), ("I;16", "I;16 pixels converted")])
def test_what_cannot_be_kept_is_converted_and_said(mode: str, said: str) -> None:
    picture = Image.new(mode, (W, H)) if mode == "CMYK" else Image.fromarray(np.full((H, W), 40000, np.uint16))
    photo = read_photo(file_of(picture, "TIFF"), 1)
    assert photo.pixels.shape == (H, W, 3)
    assert said in photo.notes[0]


def test_of_several_frames_the_first_is_taken_and_that_is_said() -> None:
    frames = [Image.new("RGB", (W, H), colour) for colour in ("red", "blue")]
    photo = read_photo(file_of(frames[0], "TIFF", save_all=True, append_images=frames[1:]), 1)
    assert photo.pixels[0, 0].tolist() == [255, 0, 0]
    assert photo.notes == ("the first of 2 frames",)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"no picture", "not_an_image"),
        (file_of(Image.fromarray(pixels()), "JPEG")[:-300], "truncated"),
        (file_of(Image.new("1", (2000, 1000))), "too_many_pixels"),
    ],
)
def test_what_cannot_be_used_is_refused_from_memory_and_from_a_file(tmp_path: Path, content: bytes, code: str) -> None:
    (tmp_path / "photo.jpg").write_bytes(content)
    with pytest.raises(BadImageError, match=code):
        read_photo(content, 1)
    with pytest.raises(BadImageError, match=rf"photo\.jpg.*{code}"):
        open_photo(tmp_path / "photo.jpg", 1)


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

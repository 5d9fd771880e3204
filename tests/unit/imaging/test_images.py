"""The loader: every kind of picture comes out as it looks, every broken one is refused by name."""

import os
import pickle
import re
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms

from stages.imaging.images import BadImageError, decode_image, load_image, save_png
from tests.bad_files import REFUSED, encoded, photo, png, swapped_profile

H, W = 48, 64


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (H, W, 3), np.uint8)


def load(picture: Image.Image, tmp_path: Path, name: str = "a.png", **options) -> np.ndarray:
    picture.save(tmp_path / name, **options)
    return load_image(tmp_path / name, 1)


def refusal(path: Path) -> str:
    with pytest.raises(BadImageError, match=re.escape(path.name)) as caught:
        load_image(path, 1)
    return caught.value.code


def test_what_save_png_writes_comes_back_and_can_be_changed(pixels, tmp_path):
    save_png(tmp_path / "new" / "a.png", pixels)
    loaded = load_image(tmp_path / "new" / "a.png", 1)
    assert np.array_equal(loaded, pixels)
    assert loaded.dtype == np.uint8
    assert loaded.flags.writeable
    assert loaded.flags.c_contiguous


@pytest.mark.parametrize("wrong", [np.zeros((H, W), np.uint8), np.zeros((H, W, 4), np.uint8), np.zeros((H, W, 3))])
def test_save_png_takes_only_rgb_bytes(wrong, tmp_path):
    with pytest.raises(ValueError, match=r"should be uint8 \(H, W, 3\), but is"):
        save_png(tmp_path / "a.png", wrong)
    assert not list(tmp_path.iterdir())


# What a viewer shows of stored pixels, from the EXIF 2.3 specification: where row 0 and column 0 belong.
SHOWN = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: stored.swapaxes(0, 1)[:, ::-1],
    7: lambda stored: stored.swapaxes(0, 1)[::-1, ::-1],
    8: lambda stored: stored.swapaxes(0, 1)[::-1],
}


@pytest.mark.parametrize("orientation", SHOWN)
@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.webp"])
def test_pictures_are_turned_upright_once(orientation, name, pixels, tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    options = {"lossless": True} if name == "a.webp" else {}
    loaded = load(Image.fromarray(pixels), tmp_path, name, exif=exif, **options)
    assert np.array_equal(loaded, SHOWN[orientation](pixels))


@pytest.mark.parametrize("exif", [b"Exif\0\0garbage here", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\0\0"])
def test_damaged_exif_data_does_no_harm(exif, pixels, tmp_path):
    loaded = load(Image.fromarray(pixels), tmp_path, exif=exif)
    assert np.array_equal(loaded, pixels)


def test_grey_and_one_bit_pictures_are_repeated_in_all_channels(tmp_path):
    ramp = np.linspace(0, 255, H * W).astype(np.uint8).reshape(H, W)
    assert np.array_equal(load(Image.fromarray(ramp), tmp_path), np.stack([ramp] * 3, axis=2))
    bits = load(Image.fromarray(ramp > 99), tmp_path)
    assert np.array_equal(bits[:, :, 1], np.where(ramp > 99, 255, 0))


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_sixteen_bit_grey_is_divided_by_257(name, tmp_path):
    deep = np.arange(256, dtype=np.uint16).repeat(12).reshape(H, W) * 257
    deep[0, :3] = [128, 129, 65535 - 128]
    loaded = load(Image.fromarray(deep), tmp_path, name)
    assert np.array_equal(loaded[1:, :, 2], deep[1:] // 257)
    assert loaded[0, :3, 0].tolist() == [0, 1, 255]


def test_sixteen_bit_colour_keeps_its_high_bytes(tmp_path):
    deep = np.random.default_rng(0).integers(0, 65536, (H, W, 3)).astype(">u2")
    (tmp_path / "a.png").write_bytes(png(W, H, 16, 2, b"".join(b"\0" + row.tobytes() for row in deep)))
    assert np.array_equal(load_image(tmp_path / "a.png", 1), deep >> 8)


def test_transparency_is_laid_on_white(tmp_path):
    rgba = np.zeros((H, W, 4), np.uint8)
    rgba[:, :, 0] = 200
    rgba[:, :, 3] = 255
    rgba[:8, :, 3] = 0
    rgba[8:16, :, 3] = 51
    loaded = load(Image.fromarray(rgba), tmp_path)
    assert loaded[0, 0].tolist() == [255, 255, 255]
    assert loaded[8, 0].tolist() == [244, 204, 204]  # a fifth of (200, 0, 0)
    assert loaded[16, 0].tolist() == [200, 0, 0]


def test_a_transparent_colour_of_a_palette_grey_or_rgb_picture_is_white(tmp_path):
    rgb = np.full((H, W, 3), 40, np.uint8)
    rgb[:10] = 7
    palette = Image.fromarray(rgb).quantize(2)
    for picture, clear in [
        (Image.fromarray(rgb), (7, 7, 7)),
        (Image.fromarray(rgb[:, :, 0]), 7),
        (palette, palette.getpixel((0, 0))),
    ]:
        loaded = load(picture, tmp_path, transparency=clear)
        assert loaded[9, 63].tolist() == [255, 255, 255]
        assert loaded[10, 63].tolist() == [40, 40, 40]


def test_cmyk_jpegs_are_not_negatives(tmp_path):
    cyan = load(Image.new("CMYK", (W, H), (255, 0, 0, 0)), tmp_path, "a.jpg", quality=100)
    assert np.abs(cyan[20, 20].astype(int) - [0, 255, 255]).max() <= 2


def test_the_colour_profile_is_applied(pixels, tmp_path):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = swapped_profile()
    assert np.array_equal(load(Image.fromarray(pixels), tmp_path, icc_profile=srgb), pixels)
    loaded = load(Image.fromarray(pixels), tmp_path, icc_profile=swapped)
    assert np.abs(loaded.astype(int) - pixels[:, :, ::-1]).max() <= 1
    for mode in ("RGBA", "P", "YCbCr"):
        picture = Image.fromarray(pixels).convert(mode)
        wanted = load(picture.convert("RGB"), tmp_path, icc_profile=swapped)
        assert np.array_equal(load(picture, tmp_path, "a.tif", icc_profile=swapped), wanted), mode


def test_a_broken_or_foreign_profile_is_ignored(pixels, tmp_path):
    assert np.array_equal(load(Image.fromarray(pixels), tmp_path, icc_profile=b"no profile"), pixels)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    grey = load(Image.fromarray(pixels[:, :, 0]), tmp_path, icc_profile=srgb)
    assert np.array_equal(grey[:, :, 0], pixels[:, :, 0])


def test_the_first_frame_counts_and_the_suffix_does_not(pixels, tmp_path):
    frames = [Image.fromarray(frame) for frame in (pixels, 255 - pixels)]
    loaded = load(frames[0], tmp_path, "a.tif", save_all=True, append_images=frames[1:])
    (tmp_path / "a.tif").rename(tmp_path / "a.jpg")
    assert np.array_equal(loaded, pixels)
    assert np.array_equal(load_image(tmp_path / "a.jpg", 1), pixels)


def test_what_follows_the_picture_in_its_file_is_ignored(pixels, tmp_path):
    save_png(tmp_path / "a.png", pixels)
    with (tmp_path / "a.png").open("ab") as file:
        file.write(b"garbage")
    assert np.array_equal(load_image(tmp_path / "a.png", 1), pixels)


@pytest.mark.parametrize("name", [name for name, make in REFUSED.items() if make()[1] != "too_small"])
def test_unusable_files_are_refused_with_their_reason(name, tmp_path):
    content, code = REFUSED[name]()
    (tmp_path / name).write_bytes(content)
    assert refusal(tmp_path / name) == code


def test_the_pixel_limit_is_inclusive(tmp_path):
    (tmp_path / "a.png").write_bytes(png(1000, 1000, 1, 0, b"\0" * 126000))
    assert load_image(tmp_path / "a.png", 1).shape == (1000, 1000, 3)


def test_what_is_no_regular_file_is_refused_without_waiting(pixels, tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "dangling.jpg").symlink_to("nowhere")
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    codes = [refusal(tmp_path / f"{name}.jpg") for name in ("pipe", "folder", "dangling", "loop", "absent")]
    assert codes == ["not_a_file", "not_a_file", "unreadable", "unreadable", "unreadable"]
    save_png(tmp_path / "a.png", pixels)
    (tmp_path / "link.png").symlink_to("a.png")
    assert np.array_equal(load_image(tmp_path / "link.png", 1), pixels)


def test_a_refusal_names_the_file_in_words_that_can_be_written(tmp_path):
    with pytest.raises(BadImageError) as caught:
        load_image(os.fsdecode(bytes(tmp_path / "caf") + b"\xe9.jpg"), 1)
    assert str(caught.value).startswith(f"{tmp_path}/caf\\xe9.jpg: ")
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (copy.code, copy.detail, copy.name) == (caught.value.code, caught.value.detail, caught.value.name)


def test_decoding_from_memory_needs_no_name():
    assert decode_image(BytesIO(encoded(photo(), "PNG")), 1).shape == (H, W, 3)
    with pytest.raises(BadImageError, match=r"^the picture: .*not a picture.* \(not_an_image\)$"):
        decode_image(BytesIO(b"text"), 1)

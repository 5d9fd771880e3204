"""params.yaml speaks to the person who wrote it."""

from pathlib import Path

import pytest
from pydantic import Field

from stages.runtime.errors import ParamsError
from stages.runtime.params import Settings, read, read_seed


class Brush(Settings):
    width_px: int = Field(ge=1)
    colour: str


@pytest.fixture
def params(tmp_path: Path) -> Path:
    path = tmp_path / "params.yaml"
    path.write_text("seed: 3\ntools:\n  brush: {width_px: 4, colour: red}\n")
    return path


def test_sections_and_single_values(params: Path) -> None:
    assert read("seed", int, params) == 3
    assert read("tools.brush", Brush, params) == Brush(width_px=4, colour="red")


@pytest.mark.parametrize(("text", "message"), [
    ("{width_pxx: 4, colour: red}", r"`tools.brush.width_pxx` is not a known key; did you mean `width_px`\?"),
    ("{zzz: 4, width_px: 1, colour: red}", "`tools.brush.zzz` is not a known key; known keys: width_px, colour"),
    ("{width_px: 4}", "`tools.brush.colour` is missing"),
    ("{width_px: 0, colour: red}", "`tools.brush.width_px` is 0: Input should be greater than or equal to 1"),
    ("{width_px: four, colour: red}", "`tools.brush.width_px` is 'four': Input should be a valid integer"),
])  # fmt: skip
def test_what_is_wrong_is_named(params: Path, text: str, message: str) -> None:
    params.write_text(f"tools:\n  brush: {text}\n")
    with pytest.raises(ParamsError, match=message):
        read("tools.brush", Brush, params)


def test_a_missing_section_suggests_the_nearest(params: Path) -> None:
    with pytest.raises(ParamsError, match=r"`tools.brsh` is missing; did you mean `brush`\?"):
        read("tools.brsh", Brush, params)
    with pytest.raises(ParamsError, match="`seed.deep` is missing"):
        read("seed.deep", int, params)


@pytest.mark.parametrize(("text", "message"), [
    ("a: [1,", "is not valid YAML"), ("- 1\n- 2\n", "should contain sections"), ("", "should contain sections"),
])  # fmt: skip
def test_a_file_that_is_no_params_file(params: Path, text: str, message: str) -> None:
    params.write_text(text)
    with pytest.raises(ParamsError, match=message):
        read("seed", int, params)


def test_no_file_at_all(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="run stages in the project's root"):
        read("seed", int, tmp_path / "params.yaml")


def test_the_seed_is_checked_in_one_place(params: Path) -> None:
    assert read_seed(params) == 3
    params.write_text("seed: -1\n")
    with pytest.raises(ParamsError, match="`seed` is -1"):
        read_seed(params)

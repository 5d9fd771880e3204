"""The page in a real browser: what people do with mouse, finger and keyboard, and the pixels they get."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import ExifTags, Image
from playwright.sync_api import Browser, Page, expect
from skimage.data import coffee

from stages.inpainting.cropping import Settings
from stages.inpainting.inpainter import load
from tests.browser import unreadable
from tests.clone import ROOT
from tests.tracked import answers, free_port, wait_for

FEATHER = 0  # what the page sets when it opens
H, W = coffee().shape[:2]


@contextmanager
def serving(folder: Path, *words: str) -> Iterator[tuple[str, psutil.Process]]:
    """A server that people would start: its address and its process."""
    port = free_port()
    command = [Path(sys.executable).parent / "inpaint", "serve", "--model", "telea", *words, "--port", str(port)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            wait_for(lambda: answers(f"http://127.0.0.1:{port}/readyz"), 60)
            yield f"http://127.0.0.1:{port}/", psutil.Process(process.pid)
        finally:
            process.terminate()
            assert process.wait(20) in (0, -15)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, psutil.Process]]:
    with serving(tmp_path_factory.mktemp("server"), "--model", "biharmonic", "--max-megapixels", "2") as server:
        yield server


@pytest.fixture(scope="module")
def address(server: tuple[str, psutil.Process]) -> str:
    return server[0]


def filler(server: psutil.Process) -> psutil.Process:
    """The process that fills."""
    return next(each for each in server.children() if "spawn_main" in " ".join(each.cmdline()))


@pytest.fixture
def page(address: str, browser: Browser) -> Iterator[Page]:
    """A page that asks nobody but its server and makes no error."""
    context = browser.new_context(viewport={"width": 1200, "height": 850}, accept_downloads=True)
    page = context.new_page()
    asked, wrong = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(address)
    yield page
    context.close()
    assert not wrong
    assert not [url for url in asked if not url.startswith((address, "data:", "blob:"))]


def open_example(page: Page) -> None:
    page.get_by_role("button", name="Example: coffee").click()
    expect(page.locator("#said")).to_contain_text(f"{W} \N{MULTIPLICATION SIGN} {H} pixels")


def drag(page: Page, *points: tuple[float, float], button: str = "left") -> None:
    """Paint a line through points, given as shares of the photo's width and height."""
    box = page.locator("#paint").bounding_box()
    assert box is not None
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down(button=button)
    for place in places[1:]:
        page.mouse.move(*place, steps=6)
    page.mouse.up(button=button)


def saved(page: Page, button: str) -> bytes:
    with page.expect_download() as download:
        page.locator(button).click()
    return Path(download.value.path()).read_bytes()


def hole(page: Page) -> np.ndarray:
    """The hole as the page saves it."""
    if not page.locator("details").get_attribute("open") and not page.locator("#holeSave").is_visible():
        page.locator("summary").click()
    return pixels(saved(page, "#holeSave")).max(axis=2) >= 128


def pixels(content: bytes) -> np.ndarray:
    with Image.open(BytesIO(content)) as picture:
        return np.asarray(picture.convert("RGB"))


def fill(page: Page) -> None:
    page.get_by_role("button", name="Fill", exact=True).click()
    expect(page.locator("#said")).to_contain_text("Filled in", timeout=20_000)


def png(array: np.ndarray, **options: object) -> dict[str, object]:
    Image.fromarray(array).save(content := BytesIO(), "PNG", **options)
    return {"name": "given.png", "mimeType": "image/png", "buffer": content.getvalue()}


def test_what_is_painted_twice_and_downloaded_is_what_the_inpainter_gives(page: Page) -> None:
    open_example(page)
    drag(page, (0.3, 0.3), (0.4, 0.5))
    first = hole(page)
    fill(page)
    drag(page, (0.7, 0.6), (0.75, 0.7), (0.7, 0.75))
    second = hole(page)
    page.get_by_label("Method").select_option("biharmonic")
    fill(page)
    once, _ = load("telea")(coffee(), first, Settings(feather=FEATHER))
    twice, _ = load("biharmonic")(once, second, Settings(feather=FEATHER))
    assert first.sum() > 1000
    assert np.array_equal(pixels(saved(page, "#download")), twice)
    for _ in range(2):  # back before the second filling, and its stroke is there again
        page.get_by_role("button", name="Undo").click()
        if page.locator("#holeSave").is_enabled():
            break
    assert np.array_equal(hole(page), second)
    assert np.array_equal(pixels(saved(page, "#download")), once)


def test_eraser_right_button_undo_redo_and_clear(page: Page) -> None:
    open_example(page)
    drag(page, (0.2, 0.5), (0.8, 0.5))
    whole = hole(page)
    page.get_by_role("button", name="Eraser").click()
    drag(page, (0.5, 0.4), (0.5, 0.6))
    erased = hole(page)
    assert erased.sum() < whole.sum()
    page.get_by_role("button", name="Brush", exact=True).click()
    drag(page, (0.3, 0.4), (0.3, 0.6), button="right")
    assert hole(page).sum() < erased.sum()
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")
    assert np.array_equal(hole(page), whole)
    page.get_by_role("button", name="Redo").click()
    assert np.array_equal(hole(page), erased)
    page.get_by_role("button", name="Clear").click()
    expect(page.get_by_role("button", name="Fill", exact=True)).to_be_disabled()


def test_a_photo_of_ones_own_and_a_hole_from_a_file(page: Page) -> None:
    """Turned by the camera, with the hole as the photo's size is when upright."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    page.locator("#openFirst").set_input_files(png(coffee(), exif=exif.tobytes()))
    expect(page.locator("#said")).to_contain_text(f"{H} \N{MULTIPLICATION SIGN} {W} pixels")
    missing = np.zeros((W, H), bool)
    missing[100:160, 50:90] = True
    page.locator("summary").click()
    page.locator("#holeFile").set_input_files(png(np.where(missing.T, 255, 0).astype(np.uint8)))
    expect(page.get_by_role("alert")).to_contain_text("they should be the same")
    page.locator("#holeFile").set_input_files(png(np.where(missing, 255, 0).astype(np.uint8)))
    assert np.array_equal(hole(page), missing)
    page.get_by_role("button", name="Invert").click()
    assert np.array_equal(hole(page), ~missing)
    page.get_by_role("button", name="Undo").click()
    fill(page)
    upright = np.rot90(coffee(), -1)
    wanted, _ = load("telea")(np.ascontiguousarray(upright), missing, Settings(feather=FEATHER))
    assert np.array_equal(pixels(saved(page, "#download")), wanted)


@pytest.mark.parametrize(("name", "size"), [("tiny.heic", None), ("scan.tif", (400, 600))])
def test_a_photo_that_the_browser_cannot_read_is_converted_by_the_server(
    page: Page, name: str, size: tuple[int, int] | None, tmp_path: Path
) -> None:
    path = ROOT / "tests/tiny.heic"
    if size:
        Image.fromarray(coffee()).save(path := tmp_path / name)
    page.locator("#openFirst").set_input_files(path)
    expect(page.locator("#said")).to_contain_text("pixels. Paint over")
    drag(page, (0.4, 0.4), (0.6, 0.4))
    fill(page)
    if size:
        assert pixels(saved(page, "#download")).shape[:2] == size


def test_all_of_it_by_keyboard(page: Page) -> None:
    page.get_by_role("button", name="Example: coffee").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#paint")).to_be_focused()
    for key in ("ArrowRight", "Space", "Shift+ArrowDown", "Shift+ArrowDown"):
        page.keyboard.press(key)
    expect(page.locator("#said")).to_contain_text("Brush at")
    page.keyboard.press("Enter")
    expect(page.locator("#said")).to_contain_text("Filled in", timeout=20_000)
    page.locator("summary").press("Enter")
    page.get_by_label("left").fill("590")
    page.get_by_role("button", name="Mark", exact=True).press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("within the 600 \N{MULTIPLICATION SIGN} 400 pixels")
    page.get_by_label("left").fill("20")
    page.get_by_role("button", name="Mark", exact=True).press("Enter")
    assert hole(page).sum() == 100 * 100


def test_compare_shows_the_photo_as_it_was(page: Page) -> None:
    open_example(page)
    drag(page, (0.4, 0.4), (0.6, 0.4))
    fill(page)
    expect(page.locator("#before")).to_be_hidden()
    page.locator("#compare").fill("50")
    expect(page.locator("#before")).to_be_visible()
    assert "50%" in str(page.locator("#before").evaluate("image => image.style.clipPath"))


def test_a_photo_given_as_its_own_hole_and_one_the_wrong_way_round_are_doubted(page: Page, tmp_path: Path) -> None:
    open_example(page)
    page.locator("summary").click()
    Image.fromarray(coffee()).save(tmp_path / "photo.png")
    page.locator("#holeFile").set_input_files(tmp_path / "photo.png")
    expect(page.locator("#said")).to_contain_text("neither black nor white; is it a picture of a hole?")
    wrong_way = np.full((H, W), 255, np.uint8)
    wrong_way[100:200, 100:200] = 0
    Image.fromarray(wrong_way).save(tmp_path / "hole.png")
    page.locator("#holeFile").set_input_files(tmp_path / "hole.png")
    expect(page.locator("#said")).to_contain_text("96 % of the photo is missing; Invert turns it round")
    page.locator("#fill").click()
    expect(page.locator("#said")).to_contain_text(
        "of the picture is missing; is white the hole, or black?", timeout=60_000
    )


def test_what_goes_wrong_is_said(page: Page) -> None:
    Image.fromarray(coffee()).save(photo := BytesIO(), "JPEG")
    for content, words in (
        (b"no picture", "not a picture in a supported"),
        (photo.getvalue()[:300], "file is damaged"),
    ):
        page.locator("#openFirst").set_input_files({"name": "a.jpg", "mimeType": "image/jpeg", "buffer": content})
        expect(page.locator("#problem")).to_contain_text(words)
    open_example(page)
    expect(page.get_by_role("alert")).to_be_hidden()
    drag(page, (0.4, 0.4), (0.6, 0.4))
    page.context.set_offline(True)
    page.get_by_role("button", name="Fill", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("The server cannot be reached")
    page.context.set_offline(False)
    fill(page)
    expect(page.get_by_role("alert")).to_be_hidden()


def test_by_finger_on_a_phone_in_the_dark(address: str, browser: Browser) -> None:
    context = browser.new_context(
        viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True, color_scheme="dark"
    )
    page = context.new_page()
    page.goto(address)
    page.get_by_role("button", name="Example: coffee").tap()
    expect(page.locator("#sheet")).to_be_visible()
    page.locator("#paint").tap()
    fill(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert unreadable(page) == []
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert sum(int(part) for part in background[4:-1].split(",")) < 120
    context.close()


def test_another_method_fills_again_what_was_filled(page: Page) -> None:
    open_example(page)
    drag(page, (0.3, 0.3), (0.4, 0.5))
    marked = hole(page)
    fill(page)
    with page.expect_response("**/v1/inpaint"):
        page.get_by_label("Method").select_option("biharmonic")
    expect(page.locator("#said")).to_contain_text("Filled in", timeout=20_000)
    wanted, _ = load("biharmonic")(coffee(), marked, Settings(feather=FEATHER))
    assert np.array_equal(pixels(saved(page, "#download")), wanted)


def test_strokes_in_two_corners_travel_as_two_small_holes(page: Page) -> None:
    open_example(page)
    drag(page, (0.05, 0.1), (0.1, 0.1))
    drag(page, (0.9, 0.9), (0.95, 0.9))
    marked = hole(page)
    with page.expect_response("**/v1/inpaint") as answer:
        fill(page)
    places = [(patch["left"] < W / 2, patch["top"] < H / 2) for patch in answer.value.json()["patches"]]
    assert places == [(True, True), (False, False)]
    wanted, _ = load("telea")(coffee(), marked, Settings(feather=FEATHER))
    assert np.array_equal(pixels(saved(page, "#download")), wanted)


def test_a_fill_can_be_cancelled_and_nothing_changes_meanwhile(page: Page, server: tuple[str, psutil.Process]) -> None:
    open_example(page)
    drag(page, (0.3, 0.3), (0.4, 0.5))
    marked = hole(page)
    process = filler(server[1])
    process.suspend()
    page.get_by_role("button", name="Fill", exact=True).click()
    for name in ("Invert", "Mark", "Clear", "Undo"):
        expect(page.get_by_role("button", name=name, exact=True)).to_be_disabled()
    expect(page.locator("#model")).to_be_disabled()
    expect(page.locator("#holeFile")).to_be_disabled()
    page.keyboard.press("Escape")  # whatever has the focus
    expect(page.locator("#said")).to_have_text("Cancelled.")
    wait_for(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE, 10)
    assert np.array_equal(hole(page), marked)
    fill(page)


def test_what_the_server_warns_of_is_shown(page: Page) -> None:
    frames = [Image.fromarray(np.roll(coffee(), shift, axis=1)) for shift in (0, 50)]
    frames[0].save(content := BytesIO(), "GIF", save_all=True, append_images=frames[1:])
    page.locator("#openFirst").set_input_files({"name": "a.gif", "mimeType": "image/gif", "buffer": content.getvalue()})
    drag(page, (0.4, 0.4), (0.6, 0.4))
    fill(page)
    expect(page.locator("#said")).to_contain_text("the first of several frames")


def test_a_photo_that_is_too_large_is_refused_before_anybody_paints(page: Page) -> None:
    page.locator("#openFirst").set_input_files(png(np.zeros((1500, 1500, 3), np.uint8)))
    expect(page.get_by_role("alert")).to_contain_text("has 2.3 megapixels, and this server takes at most 2")
    expect(page.locator("#sheet")).to_be_hidden()


def test_keys_of_one_letter_work_on_the_photo_alone(page: Page) -> None:
    open_example(page)
    eraser = page.get_by_role("button", name="Eraser")
    page.locator("#size").press("e")
    expect(eraser).to_have_attribute("aria-pressed", "false")
    page.locator("#paint").press("e")
    expect(eraser).to_have_attribute("aria-pressed", "true")


def test_the_photo_is_zoomed_moved_and_seen_as_it_was(page: Page) -> None:
    open_example(page)
    drag(page, (0.3, 0.3), (0.4, 0.5))
    fill(page)
    stage = page.locator("#stage").bounding_box()
    wide = page.locator("#sheet").bounding_box()["width"]
    page.mouse.move(stage["x"] + 300, stage["y"] + 200)
    page.mouse.wheel(0, -900)
    expect(page.locator("output[for=zoom]")).not_to_have_text("100 %")
    box = page.locator("#sheet").bounding_box()
    assert box["width"] > 2 * wide
    page.locator("#paint").focus()
    page.keyboard.down("Space")
    page.mouse.down()
    page.mouse.move(stage["x"] + 250, stage["y"] + 150)
    page.mouse.up()
    page.keyboard.up("Space")
    moved = page.locator("#sheet").bounding_box()
    assert (round(box["x"] - moved["x"]), round(box["y"] - moved["y"])) == (50, 50)
    expect(page.get_by_role("button", name="Fill", exact=True)).to_be_disabled()  # nothing was painted
    for _ in range(60):
        page.keyboard.press("ArrowRight")
    brush = page.locator("#brush").bounding_box()
    assert stage["x"] <= brush["x"] <= brush["x"] + brush["width"] <= stage["x"] + stage["width"] + 1
    expect(page.locator("#before")).to_be_hidden()
    page.keyboard.down("b")
    expect(page.locator("#before")).to_be_visible()
    page.keyboard.up("b")
    expect(page.locator("#before")).to_be_hidden()


def test_two_fingers_zoom_and_paint_nothing(address: str, browser: Browser) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto(address)
    open_example(page)
    before = page.locator("#sheet").bounding_box()
    x, y = before["x"] + before["width"] / 2, before["y"] + before["height"] / 2
    touch = context.new_cdp_session(page)
    for kind, apart in (("touchStart", 20), ("touchMove", 40), ("touchMove", 60)):
        points = [{"x": x - apart, "y": y, "id": 0}, {"x": x + apart, "y": y, "id": 1}]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    assert page.locator("#sheet").bounding_box()["width"] > 2 * before["width"]
    expect(page.get_by_role("button", name="Fill", exact=True)).to_be_disabled()
    place = page.locator("#stage").bounding_box()
    page.locator("summary").click()  # a tap that takes long on a busy machine is a long press
    expect(page.locator("#more")).to_be_visible()
    assert page.locator("#stage").bounding_box() == place
    assert page.locator("#more").bounding_box()["height"] <= 0.45 * place["height"] + 1
    cut = page.evaluate(
        """() => {
          const select = document.querySelector("#model"), style = getComputedStyle(select);
          const context = Object.assign(document.createElement("canvas").getContext("2d"), { font: style.font });
          const arrow = 20, room = select.clientWidth - arrow - 2 * parseFloat(style.paddingLeft);
          return [...Object.values(select.options).map(each => each.text), "pconv_augmented, yours, v123"]
            .filter(text => context.measureText(text).width > room);
        }"""
    )
    assert cut == []
    context.close()


def test_a_server_with_a_key_asks_for_it(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("secret\n")
    with serving(tmp_path, "--api-key-file", str(tmp_path / "key")) as (address, _):
        page = browser.new_page()
        page.goto(address)
        page.locator("#key").fill("secre")
        page.get_by_role("button", name="Use it").click()
        expect(page.locator("#keyText")).to_contain_text("The server refused this key")
        page.locator("#key").fill("secret")
        page.get_by_role("button", name="Use it").click()
        open_example(page)
        drag(page, (0.4, 0.4), (0.6, 0.4))
        fill(page)
        page.close()


def test_every_control_has_a_name(page: Page) -> None:
    open_example(page)
    page.locator("summary").click()
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, canvas[tabindex]")]
            .filter(each => !(each.getAttribute("aria-label") || each.labels?.length || each.querySelector("img[alt]")
                || each.tagName === "BUTTON" && each.textContent.trim())).map(each => each.outerHTML)"""
    )
    assert nameless == []

"""The page as a reader has it, in a real browser."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from stages.report.__main__ import main
from tests.browser import unreadable
from tests.factories import METHODS, PHOTOGRAPH, evaluate_all, make_evaluation_project


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    make_evaluation_project(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        evaluate_all(patch)
        main()
    return folder / "data/report/index.html"


@pytest.fixture(params=[(1440, "light"), (390, "dark")], ids=["desk", "phone"])
def page(browser: Browser, report: Path, request: pytest.FixtureRequest) -> Iterator[Page]:
    width, scheme = request.param
    context = browser.new_context(viewport={"width": width, "height": 850}, color_scheme=scheme)
    page = context.new_page()
    asked: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(report.as_uri())
    yield page
    assert [url for url in asked if not url.startswith(("data:", "file:"))] == []
    assert [url for url in asked if url.startswith("file:")] == [report.as_uri()]
    assert complaints == []
    context.close()


def test_the_page_is_no_wider_than_the_screen(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true })")
    page.evaluate("document.querySelectorAll('.switch').forEach((one) => one.click())")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    cut = """[...document.querySelectorAll('section *')].filter((one) => one.scrollWidth > one.clientWidth + 1
      && getComputedStyle(one).overflowX === 'hidden').length"""
    assert page.evaluate(cut) == 0  # what is wider than its box can be scrolled to
    broken = "[...document.images].filter((image) => image.getAttribute('src') && !image.naturalWidth).length"
    assert page.evaluate(broken) == 0


def test_light_and_dark_differ(page: Page) -> None:
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    dark = page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    assert (paper == "rgb(20, 24, 29)") == dark


def open_all(page: Page) -> None:
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true })")


def test_a_table_shows_its_main_columns_and_all_of_them_when_asked(page: Page) -> None:
    raw = page.locator("#tiles th", has_text="raw PSNR")
    expect(raw).to_be_hidden()
    expect(page.locator("#photographs tr", has_text="grey net without detail")).to_be_hidden()
    page.locator("#tiles .switch").check()
    page.locator("#photographs .switch").check()
    expect(raw).to_be_visible()
    expect(page.locator("#photographs tr", has_text="grey net without detail")).to_be_visible()


def test_the_first_row_of_photographs_is_large_and_slides(page: Page) -> None:
    figure = page.locator(".trio figure").first
    box = figure.locator(".stack").bounding_box()
    assert box["width"] > 300
    figure.locator("input").click(position={"x": 0.25 * box["width"], "y": 9})
    assert cut_at(figure) == pytest.approx(25, abs=5)
    expect(figure.locator("[data-other='the hole']")).to_be_visible()
    page.locator(".controls select").select_option("the original")
    expect(figure.locator("[data-other='the hole']")).to_be_hidden()
    expect(figure.locator("[data-other='the original']")).to_be_visible()


def test_charts_say_their_values(page: Page) -> None:
    assert page.locator("#ratio .chart use title").first.text_content().startswith("grey net: -")


def cut_at(figure: Locator) -> float:
    return float(figure.locator(".stack").evaluate("(one) => parseFloat(one.style.getPropertyValue('--cut'))"))


def test_a_finger_moves_the_line_sideways_and_the_page_up_and_down(browser: Browser, report: Path) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto(report.as_uri())
    figure = page.locator(".trio figure").first
    figure.scroll_into_view_if_needed()
    box = figure.locator(".stack").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    touch(page, (x, y), (x + 0.3 * box["width"], y))
    assert cut_at(figure) == pytest.approx(80, abs=5)
    before = page.evaluate("scrollY")
    touch(page, (x, y), (x, y - 100))
    page.wait_for_function(f"scrollY > {before} + 50")
    context.close()


def touch(page: Page, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Draw a finger over the page."""
    devtools = page.context.new_cdp_session(page)
    for share in (0, 0.25, 0.5, 0.75, 1):
        point = {axis: one + share * (other - one) for axis, one, other in zip("xy", start, end, strict=True)}
        kind = "touchMove" if share else "touchStart"
        devtools.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [point]})
    devtools.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def test_every_text_stands_out(page: Page) -> None:
    open_all(page)
    page.evaluate("document.querySelectorAll('.switch').forEach((one) => one.click())")
    assert unreadable(page) == []


def test_a_click_shows_a_picture_large_and_keys_move_between_methods(page: Page) -> None:
    open_all(page)
    page.locator("#gallery .row button").nth(2).click()
    viewer = page.locator("#viewer")
    expect(viewer).to_be_focused()  # the arrow keys are for the picture, not for a button
    assert viewer.locator(".after").bounding_box()["width"] > 250
    caption, width = viewer.locator("figcaption"), viewer.bounding_box()["width"]
    expect(caption).to_contain_text("mean:")
    page.keyboard.press("ArrowRight")
    expect(caption).to_contain_text("telea:")
    page.keyboard.press("ArrowDown")
    expect(caption).to_contain_text("pair 10b0000")
    assert viewer.bounding_box()["width"] == width
    page.keyboard.press("Escape")
    expect(viewer).to_be_hidden()


def test_the_slider_lays_an_answer_over_image_or_target(page: Page) -> None:
    open_all(page)
    buttons = page.locator("#gallery .row button")
    buttons.nth(3).click()
    viewer = page.locator("#viewer")
    before, slider = viewer.locator(".before"), viewer.locator("input")
    assert before.get_attribute("src") == buttons.nth(1).locator("img").get_attribute("src")
    slider.fill("20")
    assert "80%" in before.evaluate("(one) => getComputedStyle(one).clipPath")
    viewer.locator("select").select_option("target")
    assert before.get_attribute("src") == buttons.nth(0).locator("img").get_attribute("src")
    page.get_by_role("button", name="Picture to the left").click()
    page.get_by_role("button", name="Picture to the left").click()
    expect(slider).to_be_hidden()  # a target or an image has nothing to be compared with


def test_a_photograph_is_shown_in_its_own_shape(page: Page) -> None:
    open_all(page)
    buttons = page.locator("#photographs .row button")
    for number, (width, height) in ((2, PHOTOGRAPH), (7, PHOTOGRAPH[::-1])):  # the first is upright, the second is not
        buttons.nth(number).click()
        box = page.locator("#viewer .after").bounding_box()
        assert box["width"] / box["height"] == pytest.approx(width / height, rel=0.02)
        assert box["height"] < 850
        expect(page.locator("#viewer figcaption")).to_contain_text(" dB (")
        page.keyboard.press("Escape")


def test_worst_cases_stand_beside_the_best_classical_answer_and_stay_among_themselves(page: Page) -> None:
    open_all(page)
    worst = page.locator("#worst .gallery")
    assert worst.count() == len(METHODS)
    for number, labels in ((1, ["target", "hole", "telea"]), (2, ["target", "hole", "grey net", "telea"])):
        assert worst.nth(number).locator(".row").first.locator("figcaption span").all_text_contents() == labels
    worst.nth(1).locator("button").nth(2).click()
    expect(page.locator("#viewer figcaption")).to_contain_text("telea:")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#viewer figcaption")).to_contain_text("target")

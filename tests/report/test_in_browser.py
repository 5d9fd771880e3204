"""The page as a reader has it, in a real browser."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from stages.report.__main__ import main
from tests.evaluated import METHODS, PHOTOGRAPH, evaluate_all, make_project


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    make_project(folder)
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
    broken = "[...document.images].filter((image) => image.getAttribute('src') && !image.naturalWidth).length"
    assert page.evaluate(broken) == 0


def test_light_and_dark_differ(page: Page) -> None:
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    dark = page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    assert (paper == "rgb(20, 24, 29)") == dark


def test_a_click_shows_a_picture_large_and_keys_move_between_methods(page: Page) -> None:
    page.locator("#gallery .pictures button").nth(2).click()
    viewer = page.locator("#viewer")
    expect(viewer).to_be_visible()
    assert viewer.locator(".after").bounding_box()["width"] > 250
    expect(viewer.locator("figcaption")).to_contain_text("mean:")
    page.keyboard.press("ArrowRight")
    expect(viewer.locator("figcaption")).to_contain_text("telea:")
    page.keyboard.press("ArrowDown")
    expect(viewer.locator("figcaption")).to_contain_text("pair 10b0000")
    page.keyboard.press("Escape")
    expect(viewer).to_be_hidden()


def test_the_slider_lays_an_answer_over_image_or_target(page: Page) -> None:
    buttons = page.locator("#gallery .pictures button")
    buttons.nth(3).click()
    before, slider = page.locator(".before"), page.locator(".slide input")
    assert before.get_attribute("src") == buttons.nth(1).locator("img").get_attribute("src")
    slider.fill("20")
    assert before.evaluate("(element) => element.style.clipPath") == "inset(0px 80% 0px 0px)"
    page.locator(".slide select").select_option("target")
    assert before.get_attribute("src") == buttons.nth(0).locator("img").get_attribute("src")
    page.get_by_role("button", name="Picture to the left").click()
    page.get_by_role("button", name="Picture to the left").click()
    expect(page.locator(".slide")).to_be_hidden()  # a target or an image has nothing to be compared with


def test_a_photograph_is_shown_in_its_own_shape_and_smoothly(page: Page) -> None:
    buttons = page.locator("#photographs .pictures button")
    for number, (width, height) in ((2, PHOTOGRAPH), (8, PHOTOGRAPH[::-1])):  # the first is upright, the second is not
        buttons.nth(number).click()
        after = page.locator("#viewer .after")
        box = after.bounding_box()
        assert box["width"] / box["height"] == pytest.approx(width / height, rel=0.02)
        assert box["height"] < 850
        assert after.evaluate("(element) => getComputedStyle(element).imageRendering") == "auto"
        expect(page.locator("#viewer figcaption")).to_contain_text("mean:")
        page.keyboard.press("Escape")
    page.locator("#gallery .pictures button").nth(2).click()
    box = page.locator("#viewer .after").bounding_box()
    assert box["width"] == pytest.approx(box["height"], rel=0.02)


def test_worst_cases_open_too_and_stay_among_themselves(page: Page) -> None:
    worst = page.locator("#worst .pictures")
    assert worst.count() == len(METHODS)
    worst.nth(1).locator("button").nth(2).click()
    expect(page.locator("#viewer figcaption")).to_contain_text("telea:")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#viewer figcaption")).to_contain_text("target")

"""A real browser for the tests of pages: Debian's Chromium, driven by Playwright."""

import os
import re
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

# As root and without a network: nothing that Chromium would fetch for itself.
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Launch Chromium once for all tests; each opens pages of its own."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        if os.environ.get("CI"):
            pytest.fail("no chromium on the path: .ci/run should have installed it")
        pytest.skip("no chromium on the path: apt-get install chromium")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield launched
        launched.close()


_COLOURS = """() => {
  const hasText = (one) => [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  const seen = (one) => one.checkVisibility({ visibilityProperty: true })
    && !one.closest(":disabled, :has(> :disabled)");
  const behind = (one) => {
    const colour = getComputedStyle(one).backgroundColor;
    return colour === "rgba(0, 0, 0, 0)" && one.parentElement ? behind(one.parentElement) : colour;
  };
  return [...document.querySelectorAll("body *")].filter((one) => hasText(one) && seen(one)).map((one) => {
    const style = getComputedStyle(one);
    return [one.textContent.trim().slice(0, 40), one instanceof SVGElement ? style.fill : style.color, behind(one)];
  });
}"""


def unreadable(page: Page) -> list[tuple[str, float]]:
    """Find texts that stand out too little from what is behind them, with their contrast (WCAG AA wants 4.5)."""
    found = {(text, round(contrast(colour, behind), 2)) for text, colour, behind in page.evaluate(_COLOURS)}
    return sorted((text, value) for text, value in found if value < 4.5)


def contrast(one: str, other: str) -> float:
    """Return the WCAG contrast of two colours of CSS."""
    shares = [[int(part) / 255 for part in re.findall(r"\d+", colour)[:3]] for colour in (one, other)]
    linear = [[part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in of] for of in shares]
    dark, light = sorted(0.2126 * red + 0.7152 * green + 0.0722 * blue for red, green, blue in linear)
    return (light + 0.05) / (dark + 0.05)

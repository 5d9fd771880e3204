"""Measure how long people wait: side by side in one run, a photo with a 400-pixel hole at three sizes.

python -m tests.bench.filling data/models/pconv/model.onnx     # a minute or two, Chromium for the page
"""

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import cv2
import httpx2
import numpy as np
from PIL import Image, ImageDraw
from playwright.sync_api import Page, sync_playwright
from skimage.data import coffee

from stages.inpainting.cropping import Box, Fill, Settings
from stages.inpainting.inpainter import load
from tests.browser import FLAGS
from tests.tracked import answers, free_port, wait_for

SIZES = {"512 x 512": (512, 512), "1024 x 1024": (1024, 1024), "12 MP": (3000, 4000)}  # height, width
HOLE = 400
ROUNDS = 5
INPAINT = str(Path(sys.executable).parent / "inpaint")


def median_ms(work: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Time some calls, after one that does not count."""
    work()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


def photo(h: int, w: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a photograph of that size, and a square hole in its middle."""
    image = np.asarray(Image.fromarray(coffee()).resize((w, h), Image.Resampling.BICUBIC))
    missing = np.zeros((h, w), bool)
    side = min(HOLE, h // 2)
    missing[(h - side) // 2 : (h + side) // 2, (w - side) // 2 : (w + side) // 2] = True
    return image, missing


def by_contours(image: np.ndarray, missing: np.ndarray, fill: Fill) -> np.ndarray:
    """Fill by the other common strategy: above 800 pixels one crop a contour, 128 pixels around it, neither merged nor
    scaled, moved inside at the edges; below, the whole photo."""
    h, w = missing.shape
    composite = image.copy()
    if max(h, w) <= 800:
        composite[missing] = (fill(image, missing) * 255).round().astype(np.uint8)[missing]
        return composite
    for contour in cv2.findContours(missing.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]:
        left, top, wide, tall = cv2.boundingRect(contour)
        crop_h, crop_w = min(h, tall + 256), min(w, wide + 256)
        top, left = min(max(0, top - 128), h - crop_h), min(max(0, left - 128), w - crop_w)
        part = Box(top, left, top + crop_h, left + crop_w).part
        answer = (fill(composite[part], missing[part]) * 255).round().astype(np.uint8)
        composite[part][missing[part]] = answer[missing[part]]
    return composite


def library(model: str) -> None:
    """Print what filling takes without files, in units of this model's own time."""
    ours = load(model)
    for name, (h, w) in SIZES.items():
        image, missing = photo(h, w)
        base = median_ms(lambda image=image, missing=missing: ours(image, missing, Settings(detail=False)))
        textured = median_ms(lambda image=image, missing=missing: ours(image, missing, Settings()))
        others = {
            "contour crops, not scaled": lambda i=image, m=missing: by_contours(i, m, ours.filler.fill),
            "telea": lambda i=image, m=missing: load("telea")(i, m, Settings()),
            "biharmonic": lambda i=image, m=missing: load("biharmonic")(i, m, Settings()),
        }
        ratios = ", ".join(f"{other} {median_ms(work, 2) / base:.1f} x" for other, work in others.items())
        print(f"{name}: filling {base:.0f} ms, with copied texture {textured:.0f} ms; without it {ratios}", flush=True)


def files(model: str, folder: Path, address: str) -> None:
    """Print what command, server and page take, files read and written."""
    for name, (h, w) in SIZES.items():
        image, missing = photo(h, w)
        Image.fromarray(image).save(folder / "photo.jpg", quality=90)
        Image.fromarray(np.where(missing, 255, 0).astype(np.uint8)).save(folder / "hole.png")
        words = [INPAINT, "run", str(folder / "photo.jpg"), str(folder / "hole.png"), "-o", str(folder / "out.jpg")]
        command = median_ms(
            lambda words=words: subprocess.run([*words, "--model", model], check=True, capture_output=True)
        )
        kept, patch = (median_ms(lambda form=form: post(address, folder, form)) for form in ("keep", "patch"))
        clicked = page(address, folder, h, w)
        print(
            f"{name}: command, cold {command:.0f} ms; HTTP {kept:.0f}, a patch {patch:.0f} ms; page {clicked:.0f} ms",
            flush=True,
        )


def post(address: str, folder: Path, form: str) -> None:
    """Ask the server as a program would."""
    files = {"image": (folder / "photo.jpg").read_bytes(), "hole": (folder / "hole.png").read_bytes()}
    httpx2.post(f"{address}v1/inpaint", files=files, data={"format": form}, timeout=120).raise_for_status()


def strokes(folder: Path, address: str) -> None:
    """Print what a photo of twelve megapixels with two strokes takes, sent as the page sends them: in parts."""
    h, w = SIZES["12 MP"]
    Image.fromarray(photo(h, w)[0]).save(folder / "photo.jpg", quality=90)
    part = Image.new("L", (1000, 400))
    ImageDraw.Draw(part).line([(60, 60), (500, 320), (940, 90)], fill=255, width=100, joint="curve")
    part.save(hole := BytesIO(), "PNG")
    files = [("image", (folder / "photo.jpg").read_bytes()), *[("hole", hole.getvalue())] * 2]
    form = {"hole_at": f"100,100 {w - 1100},{h - 500}", "format": "patches"}
    took = median_ms(
        lambda: httpx2.post(f"{address}v1/inpaint", files=files, data=form, timeout=120).raise_for_status()
    )
    clicked = painted(address, folder)
    print(f"12 MP, two strokes in opposite corners: HTTP {took:.0f} ms; page {clicked:.0f} ms", flush=True)


@contextmanager
def opened(address: str, folder: Path) -> Iterator[Page]:
    """Open the photo on the page."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        shown = browser.new_page(viewport={"width": 1440, "height": 900})
        shown.goto(address)
        shown.locator("#openFirst").set_input_files(folder / "photo.jpg")
        shown.locator("#said", has_text="pixels").wait_for()
        yield shown
        browser.close()


def painted(address: str, folder: Path) -> float:
    """Return milliseconds from the click on Fill to the result, with two strokes of the page's own brush."""
    times = []
    with opened(address, folder) as shown:
        box = shown.locator("#paint").bounding_box()
        assert box
        for _ in range(ROUNDS):
            for x, y in ((0.1, 0.1), (0.8, 0.75)):
                shown.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
                shown.mouse.down()
                shown.mouse.move(box["x"] + (x + 0.1) * box["width"], box["y"] + (y + 0.04) * box["height"], steps=6)
                shown.mouse.up()
            times.append(shown.evaluate(_CLICK))
            for _ in range(3):
                shown.locator("#undo").click()
    return statistics.median(times)


def page(address: str, folder: Path, h: int, w: int) -> float:
    """Return milliseconds from the click on Fill to the result being shown."""
    side, times = min(HOLE, h // 2), []
    with opened(address, folder) as shown:
        shown.locator("summary").click()
        for part, value in (("Left", (w - side) // 2), ("Top", (h - side) // 2), ("Width", side), ("Height", side)):
            shown.locator(f"#box{part}").fill(str(value))
        for _ in range(ROUNDS):
            shown.locator("#boxAdd").click()
            times.append(shown.evaluate(_CLICK))
            shown.locator("#undo").click()
            shown.locator("#undo").click()
    return statistics.median(times)


_CLICK = """() => new Promise(resolve => {
    const start = performance.now();
    new MutationObserver((_, observer) => {
        if (!document.querySelector("#said").textContent.startsWith("Filled")) return;
        observer.disconnect();
        requestAnimationFrame(() => requestAnimationFrame(() => resolve(performance.now() - start)));
    }).observe(document.querySelector("#said"), { childList: true, characterData: true, subtree: true });
    document.querySelector("#fill").click();
})"""


def main() -> None:
    """Print two lines a size, and one of two strokes."""
    model, port = sys.argv[1], free_port()
    library(model)
    with tempfile.TemporaryDirectory() as folder:
        server = subprocess.Popen([INPAINT, "serve", "--model", model, "--port", str(port)], stdout=subprocess.DEVNULL)
        try:
            wait_for(lambda: answers(f"http://127.0.0.1:{port}/readyz"), 60)
            strokes(Path(folder), f"http://127.0.0.1:{port}/")
            files(model, Path(folder), f"http://127.0.0.1:{port}/")
        finally:
            server.terminate()
            server.wait(20)


if __name__ == "__main__":
    main()

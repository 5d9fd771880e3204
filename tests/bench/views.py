"""Screenshots of what people look at, to be looked at: report, data pages, MLflow's pages, the page that fills.

    python -m tests.bench.views FOLDER [NAME ...]     # in the project's folder, after make repro

Writes them into FOLDER, each for a desk and for a phone, light and dark, the report whole and unfolded; and `page.jpg`,
`report.jpg` and `runs.png` as the README and docs show them (in `.github`). Names (`report`, `page`, `mlflow`) choose.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from urllib.parse import quote

from playwright.sync_api import Browser, Page, expect, sync_playwright

from stages.tracking import store
from tests.browser import FLAGS
from tests.e2e.serving.test_page import drag, fill, serving
from tests.tracked import answers, free_port, wait_for

_DESK, _PHONE = (1440, 900), (390, 844)
_EACH = tuple(product((_DESK, _PHONE), ("light", "dark")))
_UNFOLD = "document.querySelectorAll('details').forEach((one) => { one.open = true })"
_MASTS = (((0.315, 0.26), (0.305, 0.84)), ((0.697, 0.26), (0.712, 0.84)))  # of the example, in shares of the photo


def main(out: Path, names: list[str]) -> None:
    """Take the pictures."""
    out.mkdir(parents=True, exist_ok=True)
    views: dict[str, Callable[[Browser, Path], None]] = {"report": _report, "page": _page, "mlflow": _mlflow}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        for name in names or views:
            views[name](browser, out)
        browser.close()


@contextmanager
def _opened(
    browser: Browser, address: str, size: tuple[int, int], scheme: str = "light", seconds: float = 1
) -> Iterator[Page]:
    width, height = size
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    page.goto(address)
    page.wait_for_timeout(1000 * seconds)
    yield page
    page.close()


def _report(browser: Browser, out: Path) -> None:
    report = Path("data/report").resolve()
    with _opened(browser, f"{report.as_uri()}/index.html", (1280, 820)) as page:
        page.screenshot(path=out / "report.jpg", quality=88)
    for path, (size, scheme) in product(sorted(report.glob("*.html")), _EACH):
        with _opened(browser, path.as_uri(), size, scheme) as page:
            page.screenshot(path=out / f"{path.stem}_{size[0]}_{scheme}.png")
            page.evaluate(_UNFOLD)
            page.screenshot(path=out / f"{path.stem}_{size[0]}_{scheme}_whole.png", full_page=True)


def _page(browser: Browser, out: Path) -> None:
    with serving(out, "--model", "models:/inpaint-pconv@champion") as (address, _):
        with _opened(browser, address, (1100, 760)) as page:
            _remove_masts(page)
            page.screenshot(path=out / "page.jpg", quality=88)
        for size, scheme in _EACH:
            with _opened(browser, address, size, scheme) as page:
                page.screenshot(path=out / f"page_{size[0]}_{scheme}_empty.png")
                _remove_masts(page)
                page.screenshot(path=out / f"page_{size[0]}_{scheme}.png")
                page.evaluate(_UNFOLD)
                page.screenshot(path=out / f"page_{size[0]}_{scheme}_more.png")


def _remove_masts(page: Page) -> None:
    page.get_by_role("button", name="Example: rocket").click()
    expect(page.locator("#said")).to_contain_text("pixels")
    page.locator("#model").select_option(page.locator("#model option[data-learned=yes]").get_attribute("value"))
    page.locator("#size").fill("64")
    for mast in _MASTS:
        drag(page, *mast)
    fill(page)
    page.locator("#compare").fill("50")
    page.mouse.move(0, 0)


def _mlflow(browser: Browser, out: Path) -> None:
    port = free_port()
    command = ["make", "--silent", "ui", f"PORT={port}"]
    server = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: answers(f"http://127.0.0.1:{port}/health"), 120)
        client = store.connect()
        (version,) = client.search_model_versions("name = 'inpaint-pconv'", max_results=1)
        runs = [run.info.run_id for run in client.search_runs(["1"]) if store.RECORD in run.data.tags]
        ids = quote(json.dumps(runs))
        pages = {
            "runs": "experiments/1/runs?workflowType=machine_learning&viewStateShareKey=scores",
            "run": f"experiments/1/runs/{version.run_id}",
            "charts": f"experiments/1/runs/{version.run_id}/model-metrics",
            "compare": f"compare-runs?runs={ids}&experiments={quote(json.dumps(['1']))}",
            "models": "experiments/1/models?workflowType=machine_learning",
            "model": "models/inpaint-pconv",
            "version": f"models/inpaint-pconv/versions/{version.version}",
        }
        shots = [(name, f"{name}_{size[0]}_{scheme}", size, scheme) for name in pages for size, scheme in _EACH]
        for name, file, size, scheme in [("runs", "runs", (1250, 540), "light"), *shots]:
            with _opened(browser, f"http://127.0.0.1:{port}/#/{pages[name]}", size, scheme, 6) as page:
                assistant = page.get_by_label("Close")
                if assistant.count():  # MLflow's assistant, which nobody asked for
                    assistant.last.click()
                    page.wait_for_timeout(1000)
                page.screenshot(path=out / f"{file}.png")
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python -m tests.bench.views FOLDER [report] [page] [mlflow]")
    main(Path(sys.argv[1]), sys.argv[2:])

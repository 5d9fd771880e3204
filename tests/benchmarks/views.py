"""Screenshots of what people look at, to be looked at: report, data pages, MLflow's pages, the page that fills.

    python -m tests.benchmarks.views FOLDER     # in the project's folder, after make repro

Writes them into FOLDER, the report whole and unfolded, for a desk and for a phone, light and dark; and `page.jpg`,
`report.jpg` and `runs.png` as the README and docs show them (in `.github`).
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from itertools import product
from pathlib import Path
from urllib.parse import quote

from playwright.sync_api import Browser, expect, sync_playwright

from stages.tracking import store
from tests.browser import FLAGS
from tests.serving.test_page import drag, fill, serving
from tests.tracked import answers, free_port, wait_for

_DESK, _PHONE, _DOCS = (1440, 900), (390, 844), (1280, 740)
_UNFOLD = "document.querySelectorAll('details').forEach((one) => { one.open = true })"
_MASTS = (((0.315, 0.26), (0.305, 0.84)), ((0.697, 0.26), (0.712, 0.84)))  # of the example, in shares of the photo


def main(out: Path) -> None:
    """Take all pictures."""
    out.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        report = Path("data/report").resolve()
        _take(browser, f"{report.as_uri()}/index.html", out / "report.jpg", _DOCS)
        for path in sorted(report.glob("*.html")):
            for size, scheme in product((_DESK, _PHONE), ("light", "dark")):
                _take(
                    browser,
                    path.as_uri(),
                    out / f"{path.stem}_{size[0]}_{scheme}.png",
                    size,
                    scheme=scheme,
                    before=_UNFOLD,
                )
        _page(browser, out / "page.jpg")
        _mlflow(browser, out)
        browser.close()


def _page(browser: Browser, path: Path) -> None:
    with serving(path.parent, "--model", "models:/inpaint-pconv@champion") as (address, _):
        page = browser.new_page(viewport={"width": 1100, "height": 760})
        page.goto(address)
        page.get_by_role("button", name="Example: rocket").click()
        expect(page.locator("#said")).to_contain_text("pixels")
        page.locator("#model").select_option(page.locator("#model option[data-learned=yes]").get_attribute("value"))
        page.locator("#size").fill("64")
        for mast in _MASTS:
            drag(page, *mast)
        fill(page)
        page.locator("#compare").fill("50")
        page.mouse.move(0, 0)
        page.screenshot(path=path, quality=88)
        page.close()


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
            "run": f"experiments/1/runs/{version.run_id}/model-metrics",
            "compare": f"compare-runs?runs={ids}&experiments={quote(json.dumps(['1']))}",
            "versions": "models/inpaint-pconv",
        }
        for name, address in pages.items():
            size = (1250, 540) if name == "runs" else _DESK
            _take(browser, f"http://127.0.0.1:{port}/#/{address}", out / f"{name}.png", size, seconds=6)
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()


def _take(
    browser: Browser, url: str, path: Path, size: tuple[int, int], *, scheme: str = "light", before: str = "",
    seconds: float = 1,
) -> None:  # fmt: skip
    page = browser.new_page(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
    page.goto(url)
    page.wait_for_timeout(1000 * seconds)
    assistant = page.get_by_label("Close")
    if url.startswith("http") and assistant.count():  # MLflow's assistant, which nobody asked for
        assistant.last.click()
        page.wait_for_timeout(1000)
    if before:
        page.evaluate(before)
    page.screenshot(path=path, full_page=bool(before))
    page.close()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m tests.benchmarks.views FOLDER")
    main(Path(sys.argv[1]))

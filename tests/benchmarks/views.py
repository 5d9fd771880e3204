"""Screenshots of what people look at, to be looked at: the report and MLflow's pages of a finished run.

    python -m tests.benchmarks.views FOLDER     # in the project's folder, after make repro

Writes `report.png`, `report_phone.png`, `report_open.png` (all that is folded, unfolded), `runs.png`, `run.png`,
`versions.png` and `holes.png` into FOLDER.
"""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from stages.tracking import store
from tests.browser import FLAGS
from tests.tracked import answers, free_port, wait_for

_DESK, _PHONE = (1440, 900), (390, 844)
_UNFOLD = "document.querySelectorAll('details').forEach((one) => { one.open = true })"


def main(out: Path) -> None:
    """Take all pictures."""
    out.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        report = Path("data/report").resolve()
        _take(browser, f"{report.as_uri()}/index.html", out / "report.png", _DESK)
        _take(browser, f"{report.as_uri()}/index.html", out / "report_phone.png", _PHONE, scheme="dark")
        _take(browser, f"{report.as_uri()}/index.html", out / "report_open.png", _DESK, before=_UNFOLD)
        _take(browser, f"{report.as_uri()}/holes.html", out / "holes.png", _DESK, before=_UNFOLD)
        _mlflow(browser, out)
        browser.close()


def _mlflow(browser: Browser, out: Path) -> None:
    port = free_port()
    command = ["make", "--silent", "ui", f"PORT={port}"]
    server = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: answers(f"http://127.0.0.1:{port}/health"), 120)
        client = store.connect()
        (version,) = client.search_model_versions("name = 'inpaint-pconv'", max_results=1)
        pages = {
            "runs": "experiments/1/runs?workflowType=machine_learning&viewStateShareKey=scores",
            "run": f"experiments/1/runs/{version.run_id}/model-metrics",
            "versions": "models/inpaint-pconv",
        }
        for name, address in pages.items():
            _take(browser, f"http://127.0.0.1:{port}/#/{address}", out / f"{name}.png", _DESK, seconds=6)
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

"""Ten minutes of a server's life: good, bad and absurd uploads of several clients, while the alias of its model moves.

    python -m tests.bench.load --minutes 10

A real registry with two versions and a damaged third, and `inpaint serve` in a process of its own. Every good answer is
compared, pixel by pixel, with what the Inpainter gives for the version that the answer names; every bad upload has to
get its error; a full queue may answer 503. Some uploads take longer or more memory than the server has for them, and
some clients leave. At the end: what was answered, what was wrong, how long good answers took, and the server's memory.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import psutil
from PIL import Image

from stages.inpainting.cropping import Settings
from stages.runtime.files import sha256
from stages.serving.models import open_inpainter
from stages.tracking import aliases, versions
from tests.tracked import answers, free_port, publish_outputs, wait_for, write_database

NAME = "inpaint-pconv"
CLIENTS = 3
TIMEOUT_S = 15
MOVE_EVERY_S = 5.0
SIZES = ((48, 64), (181, 120), (300, 401))


def png(pixels: np.ndarray[Any, Any]) -> bytes:
    """Encode a picture."""
    Image.fromarray(pixels).save(file := BytesIO(), "PNG")
    return file.getvalue()


def register(tree: Path) -> None:
    """Make a registry of three versions, the third of which is damaged after it was registered."""
    write_database(tree)
    for seed in range(3):
        publish_outputs(tree, seed)
    third = versions.resolve(f"models:/{NAME}/3").digest
    for path in tree.rglob("artifacts/model.pt2"):
        if sha256(path) == third:
            path.write_bytes(path.read_bytes()[:-100])


class Uploads:
    """What clients send, and what has to come back.

    Attributes:
        counts: of answers, by what they were.
        wrong: what came back that should not have, in words.
        seconds: that good answers took.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.seconds: list[float] = []
        rng = np.random.default_rng(0)
        self._pairs = []
        for h, w in SIZES:
            missing = np.zeros((h, w), bool)
            missing[h // 4 : h // 2, w // 3 : w // 2] = True
            self._pairs.append((rng.integers(0, 256, (h, w, 3), np.uint8), missing))
        self._wanted = {number: self._fill(number) for number in ("1", "2")}
        image, missing = self._pairs[0]
        self._bad: list[tuple[dict[str, Any], int]] = [
            ({"image": b"no picture", "hole": png(np.uint8(255 * missing))}, 400),
            ({"image": png(image)[:-40], "hole": png(np.uint8(255 * missing))}, 400),
            ({"image": png(image), "hole": png(np.uint8(255 * missing.T))}, 422),
            ({"image": png(image)}, 422),
            ({"image": b"x" * 3_000_000, "hole": b""}, 413),
            ({"image": png(np.zeros((9000, 9000), np.uint8)), "hole": b""}, 413),
        ]
        lines = np.zeros((1500, 1500), np.uint8)
        lines[::2] = 255  # as large a system of equations as biharmonic inpainting can be asked for
        self._absurd = {"image": png(np.zeros((1500, 1500, 3), np.uint8)), "hole": png(lines)}

    def _fill(self, number: str) -> list[np.ndarray[Any, Any]]:
        inpainter = open_inpainter(f"models:/{NAME}/{number}", "cpu")
        return [inpainter(image, missing, Settings())[0] for image, missing in self._pairs]

    def send(self, client: httpx2.Client, rng: np.random.Generator) -> None:
        """Send one upload, good, bad or absurd, and look at the answer."""
        kind = rng.random()
        if kind < 0.01:
            form = {"model": "biharmonic", "max_side": "1400"}
            answer = client.post(self.url, files=self._absurd, data=form)
            # 500: SciPy's solver ends its process where memory is refused to it; the server starts another.
            ended = answer.status_code in (413, 500, 503) and answer.json()["error"]
            self.counts[f"absurd: {ended}"] += 1
            if not ended:
                self.wrong.append(f"{answer.status_code} to an absurd request")
            return
        image, missing = self._pairs[0]
        if kind < 0.04:
            with suppress(httpx2.TimeoutException):
                client.post(self.url, files={"image": png(image), "hole": png(np.uint8(255 * missing))}, timeout=0.005)
            self.counts["left"] += 1
            return
        if kind < 0.3:
            files, status = self._bad[rng.integers(len(self._bad))]
            self._note("refused", client.post(self.url, files=files), status)
            return
        place = int(rng.integers(len(self._pairs)))
        image, missing = self._pairs[place]
        began = time.monotonic()
        answer = client.post(self.url, files={"image": png(image), "hole": png(np.uint8(255 * missing))})
        self._note("filled", answer, 200)
        if answer.status_code == 200:
            self.seconds.append(time.monotonic() - began)
            number = answer.headers["x-model-version"]
            got = np.asarray(Image.open(BytesIO(answer.content)).convert("RGB"))
            if number not in self._wanted or not np.array_equal(got, self._wanted[number][place]):
                self.wrong.append(f"other pixels by version {number}")
            self.counts[f"by version {number}"] += 1

    def _note(self, what: str, answer: httpx2.Response, status: int) -> None:
        if answer.status_code == 503 and "retry-after" in answer.headers:
            self.counts["busy"] += 1
        elif answer.status_code == status and (status == 200 or {"error", "detail"} == answer.json().keys()):
            self.counts[what] += 1
        else:
            self.wrong.append(f"{answer.status_code} instead of {status}: {answer.text[:200]}")


def keep_doing(
    work: Callable[[np.random.Generator], None], seed: int, end: float, wrong: list[str]
) -> threading.Thread:
    """Do something again and again in a thread until a time has come."""

    def run() -> None:
        rng = np.random.default_rng(seed)
        while time.monotonic() < end:
            try:
                work(rng)
            except Exception as error:
                wrong.append(f"{type(error).__name__}: {error}")

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def main() -> int:
    """Register, serve, load, tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    minutes = parser.parse_args().minutes
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DVC_ROOT"] = folder
        os.environ.pop("MLFLOW_TRACKING_URI", None)
        register(Path(folder))
        aliases.promote(NAME, "1", "load")
        port = free_port()
        words = ["serve", "--model", f"models:/{NAME}@champion", "--port", str(port), "--poll-s", "1"]
        words += ["--model", "biharmonic", "--max-megabytes", "2", "--queue", "2", "--timeout-s", str(TIMEOUT_S)]
        words += ["--max-memory-gb", "2", "--max-megapixels", "5"]
        server = subprocess.Popen([sys.executable, "-m", "stages.serving.cli", *words])
        try:
            wait_for(lambda: answers(f"http://127.0.0.1:{port}/readyz"), 120)
            return load(server, port, minutes)
        finally:
            server.terminate()
            server.wait()


def load(server: "subprocess.Popen[bytes]", port: int, minutes: float) -> int:
    """Load a running server, and print what came of it: 1 if anything was wrong."""
    uploads = Uploads(f"http://127.0.0.1:{port}/v1/inpaint")
    end = time.monotonic() + 60 * minutes
    clients = [httpx2.Client(timeout=60) for _ in range(CLIENTS)]
    threads = [
        keep_doing(lambda rng, client=client: uploads.send(client, rng), number, end, uploads.wrong)
        for number, client in enumerate(clients)
    ]
    memory, moves = [], 0
    while time.monotonic() < end:
        time.sleep(min(MOVE_EVERY_S, max(0.0, end - time.monotonic())))
        moves += 1
        # The third is damaged: the server keeps the old one.
        aliases.promote(NAME, ("1", "2", "1", "2", "3")[moves % 5], "load")
        memory.append(_memory(psutil.Process(server.pid)))
    for thread in threads:
        thread.join()
    for client in clients:
        client.close()
    print(", ".join(f"{count:,} {what}" for what, count in sorted(uploads.counts.items())), f"; {moves} alias moves")
    tenths = [np.median(part) for part in np.array_split(memory, min(10, len(memory)))]
    fast, slow = np.percentile(uploads.seconds, [50, 99])
    print(f"good answers: half within {fast:.2f} s, 99 % within {slow:.2f} s")
    print(f"server's memory, MiB, in each tenth of the time: {', '.join(f'{each:.0f}' for each in tenths)}")
    print(f"wrong: {len(uploads.wrong)}", *Counter(uploads.wrong).most_common(5), sep="\n")
    return 1 if uploads.wrong else 0


def _memory(server: psutil.Process) -> float:
    """Return what the server and the process that fills take together, in MiB."""
    total = 0
    for process in (server, *server.children()):
        with suppress(psutil.NoSuchProcess):  # just killed
            total += process.memory_info().rss
    return total / 2**20


if __name__ == "__main__":
    sys.exit(main())

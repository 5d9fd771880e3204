"""The life of a project in fast motion: calls of retrain, photographs arriving, some of them bad, kills at any instant.

    make soak                     # an hour; or: python -m tests.bench.soak --minutes 10 --seed 3

After every call nothing may be left of it but what it made. At the end what DVC holds is what params and photographs
make, the registry is consistent, and neither memory, open files nor processes grew.
"""

import argparse
import json
import os
import random
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psutil

from tests.clone import living
from tests.one_model import CALL, LONG_AGO, OUTCOMES, Project, write_photos
from tests.tracked import wait_for


@dataclass(frozen=True)
class Round:
    """One call.

    Attributes:
        outcome: as in `OUTCOMES`.
        memory_mib: the most that its processes held together.
        open_files: the most that one of them had open, but for shards of tiles, which come with the photographs.
        seconds: it took.
    """

    outcome: str
    memory_mib: float
    open_files: int
    seconds: float


def play(project: Project, rng: random.Random, first: int, kill: bool) -> Round:
    """Let photographs and a bad file arrive, and call retrain; kill it at a random instant or let it end."""
    inbox = project.root / "data/inbox"
    write_photos(inbox, first, 4)
    write_bad_file(inbox, first)
    began = time.monotonic()
    until = began + rng.uniform(1, 45) if kill else float("inf")
    memory_mib, open_files = 0.0, 0
    with tempfile.TemporaryFile("w+") as said:  # not a pipe, which would fill while nobody reads
        call = project.start(*CALL, "--commit", stdout=said)
        while call.poll() is None and time.monotonic() < until:
            together, most = _held(call.pid)
            memory_mib, open_files = max(memory_mib, together), max(open_files, most)
            time.sleep(0.3)
        call.kill()  # which does nothing to one that has ended
        call.wait()
        said.seek(0)
        assert call.returncode in OUTCOMES, f"exit {call.returncode}: {said.read()[-3000:]}"
    wait_for(lambda: not living(project.root), 30)
    return Round(OUTCOMES[call.returncode], memory_mib, open_files, time.monotonic() - began)


def write_bad_file(inbox: Path, first: int) -> None:
    """Write half a picture, or a page that calls itself one, beside the pictures from a number on.

    One to four good ones, since `prepare` refuses data of which more than a quarter cannot be used.
    """
    half = (inbox / f"{first:03d}.png").read_bytes()[:900]
    name, content = (("cut.png", half), ("page.jpg", b"<html></html>"))[first // 10 % 2]
    (inbox / f"{first}-{name}").write_bytes(content)
    os.utime(inbox / f"{first}-{name}", (LONG_AGO, LONG_AGO))


def _held(pid: int) -> tuple[float, int]:
    memory, most = 0.0, 0
    try:
        for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
            memory += process.memory_info().rss / 2**20
            shards = sum(file.path.endswith(".npy") for file in process.open_files())
            most = max(most, process.num_fds() - shards)
    except psutil.Error:
        pass
    return memory, most


def check(project: Project) -> None:
    """Require that all is as a project without a single kill would have it."""
    for _ in range(2):  # what the last kill left is completed; what came since is taken in
        assert project.call("--commit")[0] in (0, 10, 11)
    assert project.call()[0] == 11
    assert set(json.loads(project.run("dvc", "status", "--json").stdout)) <= {"publish"}
    assert project.run("git", "status", "--porcelain").stdout == ""
    assert (said := project.inpaint("doctor")) == "all is well\n", said
    versions = project.versions()
    assert sum("champion" in version for version in versions) == 1
    digests = [version.split()[-1] for version in versions]
    assert len(set(digests)) == len(digests), "no weights twice"
    assert not list(project.root.glob(".resume/*"))
    assert not [path for path in project.root.rglob("*.draft") if ".venv" not in path.parts]
    project.inpaint("run", "data/raw/000.png", "10,10,40,40", "-o", "filled.png")
    (project.root / "filled.png").unlink()


def grew(rounds: list[Round]) -> str:
    """Compare the last third of the whole calls with the first."""
    whole = [one for one in rounds if one.outcome in ("promoted", "kept")]
    third = max(1, len(whole) // 3)
    first, last = whole[:third], whole[-third:]
    memory = [median(one.memory_mib for one in part) for part in (first, last)]
    handles = [median(one.open_files for one in part) for part in (first, last)]
    assert memory[1] < 1.15 * memory[0] + 100, f"memory grew from {memory[0]:.0f} to {memory[1]:.0f} MiB"
    assert handles[1] <= 1.1 * handles[0] + 5, f"open files grew from {handles[0]} to {handles[1]}"
    return f"memory {memory[0]:.0f} -> {memory[1]:.0f} MiB, open files {handles[0]:.0f} -> {handles[1]:.0f}"


def main() -> None:
    """Play for some minutes, then look."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rng = random.Random(given.seed)
    end = time.monotonic() + 60 * given.minutes
    rounds: list[Round] = []
    with tempfile.TemporaryDirectory() as folder:
        project = Project(Path(folder))
        while time.monotonic() < end:
            rounds.append(play(project, rng, 1000 + 10 * len(rounds), kill=bool(rounds) and rng.random() < 0.5))
            print(f"{len(rounds):3} {rounds[-1]}", flush=True)
        check(project)
        print(f"{dict(Counter(one.outcome for one in rounds))}; {grew(rounds)}; versions: {len(project.versions())}")


if __name__ == "__main__":
    main()

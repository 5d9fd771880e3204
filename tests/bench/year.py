"""A year of weekly calls of `python -m stages.retrain`, with what goes wrong in a year, and a plot of the champion.

    python -m tests.bench.year folder                    # made; it then holds the project, year.json and year.png
    python -m tests.bench.year folder --photos pictures  # arriving photographs are those of a folder, 800 or more
    python -m tests.bench.year warm --start-from champion --beside cold     # draws the champion of that year, too
    python -m tests.bench.year folder --promote ask      # a person approves what the gate lets pass, but the first

The project is a small one: a model of 8 channels on pictures of 32 pixels. Photographs arrive every fourth week, and
`EVENTS` says when something happens. It begins as projects do, with few photographs, a network whose fills are worse
than a membrane, and trainings too short to be good; a person mends the network, then the training. Drawn is the hole
PSNR of the champion, and of every model that the gate saw, on photographs that no call ever gets. At the end the
project and its registry have to be in order, also after `inpaint tidy` and a rollback; whatever is not is named.
"""

import argparse
import hashlib
import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import torch
import yaml

from stages.imaging.splits import split_of
from stages.inpainting import exported
from stages.retrain.worktree import STATE, Worktree
from stages.runtime.errors import InpaintError
from stages.tracking import aliases, store, versions
from tests.bench.arrivals import Photographs, noise, poison, save, shrunk
from tests.bench.held_out import Pixels, Sizes, hole_psnr, pairs
from tests.clone import TINY, TINY_TRAINING
from tests.one_model import CALL, LONG_AGO, OUTCOMES, OneModel

WEEKS, FIRST_PHOTOS, PHOTOS = 52, 40, 20
BAD, KILLED, AWAY, NOISE, POISON = "bad files", "killed", "MLflow away", "noise", "poison"
LONGER, BETTER = "longer training", "better network"
EVENTS = {8: BAD, 16: KILLED, 20: BETTER, 24: AWAY, 32: LONGER, 36: NOISE, 44: POISON}
NAME = "inpaint-pconv"
INPAINT = (sys.executable, "-m", "stages.serving.cli")
CROWNED = ("promoted", "approved")
CODES = OUTCOMES | {InpaintError.exit_code: "failed"}
TRAINING = TINY_TRAINING | {
    "width": 8, "batch_size": 8, "steps": 40, "finetune_steps": 4, "validate_every": 40,
    "ema_decay": 0.9, "harmonic_residual": False,
}  # fmt: skip
CHANGES: dict[str, Any] = {  # what a person sets; trainings as short as those of the beginning differ by chance
    BETTER: {
        "train": {"pconv": {"harmonic_residual": True, "steps": 400}},
        "retrain": {"gate": {"max_slowdown": 20.0}},
    },
    LONGER: {"train": {"pconv": {"steps": 800}}, "retrain": {"refuse_loss_db": 0.1}},
}
SIZES = Sizes(tile=32, short_side=40, num_pairs=240)
REFUSED_PORT = "http://127.0.0.1:9"


@dataclass
class Week:
    """What came of one call: the outcome, seconds, photographs that arrived, version of the champion afterwards."""

    number: int
    event: str
    arrived: int
    outcome: str
    seconds: float
    champion: str
    reason: str = ""
    made: list[str] = field(default_factory=list)


class Project(OneModel):
    """A clone that trains one model, without altered tiles, on a folder of photographs."""

    given: Mapping[str, str] = {"INPAINT_WORKERS": "1"}

    def __init__(self, folder: Path, retrain: Mapping[str, Any]) -> None:
        prepare = TINY["prepare"] | {"photos": "data/raw"}
        changes = {
            "prepare": prepare, "evaluate": {"perceptual": False}, "train": {"pconv": TRAINING},
            "pairs": {"per_cell": 24}, "retrain": {"refuse_loss_db": 1.0} | dict(retrain),
        }  # fmt: skip
        super().__init__(folder, changes)
        chain = yaml.safe_load((folder / "dvc.yaml").read_text())
        del chain["stages"]["augment"]
        for stage in chain["stages"].values():
            stage["deps"] = [dep for dep in stage.get("deps", []) if dep != "data/augmented/data_report.html"] or None
            if stage["deps"] is None:
                del stage["deps"]
        self.write("dvc.yaml", chain)
        self.commit("one model")


class Year:
    """The calls of a year, one after the other."""

    def __init__(self, folder: Path, every: int, photographs: Photographs, retrain: Mapping[str, Any]) -> None:
        self.folder, self.project, self.every = folder, Project(folder / "project", retrain), every
        self.photographs, self._next = photographs, 0
        self.inbox, self.weeks = self.project.root / "data/inbox", list[Week]()
        self.bad: list[str] = []  # hashes of what must never be trained on
        for number in range(FIRST_PHOTOS):
            save(self.project.root / "data/raw", f"{number:05d}", self._another())
        os.environ["DVC_ROOT"] = str(self.project.root)  # where MLflow's database lies

    def _another(self) -> Pixels:
        self._next += 1
        return self.photographs.photo(self._next - 1)

    def live(self, last: int) -> None:
        """Make the calls of all weeks, and write down what came of each."""
        for number in range(last + 1):
            event = EVENTS.get(number, "")
            arrived = self._arrive(number, event)
            start = time.monotonic()
            code, said = self._call(event)
            outcome = self._decide(event) if CODES[code] == "waiting" else CODES[code]
            seconds = time.monotonic() - start
            decision = (said.get("models") or {}).get("pconv", {})
            known = versions.registered(NAME)
            made = sorted({one.number for one in known} - {each for week in self.weeks for each in week.made}, key=int)
            champion = next((one.number for one in known if "champion" in one.aliases), "")
            week = Week(number, event, arrived, outcome, seconds, champion, decision.get("reason", ""), made)
            self.weeks.append(week)
            (self.folder / "weeks.json").write_text(json.dumps([asdict(week) for week in self.weeks], indent=1))
            print(f"week {number:2}: {event:16}{arrived:3} photographs, {week.outcome:12}{seconds:5.0f} s", flush=True)

    def _decide(self, event: str) -> str:
        """Approve as a person does; the first candidate that nobody expected is rejected."""
        outcome = "approved" if event or any(week.outcome == "rejected" for week in self.weeks) else "rejected"
        word = {"approved": "approve", "rejected": "reject"}[outcome]
        self.project.run(*INPAINT, "model", word, NAME, "--by", "Ada", "--why", "looked at it")
        return outcome

    def _arrive(self, week: int, event: str) -> int:
        if week == 0 or week % self.every:
            return 0
        if event in CHANGES:
            self.project.change_params(CHANGES[event])
            self.project.commit(event)
        first = 1000 * week
        if event == NOISE:
            self.bad += [save(self.inbox, f"{first + n}", noise(n)) for n in range(2 * PHOTOS)]
            return 2 * PHOTOS
        for number in range(first, first + PHOTOS):
            save(self.inbox, f"{number:05d}", self._another())
        if event == BAD:
            self._break()
        return PHOTOS + (self._poison(first + PHOTOS) if event == POISON else 3 if event == BAD else 0)

    def _break(self) -> None:
        """Put files among the photographs that are none."""
        whole = next(iter(self.inbox.iterdir())).read_bytes()
        for name, content in (("cut.png", whole[: len(whole) // 2]), ("text.jpg", b"no picture"), ("empty.png", b"")):
            (self.inbox / name).write_bytes(content)
            os.utime(self.inbox / name, (LONG_AGO, LONG_AGO))

    def _poison(self, first: int) -> int:
        """Hide spoilt photographs among others, many for each, none of which the tests would see."""
        count = 0
        for number in range(first, first + 900):
            digest = save(self.inbox, f"{number:05d}", poison(self.photographs.photo(number - first)))
            if split_of(digest, 0.1, 0.15) != "train":
                (self.inbox / f"{number:05d}.png").unlink()
                continue
            self.bad.append(digest)
            count += 1
            if count == 24 * PHOTOS:
                break
        return count

    def _call(self, event: str) -> tuple[int, dict[str, Any]]:
        away = {"MLFLOW_TRACKING_URI": REFUSED_PORT} if event == AWAY else {}
        with (self.folder / "calls.log").open("a") as log:
            call = self.project.start(*CALL, "--commit", stderr=log, **away)
        if event == KILLED:
            while not any(self.project.root.glob(".resume/*")) and call.poll() is None:  # until a training has begun
                time.sleep(0.1)
            call.send_signal(signal.SIGKILL)
        said, _ = call.communicate()
        assert call.returncode in CODES, f"exit code {call.returncode}; {self.folder / 'calls.log'} has the reason"
        finished = call.returncode not in {2, -signal.SIGKILL}
        return call.returncode, json.loads(said.strip().splitlines()[-1]) if finished else {}

    def qualities(self) -> dict[str, float]:
        """Score every version on photographs that no call got."""
        small = [shrunk(photo, SIZES.short_side) for photo in self.photographs.held_out()]
        targets, holes = pairs(small, SIZES)
        image = torch.from_numpy(targets * (1 - holes)[..., None]).permute(0, 3, 1, 2).float() / 255
        scores = {}
        for version in versions.registered(NAME):
            with versions.fetched(version) as folder:
                filled = exported.load(folder / "model.pt2")(image, torch.from_numpy(holes)[:, None].float())
            scores[version.number] = float(hole_psnr(filled.permute(0, 2, 3, 1).numpy(), targets, holes).mean())
        return scores


def problems(year: Year, quality: dict[str, float]) -> list[str]:
    """Name what is not in order at the end."""
    root, known = year.project.root, versions.registered(NAME)
    outcomes = [week.outcome for week in year.weeks]
    moves = [move for move in aliases.ledger(NAME) if not move.is_rejection]
    by_event = {week.event: week.outcome for week in year.weeks if week.event}
    with store.reached():
        client = store.connect()
        ids = [one.experiment_id for one in client.search_experiments()]
        running = client.search_runs(ids, "attributes.status = 'RUNNING'")
    raw = {hashlib.sha256(path.read_bytes()).hexdigest() for path in (root / "data/raw").rglob("*.png")}
    trained_on = set(pd.read_parquet(root / "data/prepared/manifest.parquet")["photo"])
    refused = len(list((root / "data/refused").rglob("*.png")))
    promotions = sum(outcomes.count(each) for each in CROWNED)
    held = {
        "dvc status is clean": not Worktree(root).changes(),
        "git is clean": not year.project.run("git", "status", "--porcelain").stdout,
        "no call is left half done": not (root / STATE).exists(),
        "one champion, one previous": [sum(alias in one.aliases for one in known) for alias in ("champion", "previous")]
        == [1, min(promotions, 1)],
        "the ledger has every promotion": len(moves) == promotions + 1,
        "the ledger ends with the champion": moves[-1].number == year.weeks[-1].champion,
        "what a person made better was promoted": all(by_event.get(each, "promoted") in CROWNED for each in CHANGES),
        "every candidate was decided on": not any("candidate" in one.aliases for one in known),
        "what was rejected is under a veto": [one.number for one in known if aliases.VETO in one.tags]
        == [made for week in year.weeks if week.outcome == "rejected" for made in week.made],
        "the last champion is no worse than the first": quality[moves[-1].number] >= quality[moves[0].number],
        "no version is doubled": len({one.digest for one in known}) == len(known),
        "every run has ended": not running,
        "no spoilt picture is among the data": not (raw | trained_on) & set(year.bad),
        "noise was refused": by_event.get(NOISE, "refused") == "refused",
        "poison was refused": by_event.get(POISON, "refused") == "refused",
        "what was refused is kept for a person": refused >= len(year.bad),
        "the photographs of the week without MLflow and of the killed call came in": all(
            (any((root / "data/raw").rglob(f"{1000 * week}.png"))) for week in (16, 24) if week < len(year.weeks)
        ),
    }
    return [what for what, is_so in held.items() if not is_so]


def tidied(year: Year) -> str:
    """Let go of what nothing needs, and see that nothing misses it; say how much that was."""
    said = year.project.run(*INPAINT, "tidy", "--older-than", "0", "--yes").stdout.splitlines()[-1]
    year.project.run("dvc", "checkout", "--force")
    assert not Worktree(year.project.root).changes()
    fill = (*INPAINT, "run", "data/raw/00000.png", "10,10,40,40", "-o")
    year.project.run(*fill, str(year.folder / "filled.png"))
    if any("previous" in version.aliases for version in versions.registered(NAME)):
        before = aliases.ledger(NAME)[-1].number
        year.project.run(*INPAINT, "model", "rollback", NAME)
        assert aliases.ledger(NAME)[-1].number != before
        year.project.run(*fill, str(year.folder / "filled_by_previous.png"))
    return said


def table(weeks: list[Week]) -> list[str]:
    """Count the outcomes, a line each."""
    lines = [f"{'outcome':14}{'calls':>6}{'median s':>10}"]
    for outcome in dict.fromkeys(week.outcome for week in weeks):
        seconds = [week.seconds for week in weeks if week.outcome == outcome]
        lines.append(f"{outcome:14}{len(seconds):>6}{float(np.median(seconds)):>10.0f}")
    return lines


def draw(weeks: list[Week], quality: dict[str, float], path: Path, beside: Path | None) -> None:
    """Draw the champion's quality over the year, that of another year, and every model that the gate saw."""
    mpl.use("agg")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 6), layout="constrained")
    axes = figure.subplots()
    crowned = [week for week in weeks if week.champion]
    axes.step([w.number for w in crowned], [quality[w.champion] for w in crowned], where="post", label="champion", lw=2)
    if beside is not None:
        other = json.loads((beside / "year.json").read_text())
        theirs = [(week["number"], other["quality"][week["champion"]]) for week in other["weeks"] if week["champion"]]
        axes.step(*zip(*theirs, strict=True), where="post", label=f"champion of {beside.name}", lw=2, ls="--")
    for outcome, marker, label in (
        ("promoted", "o", "promoted by the gate"),
        ("approved", "o", "approved by a person"),
        ("rejected", "s", "rejected by a person"),
        ("kept", "x", "kept out: not surely better"),
        ("refused", "v", "kept out, with its photographs: surely worse"),
    ):
        seen = [(week.number, quality[one]) for week in weeks for one in week.made if week.outcome == outcome]
        if seen:
            axes.plot(*zip(*seen, strict=True), marker, label=label, ms=9, zorder=3)
    axes.set(xlabel="week", ylabel="hole PSNR, dB", title="A year of weekly calls", xlim=(-1, WEEKS + 1))
    axes.grid(alpha=0.3)
    axes.margins(y=0.1)
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.4 * (high - low))  # what happened is written above what was measured
    for week in weeks:
        if week.event:
            axes.axvline(week.number, color="grey", lw=0.8, ls=":")
            said = f" {week.event}: {week.outcome}"
            top = axes.get_ylim()[1]
            axes.text(week.number, top, f"{said} ", rotation=90, va="top", ha="right", size="small")
    figure.legend(loc="outside lower center", ncols=4)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Live the year, look at what is left, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--photos", type=Path, help="a folder to take arriving photographs from, in random order")
    parser.add_argument("--weeks", type=int, default=WEEKS)
    parser.add_argument("--promote", choices=("automatic", "ask"), default="automatic", help="who decides")
    parser.add_argument("--start-from", choices=("champion", "none"), default="champion", help="of every candidate")
    parser.add_argument("--beside", type=Path, help="the folder of another year, whose champion is drawn, too")
    parser.add_argument("--every", type=int, choices=(1, 2, 4), default=4, help="weeks between arrivals of photographs")
    given = parser.parse_args()
    photographs = Photographs(given.photos and given.photos.resolve())
    given.folder.mkdir(parents=True)
    year = Year(
        given.folder.resolve(), given.every, photographs, {"promote": given.promote, "start_from": given.start_from}
    )
    year.live(given.weeks)
    quality = year.qualities()
    words = {"weeks": [asdict(week) for week in year.weeks], "quality": quality}
    (year.folder / "year.json").write_text(json.dumps(words, indent=1))
    draw(year.weeks, quality, year.folder / "year.png", given.beside)
    print("\n".join(table(year.weeks)))
    found = problems(year, quality)
    print(f"inpaint tidy: {tidied(year)}")
    if found:
        sys.exit(f"not so: {'; '.join(found)}")
    print(f"all in order; {year.folder / 'year.png'}")


if __name__ == "__main__":
    main()

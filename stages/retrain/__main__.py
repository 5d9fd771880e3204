"""What a scheduler calls: take new photographs in, train again, promote what is better, keep what is not.

    python -m stages.retrain               # or: inpaint retrain
    python -m stages.retrain --dry-run     # says what it would do
    python -m stages.retrain --commit      # commits dvc.lock afterwards

The last line of the output is JSON. Exit codes: 0 a model was promoted; 10 all champions stay; 11 nothing was new;
12 the new photographs were refused and lie in a folder of their own; 13 a model passed the gate and waits for a person;
75 another call is running; 2 it failed, the message says why, and the next call goes on from there. With --result the
JSON is in a file, also of a call that failed, and the code is 0 for all but refused photographs and failures. A call
may be killed at any time; if it was training, what came into the inbox meanwhile waits until the next call has
completed it.
"""

import argparse
import json
import os
import signal
import sys
import time
import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from stages.imaging.sources import LIST_SUFFIXES
from stages.retrain import doctor, drift, gate, inbox, news, report, trial
from stages.retrain.settings import RetrainParams
from stages.retrain.worktree import Worktree
from stages.runtime import files, guard, project
from stages.runtime.errors import BusyError, InputError
from stages.runtime.log import log
from stages.runtime.params import read, read_seed
from stages.tracking import aliases, versions
from stages.training.settings import Criterion

CODES = {"promoted": 0, "kept": 10, "nothing new": 11, "refused": 12, "waiting": 13}
_NEED_SOMEBODY = (2, 12, 128 + signal.SIGINT)  # of all codes those of which a scheduler should tell a person
STATE = Path(".retrain/call.json")  # what the call in progress took in and decided; gone when all of it is done

REPORT = Path(".retrain/report.md")  # of the last call that judged something, for people
DRIFT = Path(".retrain/drift.html")  # of the last photographs that came

_MOST_COMPARED = 400  # photographs that are there, chosen evenly, are enough to know what they look like
_TOLD = 3  # changed stages that are named; the first call has them all


@dataclass(frozen=True)
class Options:
    """What a call is asked to do beyond its work.

    Attributes:
        dry: only say what would be done.
        commit: commit `dvc.lock` when the outputs changed.
        branch: commit it to this branch instead and push that, for a pull request; "" for none.
        result: a file for what came of the call, as JSON.
        notify: an address that is told what came of it.
    """

    dry: bool = False
    commit: bool = False
    branch: str = ""
    result: Path | None = None
    notify: str = ""


@dataclass
class Call:
    """One call, from its beginning to its end.

    Attributes:
        photos: the folder of the project's photographs; None where a list names them, so that none can be added.
        params: the section `retrain`.
        id: by which MLflow has it once, however often it was cut off.
        batch: the name of the folder that new photographs go to; "" where there are none.
        findings: how they differ from those that are there.
        page: the same, as HTML.
        outcome: what was decided, one of `CODES`; "" before that.
        resumes: whether it goes on with a training, or with what was decided, of a call that was cut off.
        models: by key, what the gate decided (as JSON), of which version, and which was the champion then.
    """

    photos: Path | None
    params: RetrainParams
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    batch: str = ""
    findings: list[drift.Shift] = field(default_factory=list)
    page: str = ""
    outcome: str = ""
    resumes: bool = False
    models: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """The folder of the batch among the photographs."""
        return Path(self.photos or "") / self.batch

    @property
    def refused(self) -> Path:
        """Where the batch goes if it is refused."""
        return Path(self.params.refused) / self.batch

    def write_down(self) -> None:
        """Keep what was taken in and decided, for the next call to complete should this one be cut off."""
        said = {"id": self.id, "batch": self.batch, "outcome": self.outcome, "models": self.models}
        files.write_json(STATE, said)


def retrain(call: Call, options: Options) -> str:
    """Do all that is to be done now.

    Args:
        call: as it begins.
        options: what was asked for.

    Returns:
        the outcome, one of `CODES`.
    """
    shop = Worktree(Path())
    shop.check_committed()
    waiting = inbox.waiting(Path(call.params.inbox)) if call.photos else []
    if call.resumes and waiting:
        log(f"retrain: {len(waiting)} new photographs wait until the call that was cut off is done")
    new = [] if call.resumes else waiting
    if new and not inbox.is_worth_it(new, call.params.min_batch, call.params.max_wait_days):
        log(f"retrain: {len(new)} new photographs wait until there are {call.params.min_batch}")
        new = []
    if options.dry:
        return _say_what_would_be(shop, call, new)
    if not call.outcome:
        if ended := _take_stock(shop, call, new):
            return ended
        _train_and_judge(shop, call)
    return _act(shop, call, options)


def _take_stock(shop: Worktree, call: Call, new: list[Path]) -> str:
    """Take photographs in; return the outcome if nothing is to be trained, else ""."""
    if call.photos and not call.resumes:
        shop.refresh(call.photos)
    if new and _is_unlike(call, new):
        return _refuse_before(call, new)
    if new:
        _take_in(call, new)
    if not STATE.exists():
        changes = shop.changes()
        if not changes:
            return "nothing new"
        more = f"; and {len(changes) - _TOLD} more stages" if len(changes) > _TOLD else ""
        log("retrain: to be run: " + "; ".join(changes[:_TOLD]) + more)
        call.write_down()
    return ""


def _train_and_judge(shop: Worktree, call: Call) -> None:
    with shop.opened() as tree:
        shop.repro()
        call.outcome = _judge(call, tree)
    call.write_down()


def _act(shop: Worktree, call: Call, options: Options) -> str:
    """Do what was decided. Each step may be done again: whatever cuts a call off, the next one does what is left."""
    if call.outcome == "refused":
        inbox.put_aside(call.folder, call.refused)
    else:
        shop.bring_home()
        _hand_on(shop, call, options)
    _move_aliases(call)
    _report(call)
    os.sync()  # DVC leaves to the system when it writes: a power cut is not to undo what counts as done
    STATE.unlink()
    return call.outcome


def _move_aliases(call: Call) -> None:
    """Promote or propose what the gate decided on, unless a person decided otherwise meanwhile."""
    for key, model in call.models.items():
        name, number = model["name"], model["version"]
        version = versions.resolve(f"models:/{name}/{number}")
        try:
            if model["decision"] == "promoted":
                aliases.promote(name, number, f"gate: {model['reason']}", over=model["champion"])
            elif model["decision"] == "waiting":
                aliases.propose(name, number)
            else:
                aliases.keep_out(version)
        except InputError as error:
            log(f"retrain: {key}: not promoted: {error}")
            model |= {"decision": "kept", "reason": str(error)}
        aliases.note(version, {"gate.decision": model["decision"], "gate.reason": model["reason"]})
    if call.outcome != "refused":
        call.outcome = _outcome(call)


def _outcome(call: Call) -> str:
    decisions = {model["decision"] for model in call.models.values()}
    return next((each for each in ("promoted", "waiting") if each in decisions), "kept")


def _clear_away() -> None:
    """Mend what a crash left, which no later call should stumble over, and what it left for good."""
    if any(finding.clear for finding in doctor.examine_files(Path())):  # else nothing need be kept from starting
        with suppress(BusyError):
            for finding in doctor.cure(Path(), doctor.examine_files):
                log(f"retrain: mended: {finding.what}")


def _begin() -> Call:
    photos = Path(read("prepare.photos", str))
    is_listed = bool(read("prepare.table", str)) or photos.suffix in LIST_SUFFIXES
    call = Call(None if is_listed else photos, read("retrain", RetrainParams))
    if STATE.exists():
        said = json.loads(STATE.read_text(encoding="utf-8"))
        for name in ("id", "batch", "outcome", "models"):
            setattr(call, name, said.get(name, getattr(call, name)))
        call.resumes = bool(call.outcome) or any(Path(".resume").glob("*"))
        log("retrain: going on with a call that was cut off")
    return call


def _say_what_would_be(shop: Worktree, call: Call, new: list[Path]) -> str:
    if new and _is_unlike(call, new):
        log(f"would refuse {len(new)} photographs of {call.params.inbox}: they look like none that are there")
        return "refused"
    changes = shop.changes()
    for line in [*([f"would take {len(new)} photographs in"] if new else []), *changes]:
        log(line)
    return "kept" if new or changes else "nothing new"


def _is_unlike(call: Call, new: list[Path]) -> bool:
    """Compare new photographs with those that are there, and say whether they are too far from all of them."""
    there = [
        path for path in sorted(Path(call.photos or "").rglob("*")) if path.is_file() and not path.name.startswith(".")
    ]
    step = max(1, len(there) // _MOST_COMPARED)
    known, come = drift.measure(there[::step]), drift.measure(new)
    call.findings = drift.compare(known, come, call.params.least_photos)
    if not call.findings:
        log(f"retrain: {len(come.signs)} new photographs are too few to say how they differ")
        return False
    call.page = drift.page(known, come, call.findings)
    files.write_text(DRIFT, call.page)
    for finding in call.findings:
        log(f"retrain: new photographs: {finding}")
    return any(one.name == "distance" and one.statistic > call.params.refuse_distance for one in call.findings)


def _take_in(call: Call, new: list[Path]) -> None:
    call.batch = call.batch or _new_batch(call)
    call.write_down()
    inbox.move(new, Path(call.params.inbox), call.folder)
    log(f"retrain: {len(new)} photographs taken into {call.folder}")


def _new_batch(call: Call) -> str:
    today = time.strftime("%Y-%m-%d", time.gmtime())
    return inbox.new_batch(Path(call.photos or ""), Path(call.params.refused), today)


def _refuse_before(call: Call, new: list[Path]) -> str:
    """Refuse photographs before anything is trained on them."""
    place = Path(call.params.refused) / _new_batch(call)
    inbox.move(new, Path(call.params.inbox), place)
    log(f"retrain: {len(new)} photographs look like none that are there; they are in {place} for a person to look at")
    call.batch, call.outcome = place.name, "refused"
    _report(call)
    return "refused"


def _judge(call: Call, tree: Path) -> str:
    """Let the gate decide on every model, and return what becomes of the call."""
    models, methods = read("models", dict[str, Any]), read("methods", dict[str, Any])
    classical = [key for key in methods if key not in models and (tree / f"data/evaluation/{key}").exists()]
    prefix, rng = read("publish.model_name", str), np.random.default_rng([read_seed(), *b"gate"])
    criterion, decisions = read("criterion", Criterion), []
    for key in models:
        name = f"{prefix}-{key}"
        aliases.settle(name)
        candidate = trial.try_out(tree, key, name, classical)
        if candidate.case is None:
            log(f"retrain: {key}: version {candidate.version.number} is the champion")
            continue
        decision = gate.decide(candidate.case, call.params.gate, criterion, rng)
        decisions.append(decision)
        passed = "promoted" if call.params.promote == "automatic" else "waiting"
        call.models[key] = {
            "name": name,
            "version": candidate.version.number,
            "champion": candidate.case.champion.version if candidate.case.champion else "",
            "run_id": candidate.version.run_id,
            "decision": passed if decision.promoted else "kept",
            "scores": candidate.version.scores,
            **asdict(decision),
        }
        log(f"retrain: {key}: {call.models[key]['decision']}: {decision.reason}")
    if call.batch and any(gate.surely_worse(one, call.params.refuse_loss_db) for one in decisions):
        log(f"retrain: models are worse for the new photographs, which go to {call.refused} for a person to look at")
        for model in call.models.values():
            model |= {"decision": "kept", "reason": f"its photographs are refused; {model['reason']}"}
        return "refused"
    return _outcome(call)


def _hand_on(shop: Worktree, call: Call, options: Options) -> None:
    if shop.has_remote():
        shop.push()
    if options.branch:
        made, where = shop.commit_to(options.branch, f"Models of {_name(call)}"), f"pushed to {options.branch}"
    else:
        made, where = shop.commit(f"Models of {_name(call)}") if options.commit else "", "committed"
    if made:
        log(f"retrain: dvc.lock {where}, {made[:12]}")


def _report(call: Call) -> None:
    said = report.Said(call.id, _name(call), call.outcome, call.findings, call.page, call.models)
    report.log(read("publish.experiment", str), said)


def _name(call: Call) -> str:
    return f"retrain {call.batch or time.strftime('%Y-%m-%d', time.gmtime())}"


def main() -> int:
    """Parse, and make one call."""
    parser = argparse.ArgumentParser(prog="python -m stages.retrain", description="Take photographs in, train, judge.")
    parser.add_argument("--dry-run", dest="dry", action="store_true", help="say what would be done")
    parser.add_argument("--commit", action="store_true", help="commit dvc.lock when the outputs changed")
    parser.add_argument("--branch", default="", help="commit to this branch instead, and push it")
    parser.add_argument("--result", type=Path, help="write what came of it to this file, JSON")
    parser.add_argument("--notify", default=os.environ.get("INPAINT_NOTIFY", ""), help="tell this address")
    return call(Options(**vars(parser.parse_args())))


def call(options: Options) -> int:
    """Make one call, hold its lock, say what came of it, and return the exit code."""
    start = time.monotonic()
    result: dict[str, Any] = {"outcome": "failed", "error": "", "batch": "", "commit": "", "drift": {}, "models": {}}
    if options.result is not None:
        options.result.unlink(missing_ok=True)  # of an earlier call, should this one be killed

    def once() -> None:
        try:
            work()
        except BaseException as error:
            result["error"] = str(error) or type(error).__name__
            raise

    def work() -> None:
        made = _begin()
        try:
            result["outcome"] = retrain(made, options)
        finally:
            drifted = {finding.name: finding.statistic for finding in made.findings}
            result.update(batch=made.batch, drift=drifted, models=made.models, commit=project.commit()[0])

    code = 2
    try:
        code = guard.run("retrain", once, before=_clear_away) or CODES[result["outcome"]]
    finally:  # also when a signal ends it
        if code == BusyError.exit_code:
            result |= {"outcome": "busy"}
        _tell(options, result | {"seconds": round(time.monotonic() - start, 1)})
    return code if options.result is None or code in _NEED_SOMEBODY else 0


def _tell(options: Options, result: dict[str, Any]) -> None:
    """Say what came of a call, in all the ways that were asked for."""
    log(f"retrain: {result['outcome']}")
    log(json.dumps(result))
    if result["models"]:
        files.write_text(REPORT, news.markdown(result))
    if options.result is not None:
        files.write_json(options.result, result)
    if options.notify and result["outcome"] not in ("nothing new", "busy"):
        news.notify(options.notify, result)


if __name__ == "__main__":
    sys.exit(main())

"""The phases of a call of retrain, in order: take photographs in, train, judge, act.

Phases may be repeated. `judge` writes its decision down before `act` begins, so whatever cuts a call off, the next one
does the rest.
"""

import os
import time
import uuid
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from stages import start
from stages.imaging.sources import find_sources
from stages.retrain import drift, gate, inbox, report, trial
from stages.retrain.call import Call, Options
from stages.retrain.worktree import STATE, Worktree
from stages.runtime import files
from stages.runtime.errors import InpaintError, InputError
from stages.runtime.log import log
from stages.runtime.params import read, read_seed
from stages.tracking import aliases, versions
from stages.training.settings import Criterion

DRIFT = Path(".retrain/drift.html")  # of the latest new photographs
_MAX_COMPARED = 400  # known photographs, chosen evenly, that new ones are compared with
_MAX_STAGES_SHOWN = 3


def retrain(call: Call, options: Options) -> str:
    """Do everything that there is to do now.

    Args:
        call: as it begins.
        options: what was asked for.

    Returns:
        the outcome, as in `Call.outcome`.
    """
    worktree = Worktree(Path())
    worktree.check_committed()
    new = _find_new(call)
    if options.dry:
        return _preview(call, worktree, new)
    if not call.outcome:
        _take_in(call, worktree, new)
        if call.outcome:  # there is nothing to train
            return call.outcome
        _train_and_judge(call, worktree)
    _act(call, worktree, options)
    return call.outcome


def _find_new(call: Call) -> list[Path]:
    """Return the photographs of the inbox that this call should take in."""
    waiting = inbox.waiting(Path(call.params.inbox))
    if waiting and not call.takes_photographs:
        where = f"`prepare.photos` is {call.sources.photos}, no folder of this machine; put them there yourself"
        log(f"retrain: {len(waiting)} new photographs stay in {call.params.inbox}, since {where}")
        return []
    if call.resumes and waiting:
        log(f"retrain: {len(waiting)} new photographs wait until the call that was cut off is completed")
        return []
    if waiting and not inbox.is_worth_it(waiting, call.params.min_batch, call.params.max_wait_days):
        log(f"retrain: {len(waiting)} new photographs wait until there are {call.params.min_batch}")
        return []
    return waiting


def _preview(call: Call, worktree: Worktree, new: list[Path]) -> str:
    """Say what the call would do; change nothing."""
    if call.outcome:
        log(f"would complete what was decided: {call.outcome}")
        return call.outcome
    if new and _is_unlike(call, new):
        log(f"would refuse {len(new)} photographs of {call.params.inbox}, which look like none of the known ones")
        return "refused"
    changes = worktree.changes()
    for line in [*([f"would take in {len(new)} photographs"] if new else []), *changes]:
        log(line)
    return "kept" if new or changes else "nothing new"


def _take_in(call: Call, worktree: Worktree, new: list[Path]) -> None:
    """Take the new photographs in, and decide whether there is anything to train."""
    if call.takes_photographs and not call.resumes:
        worktree.refresh(Path(call.sources.photos))
    is_unlike = bool(new) and _is_unlike(call, new)
    if call.drift_page:
        files.write_text(DRIFT, call.drift_page)
    if is_unlike:
        _refuse_untrained(call, new)
        return
    if new:
        call.batch = call.batch or _new_batch(call)
        call.save()
        inbox.move(new, Path(call.params.inbox), call.folder)
        log(f"retrain: {len(new)} photographs taken into {call.folder}")
    if STATE.exists():
        return
    changes = worktree.changes()
    if not changes:
        call.outcome = "nothing new"
        return
    more = len(changes) - _MAX_STAGES_SHOWN
    shown = [*changes[:_MAX_STAGES_SHOWN], *([f"and {more} more stages"] if more > 0 else [])]
    log(f"retrain: stages to run: {'; '.join(shown)}")
    call.save()


def _is_unlike(call: Call, new: list[Path]) -> bool:
    """Return whether new photographs are too far from all known ones."""
    known = _known_photographs(call)
    looks = drift.measure(known[:: max(1, len(known) // _MAX_COMPARED)]), drift.measure(new)
    call.shifts = drift.compare(*looks, call.params.least_photos)
    if not call.shifts:
        log(f"retrain: {len(looks[1].signs)} new photographs are too few to compare with the known ones")
        return False
    call.drift_page = drift.page(call.shifts, looks[1].unusable)
    for shift in call.shifts:
        log(f"retrain: new photographs: {shift}")
    return any(shift.name == "distance" and shift.statistic > call.params.refuse_distance for shift in call.shifts)


def _known_photographs(call: Call) -> list[Path]:
    with suppress(InpaintError):  # there are none yet, or the stage `prepare` says what is wrong
        return [
            source.path for source in find_sources(call.sources) if isinstance(source.path, Path) and not source.problem
        ]
    return []


def _new_batch(call: Call) -> str:
    today = time.strftime("%Y-%m-%d", time.gmtime())
    return inbox.new_batch(Path(call.sources.photos), Path(call.params.refused), today)


def _refuse_untrained(call: Call, new: list[Path]) -> None:
    call.id, call.batch, call.outcome = uuid.uuid4().hex, _new_batch(call), "refused"  # a cut-off call is still to come
    inbox.move(new, Path(call.params.inbox), call.refused_folder)
    log(f"retrain: {len(new)} photographs look like none of the known ones; look at them in {call.refused_folder}")
    _report(call)


def _train_and_judge(call: Call, worktree: Worktree) -> None:
    """Run the pipeline in the worktree, let the gate decide, and write the decision down."""
    if call.crowned is None:
        call.crowned = [key for key in read("models", dict[str, Any]) if aliases.champion(_name_of(key)) is not None]
        call.save()
    with worktree.opened() as tree:
        start.write_starts(_choose_starts(call), tree / start.STARTS)
        worktree.repro()
        _judge(call, tree, call.crowned)
    call.save()


def _choose_starts(call: Call) -> dict[str, str]:
    """Return what each training starts from, by key; what is not listed starts from what `train.KEY` says."""
    models = read("models", dict[str, Any])
    if call.params.start_from != "champion":
        return dict.fromkeys(models, call.params.start_from)
    starts = {}
    for key in models:
        champion = aliases.champion(_name_of(key))
        if champion is not None and champion.tags.get(versions.WEIGHTS_SHA):
            starts[key] = champion.uri
        elif champion is not None:
            log(f"retrain: {key}: {champion.uri} was registered without weights to start from")
    return starts


def _name_of(key: str) -> str:
    return f"{read('publish.model_name', str)}-{key}"


def _judge(call: Call, tree: Path, crowned: list[str]) -> None:
    """Let the gate decide on every new model, but for the first versions of those that are not `Call.crowned`."""
    models, methods = read("models", dict[str, Any]), read("methods", dict[str, Any])
    classical = [key for key in methods if key not in models and (tree / f"data/evaluation/{key}").exists()]
    rng = np.random.default_rng([read_seed(), *b"gate"])
    criterion, decisions = read("criterion", Criterion), []
    for key in models:
        name = _name_of(key)
        aliases.settle(name)
        candidate, champion = trial.find_candidate(tree, key, name), aliases.champion(name)
        passed = "promoted" if call.params.promote == "automatic" else "waiting"
        if champion is not None and champion.number == candidate.number:
            if key in crowned:
                log(f"retrain: {key}: version {candidate.number} is the champion")
                continue
            champion, passed = None, "promoted"  # by `publish`, as the first of its name always is
            decision = gate.Decision(True, "the first version needs no gate", ())
        else:
            case = trial.measure(tree, key, candidate, champion, classical)
            decision = gate.decide(case, call.params.gate, criterion, rng)
        decisions.append(decision)
        call.models[key] = {
            "name": name,
            "version": candidate.number,
            "champion": champion.number if champion else "",
            "run_id": candidate.run_id,
            "decision": passed if decision.promoted else "kept",
            "scores": candidate.scores,
            **asdict(decision),
        }
        log(f"retrain: {key}: {call.models[key]['decision']}: {decision.reason}")
    call.outcome = _outcome(call)
    if call.batch and any(gate.surely_worse(one, call.params.refuse_loss_db) for one in decisions):
        log(f"retrain: the new photographs made models worse; look at them in {call.refused_folder}")
        call.outcome = "refused"
        for key, model in call.models.items():
            if key in crowned:  # others have a first version, which is the champion
                model |= {"decision": "kept", "reason": f"its photographs are refused; {model['reason']}"}


def _outcome(call: Call) -> str:
    decisions = {model["decision"] for model in call.models.values()}
    return next((each for each in ("waiting", "promoted") if each in decisions), "kept")


def _act(call: Call, worktree: Worktree, options: Options) -> None:
    """Carry the decision out. Aliases move last: a version is the champion only once its outputs are safe."""
    if call.outcome == "refused":
        inbox.put_aside(call.folder, call.refused_folder)
    else:
        worktree.bring_home()
        _hand_on(call, worktree, options)
    _move_aliases(call)
    _report(call)
    os.sync()  # DVC leaves writing to the system: a power cut must not undo what counts as done
    STATE.unlink()


def _hand_on(call: Call, worktree: Worktree, options: Options) -> None:
    """Push the outputs, and commit what says which they are."""
    if worktree.has_remote():
        worktree.push()
    message = f"Models of {call.name}"
    if options.branch:
        made, where = worktree.commit_to(options.branch, message), f"pushed to {options.branch}"
    else:
        made, where = worktree.commit(message) if options.commit else "", "committed"
    if made:
        log(f"retrain: dvc.lock {where}, {made[:12]}")


def _move_aliases(call: Call) -> None:
    """Promote or propose what passed the gate, unless a person decided otherwise meanwhile."""
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


def _report(call: Call) -> None:
    report.log(read("publish.experiment", str), call)

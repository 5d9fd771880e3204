"""What a scheduler calls: take new photographs in, train again, promote what is better, keep what is not.

    python -m stages.retrain               # or: inpaint retrain
    python -m stages.retrain --dry-run     # says what it would do
    python -m stages.retrain --commit      # commits dvc.lock afterwards

The last line of the output is the result as JSON. Exit codes: 0 a model was promoted; 10 all champions stay; 11 nothing
was new; 12 the new photographs were refused and moved to a folder of their own; 13 a model passed the gate and waits
for a person; 75 another call is running; 2 the call failed, and the next one goes on from there. With --result the exit
code is 0 unless photographs were refused, or the call failed or was ended. A call may be killed at any time. If it was
training, photographs that arrive meanwhile wait until the next call has completed it.
"""

import argparse
import json
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from stages.retrain import doctor, news
from stages.retrain.call import Call, Options
from stages.retrain.phases import DRIFT, retrain
from stages.runtime import files, guard, project
from stages.runtime.errors import BusyError
from stages.runtime.log import log

CODES = {"promoted": 0, "kept": 10, "nothing new": 11, "refused": 12, "waiting": 13}
REPORT = Path(".retrain/report.md")  # of the latest call that judged a model
_KEPT_CODES = (2, CODES["refused"], 128 + signal.SIGINT)  # which a person should hear of, so --result keeps them


def main() -> int:
    """Parse, and make one call."""
    parser = argparse.ArgumentParser(prog="python -m stages.retrain", description="Take photographs in, train, judge.")
    parser.add_argument("--dry-run", dest="dry", action="store_true", help="say what would be done")
    parser.add_argument("--commit", action="store_true", help="commit dvc.lock when the outputs changed")
    parser.add_argument("--branch", default="", help="commit to this branch instead, and push it")
    parser.add_argument("--result", type=Path, help="write the result to this file, JSON")
    parser.add_argument("--notify", default=os.environ.get("INPAINT_NOTIFY", ""), help="tell this URL the result")
    return run(Options(**vars(parser.parse_args())))


def run(options: Options) -> int:
    """Make one call under the lock of retrain, tell its result, and return the exit code."""
    start = time.monotonic()
    result: dict[str, Any] = {"outcome": "failed", "error": "", "batch": "", "commit": ""}
    result |= {"paths": {}, "drift": {}, "models": {}}
    if options.result is not None:
        options.result.unlink(missing_ok=True)  # of an earlier call, in case this one is killed

    def once() -> None:
        try:
            call = Call.begin()
            try:
                result["outcome"] = retrain(call, options)
            finally:
                result.update(_facts(call), commit=project.commit()[0])
        except (KeyboardInterrupt, SystemExit):
            result["error"] = "it was interrupted; the next call goes on"
            raise
        except BaseException as error:
            result["error"] = str(error) or type(error).__name__
            raise

    code = 2
    try:
        code = (
            guard.run("retrain", once, before=lambda: None if options.dry else _clear_away())
            or CODES[result["outcome"]]
        )
    finally:  # also if a signal ends the call
        if code == BusyError.exit_code:
            result |= {"outcome": "busy"}
        elif code == 2 and not result["error"]:
            result["error"] = "it could not begin; its log says why"
        _tell(options, result | {"seconds": round(time.monotonic() - start, 1)})
    return code if options.result is None or code in _KEPT_CODES else 0


def _clear_away() -> None:
    """Repair what a crash left."""
    if any(finding.clear for finding in doctor.examine_files(Path())):  # else no stage need be kept from starting
        with suppress(BusyError):
            for finding in doctor.repair(Path(), doctor.examine_files):
                log(f"retrain: repaired: {finding.what}")


def _facts(call: Call) -> dict[str, Any]:
    """Return what the result says of a call beside its outcome."""
    paths = {"photographs": call.refused_folder if call.outcome == "refused" else call.folder} if call.batch else {}
    paths |= {"drift": DRIFT} if call.drift_page else {}
    paths |= {"report": REPORT, "page": news.PAGE} if call.models else {}
    return {
        "batch": call.batch,
        "paths": {name: str(path) for name, path in paths.items()},
        "drift": {shift.name: shift.statistic for shift in call.shifts},
        "models": call.models,
    }


def _tell(options: Options, result: dict[str, Any]) -> None:
    """Tell the result in all the ways that were asked for."""
    log(f"retrain: {result['outcome']}")
    log(json.dumps(result))
    if result["models"] and not options.dry:
        files.write_text(REPORT, news.markdown(result))
    if options.result is not None:
        files.write_json(options.result, result)
    if options.notify and not options.dry and result["outcome"] not in ("nothing new", "busy"):
        news.notify(options.notify, result)


if __name__ == "__main__":
    sys.exit(main())

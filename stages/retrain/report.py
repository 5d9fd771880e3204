"""The run of a call in MLflow: how the new photographs differ, and what the gate decided."""

import json
import os

from stages.retrain.call import Call
from stages.runtime.processes import named
from stages.tracking import store

_CALL = "inpaint.call"  # names a tag of such runs: the call's id


def log(experiment: str, call: Call) -> None:
    """Create the run of a call, once.

    Args:
        experiment: its name.
        call: with its outcome.

    Raises:
        TrackingError: MLflow cannot be reached.
    """
    with store.reached():
        client = store.connect()
        experiment_id = store.experiment_id(client, experiment)
        if store.find_run(client, experiment_id, {_CALL: call.id}, finished=True):
            return
        tags = {
            _CALL: call.id,
            "inpaint.retrain": call.outcome,
            "mlflow.note.content": _note(call),
            store.PROCESS: named(os.getpid()),  # else a call that is killed here would count as running for ever
        }
        run = client.create_run(experiment_id, tags=tags, run_name=call.name)
        run_id = run.info.run_id
        scores = {f"drift/{shift.name}": shift.statistic for shift in call.shifts}
        scores |= {f"gain/{key}": one["gain"]["mean"] for key, one in call.models.items() if one["gain"]}
        store.log_scores(client, run_id, scores)
        if call.drift_page:
            client.log_text(run_id, call.drift_page, "drift.html")
        for key, model in call.models.items():
            client.log_text(run_id, json.dumps(model, indent=2), f"gate/{key}.json")
        client.set_terminated(run_id, status="FINISHED")


def _note(call: Call) -> str:
    lines = [f"- new photographs: {shift}" for shift in call.shifts if shift.p < 0.05]
    lines += [f"- **{key}** {one['decision']}: {one['reason']}" for key, one in call.models.items()]
    return "\n".join(lines) or "nothing to compare"

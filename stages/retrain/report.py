"""What a call says in MLflow: a run with what was found in the new photographs and what the gate decided."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stages.retrain.drift import Shift
from stages.runtime.processes import named
from stages.tracking import store

_CALL = "inpaint.call"  # a tag of such runs: the call's id


@dataclass(frozen=True)
class Said:
    """What there is to say of a call.

    Attributes:
        id: of the call.
        name: of its run.
        outcome: of the call.
        findings: of the drift check, empty where there was none.
        page: the same for people, HTML; "" where there was none.
        models: what the gate decided, as JSON, by key of the model.
    """

    id: str
    name: str
    outcome: str
    findings: Sequence[Shift] = ()
    page: str = ""
    models: Mapping[str, Any] = field(default_factory=dict)


def log(experiment: str, said: Said) -> None:
    """Make the run of a call that had something to do; done before, it does nothing.

    Args:
        experiment: the experiment's name.
        said: what it shows.

    Raises:
        TrackingError: MLflow cannot be reached.
    """
    findings, models = said.findings, said.models
    with store.reached():
        client = store.connect()
        experiment_id = store.experiment_id(client, experiment)
        if store.find_run(client, experiment_id, {_CALL: said.id}, finished=True):
            return
        tags = {
            _CALL: said.id,
            "inpaint.retrain": said.outcome,
            "mlflow.note.content": _note(findings, models),
            store.PROCESS: named(os.getpid()),  # else a call that is killed here would count as running for ever
        }
        run = client.create_run(experiment_id, tags=tags, run_name=said.name)
        run_id = run.info.run_id
        scores = {f"drift/{finding.name}": finding.statistic for finding in findings}
        scores |= {f"gain/{key}": one["gain"]["mean"] for key, one in models.items() if one["gain"]}
        store.log_scores(client, run_id, scores)
        if said.page:
            client.log_text(run_id, said.page, "drift.html")
        for key, model in models.items():
            client.log_text(run_id, json.dumps(model, indent=2), f"gate/{key}.json")
        client.set_terminated(run_id, status="FINISHED")


def _note(findings: Sequence[Shift], models: Mapping[str, Any]) -> str:
    lines = [f"- new photographs: {finding}" for finding in findings if finding.p < 0.05]
    for key, one in models.items():
        lines.append(f"- **{key}** {one['decision']}: {one['reason']}")
    return "\n".join(lines) or "nothing to compare"

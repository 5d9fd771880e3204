"""What a call says in MLflow: a run with what was found in the new photographs and what the gate decided."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from stages.retrain.drift import Finding
from stages.retrain.gate import Decision
from stages.runtime.processes import named
from stages.tracking import store


def as_json(decision: Decision) -> dict[str, Any]:
    """Return a decision with all its numbers, as JSON has them."""
    return asdict(decision)


def log(
    experiment: str, name: str, findings: list[Finding], picture: Any, decisions: Mapping[str, Decision], outcome: str
) -> None:
    """Make the run of a call that had something to do.

    Args:
        experiment: the experiment's name.
        name: of the run.
        findings: of the drift check, empty where there was none.
        picture: a figure of matplotlib, or None.
        decisions: of the gate, by key of the model.
        outcome: of the call.

    Raises:
        TrackingError: MLflow cannot be reached.
    """
    with store.reached():
        client = store.connect()
        tags = {
            "inpaint.retrain": outcome,
            "mlflow.note.content": _note(findings, decisions),
            store.PROCESS: named(os.getpid()),  # else a call that is killed here would count as running for ever
        }
        run = client.create_run(store.experiment_id(client, experiment), tags=tags, run_name=name)
        run_id = run.info.run_id
        scores = {f"drift/{finding.name}": finding.statistic for finding in findings}
        scores |= {f"gain/{key}": one.gain.mean for key, one in decisions.items() if one.gain is not None}
        store.log_scores(client, run_id, scores)
        if picture is not None:
            client.log_figure(run_id, picture, "drift.png")
        for key, decision in decisions.items():
            client.log_text(run_id, json.dumps(as_json(decision), indent=2), f"gate/{key}.json")
        client.set_terminated(run_id, status="FINISHED")


def _note(findings: list[Finding], decisions: Mapping[str, Decision]) -> str:
    lines = [f"- new photographs: {finding}" for finding in findings if finding.p < 0.05]
    lines += [f"- **{key}** {'promoted' if one.promoted else 'kept'}: {one.reason}" for key, one in decisions.items()]
    return "\n".join(lines) or "nothing to compare"

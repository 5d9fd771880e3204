"""Update MLflow from the outputs of the pipeline: runs, test scores, the comparison, registered models.

    python -m stages.publish

Reads data/training, data/models, data/evaluation, data/report and summaries of prepare, masks and augment; writes to
MLflow only. It runs on every `dvc repro` and sends only what is missing, so after MLflow was deleted, replaced or
unreachable, the next run completes it. Inside `dvc exp run` it registers no model.
"""

import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from stages.publish import data, words
from stages.publish.pipeline_outputs import PipelineOutputs, PublishParams, hold
from stages.runtime import guard
from stages.runtime.errors import LoginError, NotRegisteredError, TrackingError
from stages.runtime.files import sha256
from stages.runtime.log import log
from stages.runtime.params import read
from stages.runtime.project import experiment
from stages.tracking import additions, live, registry, runs, store, versions

_STAGES = Path(__file__).parents[1]
SERVED_BY = _STAGES / "serving" / "logged_model.py"
CROPPING = _STAGES / "inpainting" / "cropping"


def publish(held: PipelineOutputs, registering: bool) -> list[str]:
    """Update MLflow.

    Args:
        held: the outputs of the pipeline.
        registering: whether to register trained models.

    Returns:
        a line for each change; empty if nothing was missing.

    Raises:
        TrackingError: MLflow cannot be reached, or refuses. The next call completes this one.
    """
    done = [line for key in held.records for line in _publish_model(held, key, registering)]
    if additions.bring_comparison(held.params.experiment, held.compared(), *_comparison(held)):
        additions.keep_view(held.params.experiment, words.runs_table())
        done.append(f"comparison of {len(held.scores)} methods: logged with the report")
    if abandoned := live.settle_abandoned(held.params.experiment):
        done.append(f"{abandoned} abandoned run{'s' if abandoned > 1 else ''}: marked as killed")
    return done


def _publish_model(held: PipelineOutputs, key: str, registering: bool) -> list[str]:
    run_id = runs.bring_up_to_date(held.data / "training" / key, held.params.experiment)
    is_new = additions.add_to_run(run_id, held.published(key), partial(_test_scores, held, key))
    done = [f"{key}: run logged"] if is_new else []
    if registering:
        registration = _registration(held, key, run_id)
        number, alias = registry.register(registration)
        if alias:
            done.append(f"{key}: registered as {registration.name} version {number}, {alias}")
    return done


def _test_scores(held: PipelineOutputs, key: str) -> additions.Addition:
    return additions.Addition(
        scores=words.shown_scores(held.scores[key]),
        files=held.tested(key),
        at_top=[held.data / "models" / key / versions.WEIGHTS],
        texts={versions.TRAINED_ON: data.photographs(held.data, _inherited(held, key))},
        folder="test",
        note=words.describe(held, key),
    )


def _inherited(held: PipelineOutputs, key: str) -> Mapping[str, str]:
    """Return the photographs of the registered version that a training started from."""
    parent = held.records[key].parent
    with suppress(NotRegisteredError):  # it was deleted meanwhile
        return (parent.startswith(versions.SCHEME) and versions.trained_on(versions.resolve(parent))) or {}
    return {}


def _comparison(held: PipelineOutputs) -> tuple[int, additions.Addition]:
    newest_ms = max((record.ended_ms or 0 for record in held.records.values()), default=0)
    note = f"All methods in the same tests.\n\n{words.score_list(held, list(held.scores))}"
    return newest_ms, additions.Addition(
        scores={},  # MLflow would chart the scores of every method
        files=held.report(),
        at_top=[],
        texts={},
        folder="report",
        note=note,
    )


def _registration(held: PipelineOutputs, key: str, run_id: str) -> registry.Registration:
    name, record, folder = held.registered_name(key), held.records[key], held.data / "models" / key
    facts = {  # in the order of MLflow's list of versions
        **{score: f"{value:g}" for score, value in words.shown_scores(held.scores[key]).items()},
        "parent": record.parent,
        "key": key,
        "fingerprint": record.fingerprint,
        versions.WEIGHTS_SHA: sha256(folder / versions.WEIGHTS),
        "git_commit": record.commit,
        "git_dirty": str(record.dirty).lower(),
        **{f"data.{part}": str(given["digest"]) for part, given in record.inputs.items()},
        **{f"{versions.OUTPUT}{path}": digest for path, digest in data.outputs(Path("dvc.lock"), key).items()},
    }
    return registry.Registration(
        name=name,
        about=words.how_to_load(name),
        run_id=run_id,
        experiment=held.params.experiment,
        model=folder / "model.pt2",
        onnx=folder / "model.onnx",
        code=SERVED_BY,
        cropping=CROPPING,
        sha256=record.model_sha256,
        tags=facts,
        description=words.describe(held, key),
    )


def main() -> None:
    """Publish the outputs of this working tree to the project's MLflow."""
    params = read("publish", PublishParams)
    models, methods = read("models", dict[str, Any]), read("methods", dict[str, Any])
    held = hold(Path("data"), list(models), list(methods), params)
    try:
        done = publish(held, registering=not experiment())
    except TrackingError as error:
        if params.strict or isinstance(error, LoginError):  # a retry does not help
            raise
        log(f"publish: {error}. Nothing is lost: the next dvc repro sends what is missing.")
    else:
        log("\n".join(done) or f"MLflow at {store.shown()} has all {len(models)} trainings.")


if __name__ == "__main__":
    sys.exit(guard.run("publish", main))

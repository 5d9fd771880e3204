"""Texts for MLflow: names of the main scores, descriptions in Markdown, tables."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from stages.comparing.scores import PHOTOGRAPH_SCORES, SCORES, Score
from stages.publish.pipeline_outputs import PipelineOutputs
from stages.tracking import versions

# Scores that runs and versions show as numbers, photographs first; all others are in files.
_SHOWN = dict(
    zip(versions.SCORES, ("photo_perceptual", "photo_hole_psnr", "photo_sharpness", "hole_psnr"), strict=True)
)
_ON_PHOTOGRAPHS = tuple(
    replace(score, name=f"photo_{score.name}", label=f"{score.label} on photographs")
    for score in PHOTOGRAPH_SCORES
    if score.is_compared
)
_ON_TILES = tuple(
    replace(score, label=f"{score.label} on tiles") for score in SCORES if score.name in {"hole_psnr", "perceptual"}
)
_BASELINES = ("mean", "harmonic", "biharmonic", "patchmatch")
_RUNS_TABLE = ("metrics.`photo_distance`", "metrics.`photo_psnr_db`", "params.`learning_rate`")


def shown_scores(scores: Mapping[str, float]) -> dict[str, float]:
    """Return the main scores of both tests, rounded."""
    return {name: round(scores[of], 4) for name, of in _SHOWN.items() if of in scores}


def runs_table() -> str:
    """Return a shared view of MLflow's table of runs: scores as columns, the best run first."""
    return json.dumps({"selectedColumns": _RUNS_TABLE, "orderByKey": "metrics.`photo_distance`", "orderByAsc": True})


def score_list(held: PipelineOutputs, methods: Sequence[str]) -> str:
    """Return the scores of methods as a Markdown list, one line per score, the best method first."""
    scored = {method: held.scores[method] for method in methods if held.scores[method]}
    lines = []
    for score in (*_ON_PHOTOGRAPHS, *_ON_TILES):
        found = {method: of_method[score.name] for method, of_method in scored.items() if score.name in of_method}
        if found:
            better = f"{score.best} is {'best' if score.best == '1' else 'better'}"
            head = f"- {', '.join(filter(None, (score.label, score.unit)))} ({better}): "
            lines.append(
                head + ", ".join(f"{method} {found[method]:.{score.decimals}f}" for method in _ranked(found, score))
            )
    absent = [method for method in methods if method not in scored]
    lines += [f"- not scored, since packages are not installed: {', '.join(absent)}"] if absent else []
    return "\n".join(lines)


def _ranked(found: Mapping[str, float], score: Score) -> list[str]:
    if score.best == "1":
        return sorted(found, key=lambda method: abs(found[method] - 1))
    return sorted(found, key=lambda method: found[method], reverse=score.best == "more")


def describe(held: PipelineOutputs, key: str) -> str:
    """Describe a model in Markdown: data, duration and scores, with those of the baselines."""
    record = held.records[key]
    minutes = ((record.ended_ms or record.started_ms) - record.started_ms) / 60_000
    read_tiles = {part: facts["tiles"] for part, facts in record.inputs.items() if "tiles" in facts}
    tiles = " and ".join(f"{number} tiles of {part}" for part, number in read_tiles.items() if Path(part).stem != "val")
    machine = record.machine.get("gpu") or record.machine.get("processor", "an unnamed machine")
    how = f"({minutes:.0f} min on {tiles}, on {machine})"
    course = f"trained for {record.steps} steps from {record.parent} {how}"
    if record.kept_start:
        course = f"the weights of {record.parent}: {record.steps} steps of fine-tuning {how} did not improve them"
    scores = score_list(held, [key, *(method for method in _BASELINES if method in held.scores)])
    return f"{key}, {course}. Scores, those of models on photographs with copied texture, as by default:\n\n{scores}"


def how_to_load(name: str) -> str:
    """Describe in Markdown how to load the champion of a registered model."""
    return f"""\
Fills the missing pixels of photographs. Takes a table with two columns of PNG files in base64, `image` and `hole`
(white where pixels are missing), and answers with one, `composite`, of the same size:

    model = mlflow.pyfunc.load_model("models:/{name}@champion")
    composite = model.predict(pandas.DataFrame({{"image": [image], "hole": [hole]}}))["composite"][0]
"""

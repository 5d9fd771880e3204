"""What a person reads in MLflow: descriptions in Markdown, tables of scores."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from stages.comparing.scores import PHOTOGRAPH_SCORES, SCORES, Score
from stages.publish.pipeline_outputs import PipelineOutputs

_ON_PHOTOGRAPHS = tuple(
    replace(score, name=f"photo_{score.name}", label=f"{score.label} on photographs")
    for score in PHOTOGRAPH_SCORES
    if score.name != "milliseconds"
)
_HEADLINES = (
    *(score.name for score in _ON_PHOTOGRAPHS),
    *("hole_psnr", "psnr", "ssim", "l1_percent", "hole_l1_percent", "sharpness", "perceptual"),
)
_BASELINES = ("mean", "harmonic", "biharmonic", "patchmatch")
_GAP = 3 * "&nbsp;"  # MLflow shows tables without a gap between columns


def headlines(scores: Mapping[str, float]) -> dict[str, float]:
    """Pick the scores of both tests that tell most."""
    return {name: scores[name] for name in _HEADLINES if name in scores}


def score_table(held: PipelineOutputs, methods: Sequence[str]) -> str:
    """Return the headline scores of some methods as a Markdown table."""
    names = headlines(held.scores[methods[0]])
    columns = [score for score in (*_ON_PHOTOGRAPHS, *SCORES) if score.name in names]
    lines = [
        ["method", *(f"{_GAP}{', '.join(filter(None, (score.label, score.unit)))}" for score in columns)],
        ["---"] * (1 + len(columns)),
        *(
            [_name(held, method), *(_GAP + _cell(held.scores[method], score) for score in columns)]
            for method in methods
        ),
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _name(held: PipelineOutputs, method: str) -> str:
    return method if held.scores[method] else f"{method} (not scored: its package is not installed)"


def _cell(scores: Mapping[str, float], score: Score) -> str:
    return f"{scores[score.name]:.{score.decimals}f}" if score.name in scores else ""


def csv_table(held: PipelineOutputs) -> str:
    """Return every score of every method as CSV."""
    columns = list(dict.fromkeys(name for scores in held.scores.values() for name in scores))
    lines = [[method, *(str(scores.get(name, "")) for name in columns)] for method, scores in held.scores.items()]
    return "".join(",".join(line) + "\n" for line in [["method", *columns], *lines])


def describe(held: PipelineOutputs, key: str) -> str:
    """Say what a model was trained on, how long, and how it compares with what needs no training: Markdown."""
    record = held.records[key]
    minutes = ((record.ended_ms or record.started_ms) - record.started_ms) / 60_000
    read_tiles = {part: facts["tiles"] for part, facts in record.inputs.items() if "tiles" in facts}
    tiles = " and ".join(f"{number} tiles of {part}" for part, number in read_tiles.items() if Path(part).stem != "val")
    return (
        f"**{key}**, trained for {record.steps} steps in {minutes:.0f} min on {tiles}, "
        f"on {record.machine.get('gpu') or record.machine.get('processor', 'an unnamed machine')}. "
        f"In the tests:\n\n{score_table(held, [key, *(method for method in _BASELINES if method in held.scores)])}"
    )


def how_to_load(name: str) -> str:
    """Say how the champion of a registered model is used: Markdown."""
    return f"""\
Fills the missing pixels of photographs. Takes a table with two columns of PNG files in base64, `image` and `hole`
(white where pixels are missing), and answers with one, `composite`, of the same size:

    model = mlflow.pyfunc.load_model("models:/{name}@champion")
    composite = model.predict(pandas.DataFrame({{"image": [image], "hole": [hole]}}))["composite"][0]
"""

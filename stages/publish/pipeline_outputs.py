"""The outputs of the pipeline, read and checked before anything is sent to MLflow."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from stages.runtime.errors import InputError, ParamsError
from stages.runtime.params import Settings
from stages.tracking.record import Record, read_record, read_scores


class PublishParams(Settings):
    """The section `publish` of params.yaml.

    Attributes:
        experiment: name of the MLflow experiment.
        model_name: prefix of registered models: `inpaint` gives `inpaint-pconv`.
        strict: whether the stage fails if MLflow cannot be reached.
    """

    experiment: str = Field(min_length=1)
    model_name: str = Field(pattern=r"^[A-Za-z0-9_.-]+$")
    strict: bool


@dataclass(frozen=True)
class PipelineOutputs:
    """The outputs of one working tree.

    Attributes:
        data: folder of the pipeline's outputs.
        records: of each trained model, by its key.
        scores: of each method on the test pairs, by its key.
        params: the section `publish`.
    """

    data: Path
    records: Mapping[str, Record]
    scores: Mapping[str, Mapping[str, float]]
    params: PublishParams

    def published(self, key: str) -> str:
        """Return a hash of the content of a training's run; a repeated training with the same result has the same."""
        record = self.records[key]
        made = f"{self.params.experiment} {key} {record.fingerprint} {record.model_sha256}"
        return _hash(made, *self.tested(key))

    def tested(self, key: str) -> list[Path]:
        """Return the files of a run's test: all scores, and the pictures in the report."""
        of_method = sorted((self.data / "report" / "methods" / key).glob("*.*"))
        return [*(self.data / "evaluation" / key / name for name in ("summary.json", "by_ratio.csv")), *of_method]

    def compared(self) -> str:
        """Return a hash of the content of the comparison."""
        summaries = [self.data / "evaluation" / method / "summary.json" for method in self.scores]
        return _hash(self.params.experiment, *self.report(), *summaries)

    def report(self) -> list[Path]:
        """Return the report's page and tables, the data reports, the list of pairs and the summary of prepare."""
        page = self.data / "report" / "index.html"
        others = [path for path in sorted((self.data / "report").glob("*.*")) if path != page]
        more = (self.data / "pairs.csv", self.data / "prepared" / "summary.json")
        return [page, *others, *(path for path in more if path.exists())]

    def registered_name(self, key: str) -> str:
        """Return the name of the registered model of `key`."""
        return f"{self.params.model_name}-{key}"


def hold(data: Path, models: Sequence[str], methods: Sequence[str], params: PublishParams) -> PipelineOutputs:
    """Read the outputs.

    Raises:
        ParamsError: a model is not in `methods`, so it has no scores.
        InputError: a record or an evaluation is missing, damaged or unfinished.
    """
    for key in models:
        if key not in methods:
            raise ParamsError(
                f"params.yaml: `models.{key}` has no row in `methods`, so it is never scored; add "
                f"`{key}: {{filled_by: data/models/{key}/model.onnx}}` there"
            )
    records = {key: read_record(data / "training" / key) for key in models}
    for key, record in records.items():
        if not record.finished:
            raise InputError(f"the training in {data / 'training' / key} is not finished; run dvc repro")
    scores = {key: read_scores(data / "evaluation" / key / "summary.json") for key in methods}
    return PipelineOutputs(data, records, scores, params)


def _hash(first: str, *paths: Path) -> str:
    digest = hashlib.sha256(first.encode())
    for path in paths:
        try:
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        except FileNotFoundError:
            raise InputError(f"{path} is missing; run dvc repro, or dvc pull where a remote holds it") from None
    return digest.hexdigest()

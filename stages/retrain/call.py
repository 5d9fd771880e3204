"""The record of one call of retrain: what it was asked to do, what it took in, and what it decided.

call = Call.begin()     # goes on with the call before if that was cut off
call.batch = "2026-01-31"
call.save()             # from here on the next call can complete this one
"""

import json
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ConfigDict

from stages.imaging.sources import SourcesParams, is_folder
from stages.retrain.drift import Shift
from stages.retrain.settings import RetrainParams
from stages.retrain.worktree import STATE
from stages.runtime import files
from stages.runtime.log import log
from stages.runtime.params import read

_SAVED = ("id", "batch", "crowned", "outcome", "models")


class _Sources(SourcesParams):
    """The part of the section `prepare` that says where the photographs are."""

    model_config = ConfigDict(extra="ignore")


@dataclass(frozen=True)
class Options:
    """What a call is asked to do beyond its work.

    Attributes:
        dry: only say what would be done, and change nothing.
        commit: commit `dvc.lock` if the outputs changed.
        branch: commit it to this branch instead and push that, for a pull request; "" for none.
        result: file for the result, JSON; None for none.
        notify: URL that is told the result; "" for none.
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
        sources: where the photographs are.
        params: the section `retrain` of params.yaml.
        id: identifies the call in MLflow, however often it was cut off.
        batch: folder of the new photographs, within that of all photographs; "" if there are none.
        crowned: keys of the models that had a champion before the training; None before that is known.
        outcome: the decision, "" before it: "promoted", "waiting", "kept", "refused" or "nothing new".
        models: by key, the gate's decision (JSON) with the version, and the champion at that time.
        shifts: how the new photographs differ from the known ones; empty if they were not compared.
        drift_page: the same as HTML.
        resumes: whether it completes the training or the decision of a call that was cut off.
    """

    sources: SourcesParams
    params: RetrainParams
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    batch: str = ""
    crowned: list[str] | None = None
    outcome: str = ""
    models: dict[str, dict[str, Any]] = field(default_factory=dict)
    shifts: list[Shift] = field(default_factory=list)
    drift_page: str = ""
    resumes: bool = False

    @classmethod
    def begin(cls) -> "Call":
        """Return a new call, or the one before if it was cut off."""
        call = cls(read("prepare", _Sources), read("retrain", RetrainParams))
        if STATE.exists():
            saved = json.loads(STATE.read_text(encoding="utf-8"))
            for name in _SAVED:
                setattr(call, name, saved.get(name, getattr(call, name)))
            call.resumes = bool(call.outcome) or any(Path(".resume").glob("*"))
            log("retrain: going on with a call that was cut off")
        return call

    def save(self) -> None:
        """Write down what was taken in and decided, so that the next call can complete this one."""
        files.write_json(STATE, {name: getattr(self, name) for name in _SAVED})

    @property
    def takes_photographs(self) -> bool:
        """Whether photographs can be added: to a folder of this machine, not to a list or an address."""
        return is_folder(self.sources)

    @property
    def folder(self) -> Path:
        """The folder of the batch among the photographs."""
        return Path(self.sources.photos) / self.batch

    @property
    def refused_folder(self) -> Path:
        """The folder that a refused batch goes to."""
        return Path(self.params.refused) / self.batch

    @property
    def name(self) -> str:
        """The name for people."""
        return f"retrain {self.batch or time.strftime('%Y-%m-%d', time.gmtime())}"

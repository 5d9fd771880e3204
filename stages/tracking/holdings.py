"""Lists what MLflow holds of this project and why it is needed, and deletes the rest.

    held = survey("image-reconstruction", "inpaint-", Present(records, digests), before_ms)
    for holding in held:
        if not holding.needed:
            let_go(holding)

A version stays if it has an alias, was champion, is vetoed, belongs to the present outputs, or is recent; so do its
logged model and its run. Runs and models of others are ignored. Deleted items are in MLflow's trash until `mlflow gc`.
"""

import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stages.runtime.errors import TrackingError
from stages.tracking import additions, aliases, store, versions
from stages.tracking.runs import AGAIN
from stages.tracking.versions import MODEL_SHA, Version, pages

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Run

VERSION, MODEL, RUN = "version", "logged model", "run"
_OURS = "inpaint."  # prefix of the tags of this project's runs


@dataclass(frozen=True)
class Present:
    """Identifies the present outputs, whose content `publish` would only send again.

    Attributes:
        records: ids of the records of trainings.
        digests: SHA-256 of the models.
    """

    records: frozenset[str]
    digests: frozenset[str]


@dataclass(frozen=True)
class Holding:
    """An item in MLflow.

    Attributes:
        kind: `VERSION`, with its logged model; `MODEL`, a logged model without a version; or `RUN`.
        name: for the user.
        needed: the reason to keep it, "" for none.
        run_id: of the run, or of the version's run.
        model_id: of the logged model, "" for a run.
        version: of the registered model, if it is one.
    """

    kind: str
    name: str
    needed: str
    run_id: str = ""
    model_id: str = ""
    version: Version | None = field(default=None, repr=False)


def survey(experiment: str, prefix: str, present: Present, before_ms: int) -> list[Holding]:
    """List this project's versions, logged models without a version, and runs in MLflow.

    Args:
        experiment: name of the experiment.
        prefix: of the names of registered models.
        present: identifies the present outputs.
        before_ms: later items are recent; milliseconds since 1970.
    """
    if not store.is_begun():
        return []
    ours = [version for version in versions.registered() if version.name.startswith(prefix)]
    with store.reached():
        client = store.connect()
        found = client.get_experiment_by_name(experiment)
        experiments = [] if found is None else [str(found.experiment_id)]
        logged = {str(model.model_id): model for model in pages(client.search_logged_models, experiments)}
        made = {(str(one.name), str(one.version)): _Made(one) for one in pages(client.search_model_versions)}
        held = [*_versions(ours, made, present, before_ms)]
        going = {(one.version.name, one.version.number) for one in held if one.version and not one.needed}
        staying = {name: one for name, one in made.items() if name not in going}
        held += _models(logged, {one.model_id for one in made.values()}, before_ms)
        makers = {one.run_id: "made version {1} of {0}".format(*name) for name, one in staying.items()}
        return [*held, *_runs(pages(client.search_runs, experiments), makers, present, before_ms)]


class _Made:
    """The logged model ("" for none) and the run of a version."""

    def __init__(self, version: Any) -> None:
        source = str(version.source or "")
        self.model_id = source.removeprefix(versions.SCHEME) if source.startswith(versions.SCHEME) else ""
        self.run_id = str(version.run_id or "")


def _versions(
    ours: list[Version],
    made: Mapping[tuple[str, str], _Made],
    present: Present,
    before_ms: int,
) -> Iterable[Holding]:
    reasons = {(one.name, one.number): _why_it_stays(one, present, before_ms) for one in ours}
    # Another version, perhaps under another name, may use the same logged model.
    shared = {made[name].model_id: name for name in made if reasons.get(name, "another's") and made[name].model_id}
    for one in ours:
        model_id, needed = made[one.name, one.number].model_id, reasons[one.name, one.number]
        if not needed and model_id in shared:
            needed = "shares its model with version {1} of {0}".format(*shared[model_id])
        yield Holding(VERSION, f"version {one.number} of {one.name}", needed, one.run_id, model_id, one)


def _why_it_stays(version: Version, present: Present, before_ms: int) -> str:
    if version.aliases:
        return ", ".join(version.aliases)
    if aliases.was_champion(version):
        return "was champion"
    if aliases.VETO in version.tags:
        return "under a veto"
    if version.digest in present.digests:
        return "of the present outputs"
    return "recent" if version.made_ms >= before_ms else ""


def _models(logged: Mapping[str, "LoggedModel"], of_versions: set[str], before_ms: int) -> Iterable[Holding]:
    """Find logged models without a version, left by an interrupted registration or deletion."""
    for model_id, model in logged.items():
        if MODEL_SHA in model.tags and model_id not in of_versions:
            needed = "recent" if int(model.creation_timestamp) >= before_ms else ""
            yield Holding(MODEL, f"model {model_id}, of no version", needed, model_id=model_id)


def _runs(runs: Iterable["Run"], makers: Mapping[str, str], present: Present, before_ms: int) -> Iterable[Holding]:
    ours = [run for run in runs if any(tag.startswith(_OURS) for tag in run.data.tags)]
    comparisons = [run for run in ours if additions.COMPARISON in run.data.tags]
    newest = max(comparisons, key=lambda run: int(run.info.start_time), default=None)
    for run in ours:
        run_id = str(run.info.run_id)
        needed = makers.get(run_id, "") or _why_run_stays(run, newest, present, before_ms)
        name = f"run {run.info.run_name} ({run_id[:8]})"
        yield Holding(RUN, name, needed, run_id)


def _why_run_stays(run: "Run", newest: "Run | None", present: Present, before_ms: int) -> str:
    tags = run.data.tags
    if tags.get(store.RECORD) in present.records or any(f"{AGAIN}{each}" in tags for each in present.records):
        return "of the present outputs"
    if run is newest:
        return "the latest comparison"
    if run.info.status == "RUNNING":
        return "running"
    return "recent" if max(int(run.info.start_time), int(run.info.end_time or 0)) >= before_ms else ""


def let_go(holding: Holding) -> bool:
    """Move an item to MLflow's trash, a version before its model, so that no version ever lacks its model.

    Returns:
        whether it was deleted; a version is kept if its aliases or tags have changed meanwhile.
    """
    with store.reached(), store.locked("registry"), store.locked("runs"):
        client = store.connect()
        if holding.version is not None:
            if _is_wanted_now(client, holding.version):
                return False
            client.delete_model_version(holding.version.name, holding.version.number)
        if holding.kind == RUN:
            client.delete_run(holding.run_id)
        elif holding.model_id:
            client.delete_logged_model(holding.model_id)
        return True


def _is_wanted_now(client: "MlflowClient", version: Version) -> bool:
    now = client.get_model_version(version.name, version.number)
    tags = {str(key): str(value) for key, value in now.tags.items()}
    return bool(now.aliases) or tags != dict(version.tags)


def empty_trash() -> bool:
    """Delete the files in MLflow's trash if the store is local; otherwise its server has to.

    Returns:
        whether that was done.

    Raises:
        TrackingError: `mlflow gc` fails.
    """
    if store.database() is None:
        return False
    with store.reached():
        command = [sys.executable, "-m", "mlflow", "gc", "--backend-store-uri", store.uri()]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise TrackingError(f"mlflow gc failed: {(ran.stderr.strip() or ran.stdout.strip()).splitlines()[-1]}")
    return True

"""Aliases of registered models, the ledger of their moves, and vetoes.

    champion     the version in use
    challenger   the newest other version, until the gate rejects it
    candidate    a version that passed the gate and waits for approval
    previous     the former champion, to which a rollback returns

The ledger consists of tags of the versions that became champion, so machines that share a registry share it. A rollback
vetoes the version that it leaves: it is not promoted again until a person lifts the veto.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from stages.runtime.errors import InputError
from stages.tracking import store, versions
from stages.tracking.versions import Version

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHAMPION, CHALLENGER, CANDIDATE, PREVIOUS = "champion", "challenger", "candidate", "previous"
VETO = "inpaint.veto"
_MOVE = "inpaint.champion_since."  # prefix, followed by the time: a version may become champion repeatedly
_REJECTED = "inpaint.rejected."  # prefix, followed by the time
_LONGEST = 4000  # characters of a tag that every store accepts


@dataclass(frozen=True)
class Move:
    """A line of the ledger.

    Attributes:
        name: the registered model.
        number: the version that became champion, or was rejected.
        at: when, UTC, as 2026-01-31T12:00:00.123456Z.
        why: the reason.
        is_rejection: whether a person rejected the version.
    """

    name: str
    number: str
    at: str
    why: str
    is_rejection: bool = False


def champion(name: str) -> Version | None:
    """Return the champion of a registered model, None if there is none."""
    return _with_alias(versions.registered(name), CHAMPION)


def promote(name: str, number: str, why: str, over: str | None = None) -> tuple[Version | None, Version]:
    """Make a version the champion, and the former champion `previous`. Promoting the champion changes nothing.

    Args:
        name: of the registered model.
        number: of the version.
        why: the reason, for the ledger.
        over: the version that must be the champion so far, "" for none; None for any.

    Returns:
        the former champion, if there was one, and the new one.

    Raises:
        InputError: there is no such version, it is vetoed, or the champion is not `over`.
    """
    with _opened(name) as (client, known):
        new, before = _numbered(known, name, number), _with_alias(known, CHAMPION)
        if before is not None and before.number == number:
            _drop(client, new, CHALLENGER, CANDIDATE)  # left by an interrupted call
            return before, new
        _refuse_vetoed(new)
        if over is not None and over != (before.number if before else ""):
            raise InputError(
                f"version {number} of {name} was compared with version {over or 'none'}, but the champion is now "
                f"version {before.number if before else 'none'}; the next call compares them"
            )
        if before is not None:
            client.set_registered_model_alias(name, PREVIOUS, before.number)
        _crown(client, new, why)
    return before, new


def propose(name: str, number: str) -> None:
    """Make a version the candidate, unless it is the champion.

    Raises:
        InputError: there is no such version, or it is vetoed.
    """
    with _opened(name) as (client, known):
        version = _numbered(known, name, number)
        _refuse_vetoed(version)
        if CHAMPION not in version.aliases:
            client.set_registered_model_alias(name, CANDIDATE, number)
            _drop(client, version, CHALLENGER)


def candidate(name: str) -> Version:
    """Return the version that waits for approval.

    Raises:
        InputError: there is none.
    """
    found = _with_alias(versions.registered(name), CANDIDATE)
    if found is None:
        raise InputError(f"no version of {name} waits for approval; inpaint model list shows all versions")
    return found


def reject(name: str, why: str) -> Version:
    """Reject the candidate: it loses its alias and is vetoed.

    Raises:
        InputError: there is no candidate.
    """
    waiting = candidate(name)
    with _opened(name) as (client, known):
        version, now = _numbered(known, name, waiting.number), _now()
        client.set_model_version_tag(name, version.number, f"{_REJECTED}{now}", why[:_LONGEST])
        client.set_model_version_tag(name, version.number, VETO, f"{now}: {why}"[:_LONGEST])
        _drop(client, version, CANDIDATE)
    return version


def settle(name: str) -> None:
    """Add to the ledger a version that was made the champion in MLflow's web interface."""
    with _opened(name):
        pass


def keep_out(version: Version) -> None:
    """Remove the aliases of a version that the gate rejected."""
    with _opened(version.name) as (client, known):
        _drop(client, _numbered(known, version.name, version.number), CHALLENGER, CANDIDATE)


def rollback(name: str, why: str) -> tuple[Version, Version]:
    """Return to the former champion, and veto the present one.

    Args:
        name: of the registered model.
        why: the reason, for the ledger and the veto.

    Returns:
        the version that was left, and the champion.

    Raises:
        InputError: there is no champion, or none before it.
    """
    with _opened(name) as (client, known):
        left = _with_alias(known, CHAMPION)
        if left is None:
            raise InputError(f"{name} has no champion to roll back from")
        earlier = _earlier(known, left)
        if not earlier:
            raise InputError(f"version {left.number} of {name} has no former champion to return to")
        client.set_model_version_tag(name, left.number, VETO, f"{_now()}: {why}"[:_LONGEST])
        _crown(client, earlier[0], f"rolled back from version {left.number}: {why}")
        if len(earlier) > 1:
            client.set_registered_model_alias(name, PREVIOUS, earlier[1].number)
        else:
            client.delete_registered_model_alias(name, PREVIOUS)
    return left, earlier[0]


def lift_veto(name: str, number: str) -> str:
    """Lift the veto on a version.

    Returns:
        the reason of the veto.

    Raises:
        InputError: there is no such version, or it is not vetoed.
    """
    with _opened(name) as (client, known):
        version = _numbered(known, name, number)
        if VETO not in version.tags:
            raise InputError(f"there is no veto on version {number} of {name}")
        client.delete_model_version_tag(name, number, VETO)
    return version.tags[VETO]


@contextmanager
def _opened(name: str) -> Iterator[tuple["MlflowClient", list[Version]]]:
    """Yield a client and the versions of a registered model, under the lock of the registry.

    First the ledger gets a champion that it lacks, or that is still the candidate: a person made it the champion in
    MLflow's web interface.

    Raises:
        InputError: there is no registry yet, and connecting would create an empty one.
        TrackingError: MLflow cannot be reached.
    """
    if not store.is_begun():
        raise InputError(f"{store.shown()} does not exist yet, so no {name} is registered; dvc repro registers models")
    with store.reached(), store.locked("registry"):
        client, known = store.connect(), versions.registered(name)
        version = _with_alias(known, CHAMPION)
        if version is not None and (CANDIDATE in version.aliases or not was_champion(version)):
            before = [move.number for move in _moves(known) if not move.is_rejection and move.number != version.number]
            if before:
                client.set_registered_model_alias(name, PREVIOUS, before[-1])
            _crown(client, version, "approved in MLflow" if CANDIDATE in version.aliases else "made champion in MLflow")
            known = versions.registered(name)
        yield client, known


def _refuse_vetoed(version: Version) -> None:
    if VETO in version.tags:
        raise InputError(
            f"version {version.number} of {version.name} is under a veto ({version.tags[VETO]}); to promote it "
            f"anyway, first run inpaint model lift-veto models:/{version.name}/{version.number}"
        )


def _numbered(known: Sequence[Version], name: str, number: str) -> Version:
    found = [version for version in known if version.number == number]
    return found[0] if found else versions.resolve(f"models:/{name}/{number}")  # raises


def _with_alias(known: Sequence[Version], alias: str) -> Version | None:
    return next((version for version in known if alias in version.aliases), None)


def _drop(client: "MlflowClient", version: Version, *aliases: str) -> None:
    for alias in set(aliases).intersection(version.aliases):
        client.delete_registered_model_alias(version.name, alias)


def was_champion(version: Version) -> bool:
    """Return whether the version is in the ledger."""
    return any(tag.startswith(_MOVE) for tag in version.tags)


def ledger(name: str = "") -> list[Move]:
    """Return the moves of the alias `champion` and the rejections, for one or all registered models, by time."""
    return _moves(versions.registered(name))


def _moves(known: Sequence[Version]) -> list[Move]:
    moves = [
        Move(version.name, version.number, tag.removeprefix(kind), why, kind == _REJECTED)
        for version in known
        for tag, why in version.tags.items()
        for kind in (_MOVE, _REJECTED)
        if tag.startswith(kind)
    ]
    return sorted(moves, key=lambda move: (move.at, move.name))


def note(version: Version, tags: dict[str, str]) -> None:
    """Set tags of a version."""
    with store.reached():
        client = store.connect()
        for key, value in tags.items():
            client.set_model_version_tag(version.name, version.number, key, value[:_LONGEST])


def write_down(client: "MlflowClient", name: str, number: str, why: str) -> None:
    """Add to the ledger that a version becomes champion now."""
    client.set_model_version_tag(name, number, f"{_MOVE}{_now()}", why[:_LONGEST])


def _crown(client: "MlflowClient", version: Version, why: str) -> None:
    """Add a move to the ledger, then make it, so that a killed call never leaves a move that is not in the ledger."""
    write_down(client, version.name, version.number, why)
    client.set_registered_model_alias(version.name, CHAMPION, version.number)
    _drop(client, version, CHALLENGER, CANDIDATE)


def _earlier(known: Sequence[Version], left: Version) -> list[Version]:
    """Return the former champions without a veto, the latest first."""
    by_number = {version.number: version for version in known}
    since = [
        (tag.removeprefix(_MOVE), version.number) for version in known for tag in version.tags if tag.startswith(_MOVE)
    ]
    order = [number for _, number in sorted(since, reverse=True)]
    marked = [version.number for version in known if PREVIOUS in version.aliases]
    candidates = dict.fromkeys([*marked, *order])
    return [by_number[n] for n in candidates if n != left.number and VETO not in by_number[n].tags]


def _now() -> str:
    # One reading of the clock for seconds and microseconds, or moves could change order.
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

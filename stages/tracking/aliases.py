"""Which version is used: the aliases of a registered model, how they moved, and which versions may not come back.

    champion     what is used where no version is named
    challenger   the newest version that is not, until a gate keeps it out
    candidate    what passed the gate and waits for a person, who approves or rejects it
    previous     the champion before, to which a rollback returns

Every move is written down as a tag of the version that it made champion, so the ledger lives where the aliases live and
all machines that share a registry share it. A rollback also gives the version that it leaves a veto: nothing promotes
that version until a person has lifted it.
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
_MOVE = "inpaint.champion_since."  # followed by the time, so that a version may be champion more than once
_REJECTED = "inpaint.rejected."  # followed by the time
_LONGEST = 4000  # characters of a tag that every store takes


@dataclass(frozen=True)
class Move:
    """A line of the ledger.

    Attributes:
        name: the registered model.
        number: the version that became champion, or was rejected.
        at: when, UTC, as 2026-01-31T12:00:00.123456Z.
        why: in words.
        is_rejection: whether a person kept it from becoming champion.
    """

    name: str
    number: str
    at: str
    why: str
    is_rejection: bool = False


def champion(name: str) -> Version | None:
    """Return the champion of a registered model, None where there is none.

    Raises:
        TrackingError: MLflow cannot be reached.
    """
    return _with_alias(versions.registered(name), CHAMPION)


def promote(name: str, number: str, why: str, over: str | None = None) -> tuple[Version | None, Version]:
    """Make a version the champion, and the champion before the `previous` one; done before, it changes nothing.

    Args:
        name: of the registered model.
        number: of the version.
        why: for the ledger.
        over: the version that has to be the champion until now, "" for none; None where any may be.

    Returns:
        the champion before, if there was one, and the new one.

    Raises:
        InputError: there is no such version, a veto is on it, or another version is the champion than `over`.
        TrackingError: MLflow cannot be reached.
    """
    with _opened(name) as (client, known):
        new, before = _numbered(known, name, number), _with_alias(known, CHAMPION)
        if before is not None and before.number == number:
            _drop(client, new, CHALLENGER, CANDIDATE)  # which a call that was cut off left
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
    """Make a version the candidate that waits for a person; a champion meanwhile stays what it is.

    Raises:
        InputError: there is no such version, or a veto is on it.
        TrackingError: MLflow cannot be reached.
    """
    with _opened(name) as (client, known):
        version = _numbered(known, name, number)
        _refuse_vetoed(version)
        if CHAMPION not in version.aliases:
            client.set_registered_model_alias(name, CANDIDATE, number)
            _drop(client, version, CHALLENGER)


def candidate(name: str) -> Version:
    """Return the version that waits for a person.

    Raises:
        InputError: none does.
        TrackingError: MLflow cannot be reached.
    """
    found = _with_alias(versions.registered(name), CANDIDATE)
    if found is None:
        raise InputError(f"no version of {name} waits for approval; inpaint model list shows what there is")
    return found


def reject(name: str, why: str) -> Version:
    """Keep the candidate out: it loses its alias, and gets a veto.

    Raises:
        InputError: no version waits.
        TrackingError: MLflow cannot be reached.
    """
    waiting = candidate(name)
    with _opened(name) as (client, known):
        version, now = _numbered(known, name, waiting.number), _now()
        client.set_model_version_tag(name, version.number, f"{_REJECTED}{now}", why[:_LONGEST])
        client.set_model_version_tag(name, version.number, VETO, f"{now}: {why}"[:_LONGEST])
        _drop(client, version, CANDIDATE)
    return version


def settle(name: str) -> None:
    """Write down what was done in MLflow's own pages: a candidate that was made the champion there.

    Raises:
        TrackingError: MLflow cannot be reached.
    """
    with _opened(name) as (client, known):
        version = _with_alias(known, CHAMPION)
        if version is not None and CANDIDATE in version.aliases:
            before = [move.number for move in ledger(name) if not move.is_rejection and move.number != version.number]
            if before:
                client.set_registered_model_alias(name, PREVIOUS, before[-1])
            _crown(client, version, "approved in MLflow")


def keep_out(version: Version) -> None:
    """Take the alias from a challenger that is not to become champion.

    Raises:
        TrackingError: MLflow cannot be reached.
    """
    with _opened(version.name) as (client, known):
        _drop(client, _numbered(known, version.name, version.number), CHALLENGER, CANDIDATE)


def rollback(name: str, why: str) -> tuple[Version, Version]:
    """Return to the champion before, and veto the one that is left.

    Args:
        name: of the registered model.
        why: for the ledger and the veto.

    Returns:
        the version that was left and the one that is champion now.

    Raises:
        InputError: there is no champion, or none before it.
        TrackingError: MLflow cannot be reached.
    """
    with _opened(name) as (client, known):
        left = _with_alias(known, CHAMPION)
        if left is None:
            raise InputError(f"{name} has no champion to roll back from")
        earlier = _earlier(known, left)
        if not earlier:
            raise InputError(
                f"version {left.number} of {name} is the only champion there was: there is nothing before it"
            )
        client.set_model_version_tag(name, left.number, VETO, f"{_now()}: {why}"[:_LONGEST])
        _crown(client, earlier[0], f"rolled back from version {left.number}: {why}")
        if len(earlier) > 1:
            client.set_registered_model_alias(name, PREVIOUS, earlier[1].number)
        else:
            client.delete_registered_model_alias(name, PREVIOUS)
    return left, earlier[0]


def lift_veto(name: str, number: str) -> str:
    """Let gates consider a version again.

    Returns:
        the veto's words.

    Raises:
        InputError: there is no such version, or no veto on it.
        TrackingError: MLflow cannot be reached.
    """
    with _opened(name) as (client, known):
        version = _numbered(known, name, number)
        if VETO not in version.tags:
            raise InputError(f"there is no veto on version {number} of {name}")
        client.delete_model_version_tag(name, number, VETO)
    return version.tags[VETO]


@contextmanager
def _opened(name: str) -> Iterator[tuple["MlflowClient", list[Version]]]:
    """Hold the registry's lock, and read the versions of a registered model under it.

    Raises:
        InputError: there is no registry yet, and connecting would make an empty one.
        TrackingError: MLflow cannot be reached.
    """
    if not store.is_begun():
        raise InputError(f"{store.shown()} does not exist yet, so no {name} is registered; dvc repro registers models")
    with store.reached(), store.locked("registry"):
        yield store.connect(), versions.registered(name)


def _refuse_vetoed(version: Version) -> None:
    if VETO in version.tags:
        raise InputError(
            f"version {version.number} of {version.name} is under a veto ({version.tags[VETO]}); to promote it all the "
            f"same, first inpaint model lift-veto models:/{version.name}/{version.number}"
        )


def _numbered(known: Sequence[Version], name: str, number: str) -> Version:
    found = [version for version in known if version.number == number]
    return found[0] if found else versions.resolve(f"models:/{name}/{number}")  # which says what there is


def _with_alias(known: Sequence[Version], alias: str) -> Version | None:
    return next((version for version in known if alias in version.aliases), None)


def _drop(client: "MlflowClient", version: Version, *aliases: str) -> None:
    for alias in set(aliases).intersection(version.aliases):
        client.delete_registered_model_alias(version.name, alias)


def was_champion(version: Version) -> bool:
    """Say whether the ledger has a version."""
    return any(tag.startswith(_MOVE) for tag in version.tags)


def ledger(name: str = "") -> list[Move]:
    """Return all moves of the alias `champion` and all rejections, of all registered models or of one, by time.

    Raises:
        TrackingError: MLflow cannot be reached.
    """
    moves = [
        Move(version.name, version.number, tag.removeprefix(kind), why, kind == _REJECTED)
        for version in versions.registered(name)
        for tag, why in version.tags.items()
        for kind in (_MOVE, _REJECTED)
        if tag.startswith(kind)
    ]
    return sorted(moves, key=lambda move: (move.at, move.name))


def note(version: Version, tags: dict[str, str]) -> None:
    """Give a version tags.

    Raises:
        TrackingError: MLflow cannot be reached.
    """
    with store.reached():
        client = store.connect()
        for key, value in tags.items():
            client.set_model_version_tag(version.name, version.number, key, value[:_LONGEST])


def write_down(client: "MlflowClient", name: str, number: str, why: str) -> None:
    """Add a line to the ledger: this version becomes champion now."""
    client.set_model_version_tag(name, number, f"{_MOVE}{_now()}", why[:_LONGEST])


def _crown(client: "MlflowClient", version: Version, why: str) -> None:
    """Write the move down, then make it: a call that is killed between leaves a line too many, never one too few."""
    write_down(client, version.name, version.number, why)
    client.set_registered_model_alias(version.name, CHAMPION, version.number)
    _drop(client, version, CHALLENGER, CANDIDATE)


def _earlier(known: Sequence[Version], left: Version) -> list[Version]:
    """Return the versions that were champion before, the latest first; those under a veto are passed over."""
    by_number = {version.number: version for version in known}
    since = [
        (tag.removeprefix(_MOVE), version.number) for version in known for tag in version.tags if tag.startswith(_MOVE)
    ]
    order = [number for _, number in sorted(since, reverse=True)]
    marked = [version.number for version in known if PREVIOUS in version.aliases]
    candidates = dict.fromkeys([*marked, *order])
    return [by_number[n] for n in candidates if n != left.number and VETO not in by_number[n].tags]


def _now() -> str:
    # One reading of the clock: seconds and microseconds of two readings can be of two seconds, and moves change places.
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

"""The champion's alias on a real registry: moved, rolled back, vetoed, and every move written down."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from stages.runtime.errors import InputError
from stages.tracking import aliases, holdings, store, versions
from tests.tracked import register_versions, write_database

NAME = "inpaint-pconv"


@pytest.fixture(autouse=True)
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three versions without files: aliases need none."""
    write_database(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    register_versions(NAME, tmp_path, "123")
    aliases.promote(NAME, "1", "the first")


def named() -> dict[str, str]:
    return {alias: version.number for version in versions.registered(NAME) for alias in version.aliases}


def test_a_promotion_remembers_the_champion_before() -> None:
    before, new = aliases.promote(NAME, "2", "better")
    assert (before.number if before else None, new.number) == ("1", "2")
    assert named() == {"champion": "2", "previous": "1"}
    aliases.promote(NAME, "2", "again")
    assert [(move.number, move.why) for move in aliases.ledger(NAME)] == [("1", "the first"), ("2", "better")]


def test_rollbacks_go_back_one_by_one_and_veto_what_they_leave() -> None:
    aliases.promote(NAME, "2", "better")
    aliases.promote(NAME, "3", "better still")
    left, now = aliases.rollback(NAME, "grey skies")
    assert (left.number, now.number) == ("3", "2")
    assert named() == {"champion": "2", "previous": "1"}
    assert versions.resolve(f"models:/{NAME}/3").tags[aliases.VETO].endswith("grey skies")
    aliases.rollback(NAME, "still grey")
    assert named() == {"champion": "1"}
    with pytest.raises(InputError, match="no former champion"):
        aliases.rollback(NAME, "once more")
    assert [move.number for move in aliases.ledger()] == ["1", "2", "3", "2", "1"]


def test_a_champion_of_mlflows_pages_is_written_down_and_a_rollback_leaves_it() -> None:
    with store.reached():
        store.connect().set_registered_model_alias(NAME, "champion", "2")
    aliases.settle(NAME)
    aliases.settle(NAME)
    assert [(move.number, move.why) for move in aliases.ledger(NAME)][1:] == [("2", "made champion in MLflow")]
    with store.reached():
        store.connect().set_registered_model_alias(NAME, "champion", "3")
    assert aliases.rollback(NAME, "grey skies")[1].number == "2"
    assert named() == {"champion": "2", "previous": "1"}


def test_a_veto_is_lifted_by_a_person_and_by_nothing_else() -> None:
    aliases.promote(NAME, "2", "better")
    aliases.rollback(NAME, "grey skies")
    with pytest.raises(InputError, match="version 2 .*veto .*grey skies"):
        aliases.promote(NAME, "2", "by hand")
    assert named()["champion"] == "1"
    assert aliases.lift_veto(NAME, "2").endswith("grey skies")
    with pytest.raises(InputError, match="no veto on version 2"):
        aliases.lift_veto(NAME, "2")
    aliases.promote(NAME, "2", "by hand")
    assert named()["champion"] == "2"


def test_what_another_process_moved_while_this_one_waited_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    locked = store.locked

    @contextmanager
    def locked_after_another(name: str) -> Iterator[None]:
        with locked(name):
            if name == "registry":
                monkeypatch.setattr(store, "locked", locked)
                with store.reached():
                    store.connect().set_registered_model_alias(NAME, "champion", "2")
            yield

    monkeypatch.setattr(store, "locked", locked_after_another)
    aliases.promote(NAME, "3", "better")
    assert named() == {"champion": "3", "previous": "2"}


def test_a_challenger_that_is_kept_out_loses_the_alias() -> None:
    with store.reached():
        store.connect().set_registered_model_alias(NAME, "challenger", "2")
    aliases.keep_out(versions.resolve(f"models:/{NAME}/2"))
    aliases.keep_out(versions.resolve(f"models:/{NAME}/2"))
    assert named() == {"champion": "1"}


def test_a_version_that_is_deleted_while_it_is_looked_up_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow reads versions, then their tags: what another machine deletes in between is found without tags."""
    client_of = store.connect

    def connect() -> MlflowClient:
        client = client_of()
        search = client.search_model_versions

        def as_it_is_deleted(*words: str) -> list[Any]:
            found = search(*words)
            for one in found:
                if str(one.version) == "2":
                    client.delete_model_version(NAME, "2")
                    one._tags = {}
            return found

        monkeypatch.setattr(client, "search_model_versions", as_it_is_deleted)
        return client

    monkeypatch.setattr(store, "connect", connect)
    assert [version.number for version in versions.registered(NAME)] == ["3", "1"]


@pytest.mark.parametrize("uri", ["models:/x", "models:/x@", "x"])
def test_what_names_no_version_is_told_from_what_is_not_registered(uri: str) -> None:
    with pytest.raises(InputError, match="should be models:/NAME@ALIAS or models:/NAME/VERSION"):
        versions.resolve(uri)


def test_without_a_champion_there_is_nothing_to_roll_back() -> None:
    with store.reached():
        store.connect().delete_registered_model_alias(NAME, "champion")
    with pytest.raises(InputError, match="no champion to roll back from"):
        aliases.rollback(NAME, "why")


@pytest.mark.parametrize(
    "move",
    [
        lambda: aliases.rollback(NAME, "why"),
        lambda: aliases.promote(NAME, "1", "why"),
        lambda: aliases.lift_veto(NAME, "1"),
        lambda: holdings.survey("photographs", "inpaint-", holdings.Present(frozenset(), frozenset()), 0),
    ],
    ids=["rollback", "promote", "lift-veto", "tidy"],
)
def test_where_nothing_is_registered_no_registry_is_made(tmp_path: Path, move: Callable[[], object]) -> None:
    (tmp_path / "mlflow.db").unlink()
    with suppress(InputError):
        assert move() == []
    assert not (tmp_path / "mlflow.db").exists()

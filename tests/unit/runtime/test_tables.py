"""Tables on disk give the rows that are asked for, wherever their parts begin."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from stages.runtime import tables
from stages.runtime.tables import by_parts, find, first_of_each, on_disk, rows_of

SCHEMA = pa.schema([("name", pa.string()), ("number", pa.int64())])


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(tables, "ROWS_AT_ONCE", 4)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    return tmp_path / ".remembered"


def table(sizes: list[int]) -> pa.Table:
    numbers = np.split(np.arange(sum(sizes)), np.cumsum(sizes)[:-1])
    return on_disk((pa.table({"name": map(str, some), "number": some}, SCHEMA) for some in numbers), SCHEMA)


@pytest.mark.parametrize("sizes", [[3], [4, 4], [1, 1, 9, 0, 2], [13]])
def test_small_and_large_tables_become_equal_parts(sizes):
    made = table(sizes)
    assert made["number"].to_pylist() == list(range(sum(sizes)))
    assert [len(part) for part in made.to_batches()][:-1] == [4] * ((sum(sizes) - 1) // 4)


@pytest.mark.parametrize("count", [0, 1, 4, 5, 30])
@pytest.mark.parametrize("is_aligned", [True, False])
def test_rows_are_those_at_the_positions(count, is_aligned):
    made = table([13]) if is_aligned else pa.concat_tables([table([3]), table([10])])
    positions = np.random.default_rng(count).integers(13, size=count)
    wanted = made["name"].to_pylist()
    assert rows_of(made, positions)["name"].to_pylist() == [wanted[at] for at in positions]
    assert [name for part in by_parts(made, positions) for name in part["name"]] == [wanted[at] for at in positions]


def test_all_rows_in_order_are_the_table_itself():
    made = table([13])
    assert rows_of(made, np.arange(13)) is made
    assert rows_of(made, np.arange(12)) is not made


def test_no_rows_and_no_tables_have_the_columns_still(small_parts):
    assert on_disk([], SCHEMA).schema == rows_of(table([13]), np.empty(0, int)).schema == SCHEMA
    assert not list(small_parts.iterdir())


def test_texts_are_found_where_they_first_are():
    among = pa.chunked_array([["a", "b", "a"], ["", "c", "d", "e"]])
    texts = pa.chunked_array([["e", "x", "a", ""], ["b", "c"], ["d"]])
    assert find(texts, among).tolist() == [6, -1, 0, -1, 1, 4, 5]
    assert find(texts, pa.chunked_array([[]], pa.string())).tolist() == [-1] * 7
    assert find(pa.chunked_array([[]], pa.string()), among).tolist() == []


def test_equal_hashes_of_unlike_texts_are_told_apart(monkeypatch):
    monkeypatch.setattr(tables, "_keys", lambda table: np.zeros(len(table), np.uint64))
    among = pa.chunked_array([["a", "b"]])
    assert find(pa.chunked_array([["b", "a"]]), among).tolist() == [-1, 0]  # not found is decoded again, no mistake


def test_rows_that_repeat_others_are_left_out():
    rows = pa.table({"sha256": list("aabba"), "version": ["", "1", "", "", ""]})
    assert first_of_each(rows).tolist() == [0, 1, 2]

"""Readers of every table: a bad row, column or type is named."""

import polars as pl
import pytest

from gr2.errors import InputError
from gr2.files.interactions import read_interactions
from gr2.files.semantic_ids import read_semantic_ids
from gr2.files.sid_tokens import sid_string
from gr2.files.slates import read_slate_table
from tests.files.examples import EVENTS, READERS, SIDS, SLATES, write_table

REFUSED = [
    ("items", {"item_id": ["a", "b", "a"]}, 2, "item_id", "unique item ids, found 'a'"),
    ("items", {"item_id": ["a", None, ""]}, 1, "item_id", "an id, found None (and 1 more rows)"),
    ("items", {"title": ["A", "B", None]}, 2, "title", "a title"),
    ("events", {"item_id": ["a", "b", "zz"]}, 2, "item_id", "an item of the items file, found 'zz'"),
    ("events", {"user_id": ["u", "", "v"]}, 1, "user_id", "an id"),
    ("events", {"timestamp": [1.0, float("nan"), 2.0]}, 1, "timestamp", "seconds since 1970, as the other times are"),
    ("events", {"timestamp": [1.0, 2.0, float("inf")]}, 2, "timestamp", "seconds since 1970, as the other times are"),
    ("events", {"timestamp": [1e30, 2.0, 3.0]}, 0, "timestamp", "seconds since 1970, as the other times are"),
    ("events", {"timestamp": [1, None, 3]}, 1, "timestamp", "a whole number, found None"),
    ("events", {"position": [1, None, 3]}, 1, "position", "a whole number, found None"),
    ("slates", {"slate_id": ["s0", "s0"]}, 1, "slate_id", "unique slate ids"),
    ("slates", {"user_id": ["u", None]}, 1, "user_id", "an id"),
    ("slates", {"history": [["a"], []]}, 1, "history", "at least one item, found []"),
    ("slates", {"history": [["a"], None]}, 1, "history", "at least one item, found None"),
    ("slates", {"history": [["a", None], ["b"]]}, 0, "history", "no missing item"),
    ("slates", {"history": [["a"], ["zz"]]}, 1, "history", "items of the items file, found ['zz']"),
    ("slates", {"candidates": [["b", "c"], ["a", "a"]]}, 1, "candidates", "no item twice"),
    ("slates", {"candidates": [["b", "zz"], ["c", "a"]]}, 0, "candidates", "items of the items file"),
    ("slates", {"candidates": [[], ["c", "a"]], "labels": [[], []]}, 0, "candidates", "at least one item"),
    ("slates", {"labels": [[1.0], []]}, 0, "labels", "one label per candidate, or none, found [1.0]"),
    ("slates", {"labels": [[0.0, 1.0], [float("nan"), 1.0]]}, 1, "labels", "finite numbers"),
    ("slates", {"labels": [[0.0, -1.0], []]}, 0, "labels", "finite numbers from 0 to 1e+12"),
    ("slates", {"labels": [[0.0, 1e308], []]}, 0, "labels", "finite numbers from 0 to 1e+12"),
    ("slates", {"labels": [[0.0, float("inf")], []]}, 0, "labels", "finite numbers"),
    ("slates", {"scores": [[1.0, 2.0], [1.0]]}, 1, "scores", "one score per candidate"),
    ("slates", {"scores": [[1.0, None], []]}, 0, "scores", "finite numbers"),
    ("slates", {"positions": [[1, 2], [1]]}, 1, "positions", "one position per candidate, or none, found [1]"),
    ("slates", {"positions": [[1, 2], None]}, 1, "positions", "one position per candidate, or none, found None"),
    ("slates", {"positions": [[0, 1], [1, 2]]}, 0, "positions", "whole numbers of at least 1, found [0, 1]"),
    ("slates", {"positions": [[1, 2], [3, 3]]}, 1, "positions", "no position twice, found [3, 3]"),
    ("slates", {"propensities": [[1.0, 0.5], [1.0]]}, 1, "propensities", "one propensity per candidate"),
    ("slates", {"propensities": [[1.0, 0.0], [1.0, 0.1]]}, 0, "propensities", "numbers above 0 and of at most 1"),
    ("slates", {"propensities": [[1.0, 0.1], [1.5, 0.1]]}, 1, "propensities", "numbers above 0 and of at most 1"),
    ("slates", {"propensities": [[1.0, 0.1], [None, 0.1]]}, 1, "propensities", "numbers above 0 and of at most 1"),
    ("slates", {"split": ["train", "pretrain"]}, 1, "split", "one of train, valid, test, found 'pretrain'"),
    ("sids", {"codes": [[0, 1], [0]]}, 1, "codes", "2 codes, found [0]"),
    ("sids", {"sid": [sid_string([0, 1]), sid_string([2, 0])]}, 1, "sid", "the codes of its row as tokens"),
    ("sids", {"sid": [sid_string([0, 1])] * 2, "codes": [[0, 1], [0, 1]]}, 1, "sid", "unique semantic IDs"),
    ("sids", {"item_id": ["a", "a"]}, 1, "item_id", "unique item ids"),
    ("rankings", {"slate_id": ["s1", "s1"]}, 1, "slate_id", "one row per slate"),
    ("rankings", {"ranking": [["a", "c"], ["b", "b"]]}, 1, "ranking", "a permutation of the slate's candidates"),
    ("rankings", {"ranking": [["a", "c"], ["b"]]}, 1, "ranking", "a permutation of the slate's candidates"),
    ("rankings", {"ranking": [None, ["b", "c"]]}, 0, "ranking", "a permutation of the slate's candidates"),
]


@pytest.mark.parametrize(("kind", "changed", "row", "column", "expectation"), REFUSED)
def test_a_bad_row_is_named(tmp_path, kind, changed, row, column, expectation):
    read, columns = READERS[kind]
    path = write_table(tmp_path, columns, **changed)
    with pytest.raises(InputError) as refusal:
        read(path)
    assert str(refusal.value).startswith(f"{path}: row {row}, column '{column}': expected {expectation}")


@pytest.mark.parametrize("kind", READERS)
def test_a_good_table_is_read_and_every_needed_column_is_needed(tmp_path, kind):
    read, columns = READERS[kind]
    read(write_table(tmp_path, columns))
    for name in set(columns) - {"description", "categories", "scores"}:
        with pytest.raises(InputError, match=rf"table\.parquet.*column '{name}'"):
            read(write_table(tmp_path, {key: values for key, values in columns.items() if key != name}))


@pytest.mark.parametrize(("kind", "changed", "column"), [
    ("items", {"categories": [1, 2, 3]}, "categories"),
    ("events", {"timestamp": ["2001-01-01", "x", "y"]}, "timestamp"),
    ("slates", {"candidates": ["b|c", "c|a"]}, "candidates"),
    ("slates", {"history": [1, 2]}, "history"),
    ("slates", {"labels": [1.0, 0.0]}, "labels"),
    ("sids", {"codes": ["0 1", "0 2"]}, "codes"),
    ("rankings", {"ranking": ["a c", "b c"]}, "ranking"),
])  # fmt: skip
def test_a_column_of_another_type_is_named(tmp_path, kind, changed, column):
    read, columns = READERS[kind]
    with pytest.raises(InputError, match=rf"table\.parquet.*column '{column}': expected"):
        read(write_table(tmp_path, columns, **changed))


def test_semantic_ids_of_other_items_are_refused(tmp_path):
    for ids in (["b", "a"], ["a"], ["a", "b", "c"], ["a", "c"]):
        with pytest.raises(InputError, match="'item_id': expected the items of the items file in its order"):
            read_semantic_ids(write_table(tmp_path, SIDS), pl.Series(ids))


@pytest.mark.parametrize("kind", ["items", "events"])
def test_csv_jsonl_and_parquet_give_the_same(tmp_path, kind):
    read, columns = READERS[kind]
    changed = {"item_id": ["007", "12", "1e3"]}
    if kind == "events":
        frames = [
            read_interactions(write_table(tmp_path, columns, ending, **changed))
            for ending in (".parquet", ".csv", ".jsonl")
        ]
    else:
        changed["title"] = ["1984", "22", "300"]  # all of them numbers, and still text
        frames = [read(write_table(tmp_path, columns, ending, **changed)) for ending in (".parquet", ".csv", ".jsonl")]
        assert frames[0]["categories"].to_list() == [["F", "G"], [], ["F"]]
    assert frames[0]["item_id"].to_list() == ["007", "12", "1e3"]
    assert frames[1].equals(frames[0]) and frames[2].equals(frames[0])


def test_numbers_as_ids_become_strings(tmp_path):
    events = read_interactions(write_table(tmp_path, EVENTS, user_id=[1, 1, 2], item_id=[10, 20, 10]))
    assert events["user_id"].to_list() == ["1", "1", "2"] and events["item_id"].to_list() == ["10", "20", "10"]
    slates = write_table(tmp_path, SLATES, slate_id=[1, 2], history=[[1], [2]], candidates=[[2, 3], [3, 1]])
    assert read_slate_table(slates, pl.Series(["1", "2", "3"]))["candidates"].to_list() == [["2", "3"], ["3", "1"]]

import gzip
import json
import random

import polars as pl
import pytest

from gr2.errors import InputError
from gr2.files import columns, tables
from gr2.files.sid_tokens import sid_string

ITEMS = {
    "item_id": ["a", "b", "c"],
    "title": ["A", "B", ""],
    "description": ["x", "y", "z"],
    "categories": [["F", "G"], [], ["F"]],
}
EVENTS = {"user_id": ["u", "u", "v"], "item_id": ["a", "b", "a"], "timestamp": [3, 1, 2]}
SLATES = {
    "slate_id": ["s0", "s1"], "user_id": ["u", "v"], "history": [["a"], ["b", "b"]],
    "candidates": [["b", "c"], ["c", "a"]], "labels": [[0.0, 1.0], []], "scores": [[2.0, 1.0], [0.5, 0.1]],
    "split": ["train", "test"],
}  # fmt: skip
SIDS = {"item_id": ["a", "b"], "codes": [[0, 1], [0, 2]], "sid": [sid_string([0, 1]), sid_string([0, 2])]}
RANKINGS = {"slate_id": ["s1", "s0"], "ranking": [["a", "c"], ["b", "c"]], "valid": [True, False]}
IDS = pl.Series(["a", "b", "c"])


def made(folder, columns, ending=".parquet", **changed):
    frame = pl.DataFrame(columns | changed)
    path = folder / f"table{ending}"
    if ending == ".parquet":
        frame.write_parquet(path)
    elif ending == ".csv":
        lists = [name for name, dtype in frame.schema.items() if isinstance(dtype, pl.List)]
        frame.with_columns(pl.col(lists).list.join("|")).write_csv(path, quote_style="non_numeric")
    else:
        frame.write_ndjson(path)
    return path


def read_rankings(path):
    return tables.read_rankings(path, pl.DataFrame(SLATES))


READERS = {
    "items": (tables.read_items, ITEMS),
    "events": (lambda path: tables.read_interactions(path, IDS), EVENTS),
    "slates": (lambda path: tables.read_slates(path, IDS), SLATES),
    "sids": (lambda path: tables.read_semantic_ids(path, IDS[:2]), SIDS),
    "rankings": (read_rankings, RANKINGS),
}
REFUSED = [
    ("items", {"item_id": ["a", "b", "a"]}, 2, "item_id", "unique item ids, found 'a'"),
    ("items", {"item_id": ["a", None, ""]}, 1, "item_id", "an id, found None (and 1 more rows)"),
    ("items", {"title": ["A", "B", None]}, 2, "title", "a title"),
    ("events", {"item_id": ["a", "b", "zz"]}, 2, "item_id", "an item of the items file, found 'zz'"),
    ("events", {"user_id": ["u", "", "v"]}, 1, "user_id", "an id"),
    ("events", {"timestamp": [1.0, float("nan"), 2.0]}, 1, "timestamp", "a whole number, found nan"),
    ("events", {"timestamp": [1.0, 2.0, float("inf")]}, 2, "timestamp", "a whole number"),
    ("events", {"timestamp": [1.5, 2.0, 3.0]}, 0, "timestamp", "a whole number, found 1.5"),
    ("events", {"timestamp": [1e30, 2.0, 3.0]}, 0, "timestamp", "a whole number"),
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
    path = made(tmp_path, columns, **changed)
    with pytest.raises(InputError) as refusal:
        read(path)
    assert str(refusal.value).startswith(f"{path}: row {row}, column '{column}': expected {expectation}")


@pytest.mark.parametrize("kind", READERS)
def test_a_good_table_is_read_and_every_needed_column_is_needed(tmp_path, kind):
    read, columns = READERS[kind]
    read(made(tmp_path, columns))
    for name in set(columns) - {"description", "categories", "scores"}:
        with pytest.raises(InputError, match=rf"table\.parquet.*column '{name}'"):
            read(made(tmp_path, {key: values for key, values in columns.items() if key != name}))


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
        read(made(tmp_path, columns, **changed))


def test_semantic_ids_of_other_items_are_refused(tmp_path):
    for ids in (["b", "a"], ["a"], ["a", "b", "c"], ["a", "c"]):
        with pytest.raises(InputError, match="'item_id': expected the items of the items file in its order"):
            tables.read_semantic_ids(made(tmp_path, SIDS), pl.Series(ids))


def test_rankings_come_in_the_order_of_the_slates(tmp_path):
    found = tables.read_rankings(made(tmp_path, RANKINGS), pl.DataFrame(SLATES))
    assert found["slate_id"].to_list() == ["s0", "s1"]
    assert found["ranking"].to_list() == [["b", "c"], ["a", "c"]]
    assert found["valid"].to_list() == [False, True]


def test_rankings_may_hold_other_slates_but_must_hold_all(tmp_path):
    path = made(
        tmp_path, {"slate_id": ["other", "s0", "s1"], "ranking": [["x"], ["c", "b"], ["zz"]], "valid": [True] * 3}
    )
    with pytest.raises(InputError, match=r"row 2, column 'ranking'.*\['zz'\]"):  # the file's row, not one of a join
        tables.read_rankings(path, pl.DataFrame(SLATES))
    assert len(tables.read_rankings(path, pl.DataFrame(SLATES).head(1))) == 1
    with pytest.raises(InputError, match=r"1 are missing, 's9' among them"):
        tables.read_rankings(path, pl.DataFrame(SLATES | {"slate_id": ["s0", "s9"]}))


@pytest.mark.parametrize("kind", ["items", "events"])
def test_csv_jsonl_and_parquet_give_the_same(tmp_path, kind):
    read, columns = READERS[kind]
    changed = {"item_id": ["007", "12", "1e3"]}
    if kind == "events":
        frames = [
            tables.read_interactions(made(tmp_path, columns, ending, **changed))
            for ending in (".parquet", ".csv", ".jsonl")
        ]
    else:
        changed["title"] = ["1984", "22", "300"]  # all of them numbers, and still text
        frames = [read(made(tmp_path, columns, ending, **changed)) for ending in (".parquet", ".csv", ".jsonl")]
        assert frames[0]["categories"].to_list() == [["F", "G"], [], ["F"]]
    assert frames[0]["item_id"].to_list() == ["007", "12", "1e3"]
    assert frames[1].equals(frames[0]) and frames[2].equals(frames[0])


def test_types_of_csv_and_jsonl_come_from_all_rows(tmp_path):
    ratings = [5] * 200 + [4.5]
    events = {"user_id": ["u"] * 201, "item_id": ["a"] * 201, "timestamp": range(201)}
    rows = [{name: values[row] for name, values in events.items()} | {"rating": ratings[row]} for row in range(201)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "a.csv").write_text(
        "".join(",".join(map(str, row)) + "\n" for row in [rows[0], *(row.values() for row in rows)])
    )
    for file in ("a.jsonl", "a.csv"):
        assert tables.read_interactions(tmp_path / file)["rating"].to_list() == ratings


def test_numbers_as_ids_become_strings(tmp_path):
    events = tables.read_interactions(made(tmp_path, EVENTS, user_id=[1, 1, 2], item_id=[10, 20, 10]))
    assert events["user_id"].to_list() == ["1", "1", "2"] and events["item_id"].to_list() == ["10", "20", "10"]
    slates = made(tmp_path, SLATES, slate_id=[1, 2], history=[[1], [2]], candidates=[[2, 3], [3, 1]])
    assert tables.read_slates(slates, pl.Series(["1", "2", "3"]))["candidates"].to_list() == [["2", "3"], ["3", "1"]]


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".jsonl"])
def test_broken_files_are_named(tmp_path, ending):
    with pytest.raises(InputError, match=r"a\.xlsx: expected a file ending in \.parquet, \.jsonl, \.ndjson, \.csv"):
        columns.read_table(tmp_path / "a.xlsx")
    with pytest.raises(InputError, match=rf"absent\{ending}: no such file"):
        columns.read_table(tmp_path / f"absent{ending}")
    for content in (b"", b"\x00\xff{\n[1,2,\n3\xff4,\n"):
        (tmp_path / f"broken{ending}").write_bytes(content)
        with pytest.raises(InputError, match=rf"broken\{ending}: not a readable {ending[1:]} file"):
            columns.read_table(tmp_path / f"broken{ending}")


def test_a_parquet_file_cut_anywhere_is_refused(tmp_path):
    whole = made(tmp_path, ITEMS).read_bytes()
    for length in range(0, len(whole), 37):
        (tmp_path / "cut.parquet").write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"cut\.parquet: not a readable parquet file"):
            tables.read_items(tmp_path / "cut.parquet")


@pytest.mark.parametrize("ending", [".parquet", ".jsonl", ".csv", ".jsonl.gz", ".csv.gz"])
def test_a_file_cut_or_flipped_anywhere_is_read_or_refused_with_a_sentence(tmp_path, ending):
    items = {name: values * 8 for name, values in ITEMS.items()} | {"item_id": [f"i{n}" for n in range(24)]}
    whole = made(tmp_path, items, ending.removesuffix(".gz")).read_bytes()
    whole = gzip.compress(whole) if ending.endswith(".gz") else whole
    rng, path = random.Random(0), tmp_path / f"broken{ending}"
    for _ in range(60):
        content = bytearray(whole)
        for _ in range(rng.choice((1, 3, 20))):
            content[rng.randrange(len(content))] = rng.randrange(256)
        for damaged in (content, whole[: rng.randrange(len(whole))]):
            path.write_bytes(damaged)
            try:
                tables.read_items(path)
            except InputError as error:
                assert str(error).startswith(f"{path}: ") and len(str(error).splitlines()) == 1


def test_a_csv_file_that_ends_within_its_last_row_is_refused(tmp_path):
    path = tmp_path / "items.csv"
    for content, row in ((b"item_id,title\na,A\nb", 1), (b"item_id,title,description\na,A,x\nb,B", 1),
                         (b"item_id\ttitle\na\tA\nb", 1)):  # fmt: skip
        path = path.with_suffix(".tsv" if b"\t" in content else ".csv")
        path.write_bytes(content)
        with pytest.raises(InputError, match=rf"row {row}: expected \d fields, but the file ends before the last one"):
            tables.read_items(path)
    for whole in (
        b"item_id,title\na,A\nb,",
        b"item_id,title\na,A\nb,\n",
        b"item_id,title\na,A\nb,B",
        b"item_id,title\n",
    ):
        (tmp_path / "items.csv").write_bytes(whole)
        tables.read_items(tmp_path / "items.csv")


def test_a_column_that_is_there_twice_is_refused(tmp_path):
    (tmp_path / "items.csv").write_text("item_id,title,title\na,A,B\n")
    with pytest.raises(InputError, match=r"items\.csv: column 'title': expected it once, found it twice"):
        tables.read_items(tmp_path / "items.csv")


def test_an_empty_title_is_empty_however_csv_writes_it(tmp_path):
    (tmp_path / "items.csv").write_text('item_id,title,description\na,,x\nb,"",x\nc,C,x\n')
    assert tables.read_items(tmp_path / "items.csv")["title"].to_list() == ["", "", "C"]

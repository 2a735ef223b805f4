"""Files with rows and columns, whatever is in them: cut short, damaged, of any form."""

import gzip
import json
import random

import pytest

from gr2.errors import InputError
from gr2.files.columns import read_table
from gr2.files.interactions import read_interactions
from gr2.files.items import read_items
from tests.files.examples import ITEMS, write_table


def test_types_of_csv_and_jsonl_come_from_all_rows(tmp_path):
    ratings = [5] * 200 + [4.5]
    events = {"user_id": ["u"] * 201, "item_id": ["a"] * 201, "timestamp": range(201)}
    rows = [{name: values[row] for name, values in events.items()} | {"rating": ratings[row]} for row in range(201)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "a.csv").write_text(
        "".join(",".join(map(str, row)) + "\n" for row in [rows[0], *(row.values() for row in rows)])
    )
    for file in ("a.jsonl", "a.csv"):
        assert read_interactions(tmp_path / file)["rating"].to_list() == ratings


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".jsonl"])
def test_broken_files_are_named(tmp_path, ending):
    with pytest.raises(InputError, match=r"a\.xlsx: expected a file ending in \.parquet, \.jsonl, \.ndjson, \.csv"):
        read_table(tmp_path / "a.xlsx")
    with pytest.raises(InputError, match=rf"absent\{ending}: no such file"):
        read_table(tmp_path / f"absent{ending}")
    for content in (b"", b"\x00\xff{\n[1,2,\n3\xff4,\n"):
        (tmp_path / f"broken{ending}").write_bytes(content)
        with pytest.raises(
            InputError, match=rf"broken\{ending}: (not a readable {ending[1:]} file|line 1: expected text)"
        ):
            read_table(tmp_path / f"broken{ending}")


def test_a_parquet_file_cut_anywhere_is_refused(tmp_path):
    whole = write_table(tmp_path, ITEMS).read_bytes()
    for length in range(0, len(whole), 37):
        (tmp_path / "cut.parquet").write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"cut\.parquet: not a readable parquet file"):
            read_items(tmp_path / "cut.parquet")


@pytest.mark.parametrize("ending", [".parquet", ".jsonl", ".csv", ".jsonl.gz", ".csv.gz"])
def test_a_file_cut_or_flipped_anywhere_is_read_or_refused_with_a_sentence(tmp_path, ending):
    items = {name: values * 8 for name, values in ITEMS.items()} | {"item_id": [f"i{n}" for n in range(24)]}
    whole = write_table(tmp_path, items, ending.removesuffix(".gz")).read_bytes()
    whole = gzip.compress(whole) if ending.endswith(".gz") else whole
    rng, path = random.Random(0), tmp_path / f"broken{ending}"
    for _ in range(60):
        content = bytearray(whole)
        for _ in range(rng.choice((1, 3, 20))):
            content[rng.randrange(len(content))] = rng.randrange(256)
        for damaged in (content, whole[: rng.randrange(len(whole))]):
            path.write_bytes(damaged)
            try:
                read_items(path)
            except InputError as error:
                assert str(error).startswith(f"{path}: ") and len(str(error).splitlines()) == 1


def test_a_csv_file_that_ends_within_its_last_row_is_refused(tmp_path):
    path = tmp_path / "items.csv"
    for content in (
        b"item_id,title\na,A\nb",
        b"item_id,title,description\na,A,x\nb,B",
        b"item_id\ttitle\na\tA\nb",
    ):
        path = path.with_suffix(".tsv" if b"\t" in content else ".csv")
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"line 3: expected \d fields, as in the header, found \d"):
            read_items(path)
    for whole in (
        b"item_id,title\na,A\nb,",
        b"item_id,title\na,A\nb,\n",
        b"item_id,title\na,A\nb,B",
        b"item_id,title\n",
    ):
        (tmp_path / "items.csv").write_bytes(whole)
        read_items(tmp_path / "items.csv")


def test_a_column_that_is_there_twice_is_refused(tmp_path):
    (tmp_path / "items.csv").write_text("item_id,title,title\na,A,B\n")
    with pytest.raises(InputError, match=r"items\.csv: column 'title': expected it once, found it twice"):
        read_items(tmp_path / "items.csv")


def test_an_empty_title_is_empty_however_csv_writes_it(tmp_path):
    (tmp_path / "items.csv").write_text('item_id,title,description\na,,x\nb,"",x\nc,C,x\n')
    assert read_items(tmp_path / "items.csv")["title"].to_list() == ["", "", "C"]

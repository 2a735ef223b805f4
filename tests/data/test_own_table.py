"""Faults of the user's own files that no single column shows, and what gr2 says of them."""

import polars as pl
import pytest

from gr2.data.sources.files import read_files
from gr2.errors import InputError

ITEMS = "item_id,title\n1,Lamp\n2,Kettle\n3,Scarf\n"
EVENTS = "user_id,item_id,timestamp\nu,1,1700000000\nu,2,1700000001\nv,3,1700000002\n"


@pytest.fixture
def read(tmp_path):
    """Reads the text of an items file and of an events file, CSV or what `ending` says."""

    def read_texts(items=ITEMS, events=EVENTS, columns=(), drop=False, ending=".csv"):
        paths = [tmp_path / f"{name}{ending}" for name in ("items", "events")]
        for path, text in zip(paths, (items, events), strict=True):
            path.write_text(text)
        return read_files(*map(str, paths), list(columns), drop=drop)

    return read_texts


def refusal(read, *args, **kwargs):
    with pytest.raises(InputError) as error:
        read(*args, **kwargs)
    return str(error.value)


def test_words_that_may_stand_for_a_missing_id_are_counted_and_kept(read, capsys):
    words = ["NULL", "null", "nan", "NaN", "None", "N/A"]
    items = ITEMS + "".join(f"{word},Lamp\n" for word in [*words, "Nan"])
    read(items, EVENTS + "null,1,1700000003\nnull,2,1700000004\n")
    said = capsys.readouterr().out.splitlines()
    found = "'NULL', 'null', 'nan', 'NaN', 'None', 'N/A'"
    assert said[0].endswith(f"items.csv: column 'item_id': ids that may stand for missing ones, in 6 rows: {found}")
    assert said[1].endswith("events.csv: column 'user_id': ids that may stand for missing ones, in 2 rows: 'null'")
    read()
    assert "missing" not in capsys.readouterr().out


def test_a_second_header_is_no_row_and_spoils_no_column(read):
    header, *rows = EVENTS.replace("item_id", "sku").splitlines(keepends=True)
    events, items = "".join([header, *rows, header, *rows]), ITEMS + "item_id,title\n"
    assert "events.csv: line 5: expected one header, found a second; `--on" in refusal(
        read, events=events, columns=["item_id=sku"]
    )
    source = read(items, events, ["item_id=sku"], drop=True)
    assert source.interactions["timestamp"].to_list() == [1700000000, 1700000001, 1700000002]
    assert source.left_out.wrong_items == source.left_out.wrong_events == 1
    assert [row["row"] for row in source.left_out.rows[:2]] == ["item_id,title", "user_id,sku,timestamp"]


def test_rows_of_parquet_that_are_left_out_keep_their_number_beside_their_content(tmp_path):
    paths = [str(tmp_path / name) for name in ("items.parquet", "events.parquet")]
    pl.DataFrame({"item_id": ["1", "2"], "title": ["Lamp", "Kettle"]}).write_parquet(paths[0])
    events = {"user_id": ["u", "u", "v"], "item_id": ["1", "9", "2"], "timestamp": [1, 2, 3]}
    pl.DataFrame(events).write_parquet(paths[1])
    (found,) = read_files(*paths, [], drop=True).left_out.rows
    assert found["number"] == 1 and found["row"] == {"user_id": "u", "item_id": "9", "timestamp": 2}


def test_events_of_items_that_are_known_but_for_spaces_or_a_final_0_are_hinted_at(read):
    rows = "".join(f"u,{item},1700000009\n" for item in ("' 1'", "1.0", " 2", "9", "4", "9.0"))
    complaint = refusal(read, ITEMS + " 4 ,Drill\n", EVENTS + rows)
    assert "found \"' 1'\" (and 5 more lines: line 6 '1.0', line 7 ' 2', ...)" in complaint
    assert "); 3 of 6 are known but for spaces or a final '.0'; `--on_bad_row drop`" in complaint
    assert "known" not in refusal(read, events=EVENTS + "u,9,1700000009\n")


def test_events_in_the_future_are_counted(read, capsys):
    read(events=EVENTS + "u,1,4070908800\nv,1,4080000000\n")
    said = capsys.readouterr().out.splitlines()
    assert said[-1].endswith("events.csv: events in the future: 2 of 5, the latest on 2099-04-16")
    read()
    assert "in the future" not in capsys.readouterr().out


@pytest.mark.parametrize("drop", [False, True])
def test_no_advice_to_drop_rows_where_none_would_be_left(read, drop):
    complaint = refusal(read, events=EVENTS.replace(",1700", ",soon"), drop=drop)
    assert "(and 2 more lines: line 3 'soon000001', line 4 'soon000002'); all rows of " in complaint
    assert complaint.endswith("events.csv are wrong") and "--on_bad_row" not in complaint


def test_ids_stored_as_floats_are_refused_with_what_would_do(tmp_path):
    """As pandas writes a column of numbers where one is missing."""
    events = pl.DataFrame({"user_id": ["u"], "item_id": [1.0], "timestamp": [1700000000]})
    events.write_parquet(tmp_path / "events.parquet")
    (tmp_path / "items.csv").write_text(ITEMS)
    expected = "column 'item_id': expected ids stored as text or whole numbers, found Float64"
    with pytest.raises(InputError, match=expected):
        read_files(str(tmp_path / "items.csv"), str(tmp_path / "events.parquet"), [])


def test_a_folder_is_named_as_one(tmp_path):
    (tmp_path / "events.csv").write_text(EVENTS)
    with pytest.raises(InputError, match=f"^{tmp_path}: expected a file, found a folder$"):
        read_files(str(tmp_path), str(tmp_path / "events.csv"), [])


def test_a_catalogue_without_any_title_is_counted(read, capsys):
    untitled = "".join(f'{{"item_id": "{item}", "title": null}}\n' for item in (1, 2))
    event = '{"user_id": "u", "item_id": "1", "timestamp": 1700000000}\n'
    source = read(untitled, event, ending=".jsonl")
    assert "items.jsonl: items without a title: 2 of 2" in capsys.readouterr().out
    assert source.items(pl.Series(["1"]))["title"].to_list() == [""]

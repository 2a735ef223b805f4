import gzip
import io
from datetime import UTC, date, datetime, timedelta, timezone

import polars as pl
import pytest

from gr2.data.sources.files import read_files
from gr2.errors import InputError
from gr2.stages import prepare
from tests.helpers import gr2

ITEMS = {"sku": ["007", "12", "1e3"], "name": ["1984", "Brazil", "Casino"], "kind": ["Book|Satire", "Film", ""]}
EVENTS = {"buyer": ["01", "01", "2"], "sku": ["007", "12", "007"], "at": [30, 10, 20], "stars": [5.0, 4.5, 1.0]}
COLUMNS = ["item_id=sku", "title=name", "categories=kind", "user_id=buyer", "timestamp=at"]
NOON = int(datetime(2024, 1, 31, 12, tzinfo=UTC).timestamp())
MIDNIGHT = NOON - 12 * 3600


def written(folder, name, columns):
    """columns as a file of the form that the name says."""
    path, frame, file = folder / name, pl.DataFrame(columns), io.BytesIO()
    if ".parquet" in name:
        frame.write_parquet(file)
    elif ".jsonl" in name:
        frame.write_ndjson(file)
    else:
        frame.write_csv(file, separator="\t" if ".tsv" in name else ",")
    path.write_bytes(gzip.compress(file.getvalue()) if name.endswith(".gz") else file.getvalue())
    return str(path)


def read(folder, columns=COLUMNS, items=ITEMS, events=EVENTS, ending=".parquet"):
    made = read_files(written(folder, f"items{ending}", items), written(folder, f"events{ending}", events), columns)
    return made.items(pl.Series(["007", "12", "1e3"])), made.interactions


@pytest.mark.parametrize("ending", [".parquet", ".jsonl", ".jsonl.gz", ".csv", ".csv.gz", ".tsv", ".tsv.gz"])
def test_columns_may_have_any_names_in_any_form_of_file(tmp_path, ending):
    items, events = read(tmp_path, ending=ending)
    assert items.select("item_id", "title", "categories").rows() == [
        ("007", "1984", ["Book", "Satire"]),
        ("12", "Brazil", ["Film"]),
        ("1e3", "Casino", []),
    ]
    assert events.columns == ["item_id", "user_id", "timestamp", "stars"]
    assert events.rows() == [("007", "01", 30, 5.0), ("12", "01", 10, 4.5), ("007", "2", 20, 1.0)]


def test_files_may_be_of_two_forms_and_columns_may_need_no_other_name(tmp_path):
    items = {"item_id": ["007"], "title": ["1984"]}
    events = {"user_id": ["u"], "item_id": ["007"], "timestamp": [5]}
    made = read_files(written(tmp_path, "a.csv.gz", items), written(tmp_path, "b.jsonl", events), [])
    assert made.items(pl.Series(["007"])).rows() == [("007", "1984")]
    assert made.interactions.select("user_id", "item_id", "timestamp").rows() == [("u", "007", 5)]


def test_a_mapped_column_takes_the_place_of_one_that_has_our_name(tmp_path):
    items = ITEMS | {"item_id": [1, 2, 3], "title": ["x", "y", "z"]}
    events = EVENTS | {"item_id": [1, 2, 1], "timestamp": [0, 0, 0]}
    for ending in (".parquet", ".csv"):
        catalogue, events_read = read(tmp_path, items=items, events=events, ending=ending)
        assert catalogue["item_id"].to_list() == ["007", "12", "1e3"]
        assert catalogue["title"].to_list() == ["1984", "Brazil", "Casino"]
        assert sorted(catalogue.columns) == ["categories", "item_id", "title"]
        assert events_read["item_id"].to_list() == ["007", "12", "007"] and events_read["timestamp"].to_list() == [
            30,
            10,
            20,
        ]


def test_two_columns_may_swap_names_and_one_may_serve_twice(tmp_path):
    items = {"item_id": ["007", "12"], "title": ["Long text", "Longer text"], "description": ["Short", "Shorter"]}
    events = {"user_id": ["u"], "item_id": ["12"], "timestamp": [1]}
    items_read, _ = read(tmp_path, ["title=description", "description=title"], items, events)
    assert items_read.select("title", "description").rows() == [("Short", "Long text"), ("Shorter", "Longer text")]
    items_read, _ = read(tmp_path, ["title=description", "brand=description"], items, events)
    assert items_read.select("title", "brand").rows() == [("Short", "Short"), ("Shorter", "Shorter")]


@pytest.mark.parametrize(("values", "expected"), [
    (["2024-01-31", "2024-02-01"], [MIDNIGHT, MIDNIGHT + 86_400]),
    (["2024-01-31 12:00:00", "2024-01-31 12:00:01.5"], [NOON, NOON + 1]),
    (["2024-01-31T12:00:00Z", "2024-01-31T12:00:01Z"], [NOON, NOON + 1]),
    (["2024-01-31T14:00:00+02:00", "2024-01-31T12:00:00-01:00"], [NOON, NOON + 3600]),
    (["1706702400", "5"], [NOON, 5]),
    ([1706702400, -5], [NOON, -5]),
    ([1706702400.0, 5.0], [NOON, 5]),
])  # fmt: skip
@pytest.mark.parametrize("ending", [".parquet", ".jsonl", ".csv", ".tsv.gz"])
def test_times_are_seconds_or_dates(tmp_path, values, expected, ending):
    events = {"buyer": ["u", "u"], "sku": ["12", "007"], "at": values}
    _, events_read = read(tmp_path, events=events, ending=ending)
    assert events_read["timestamp"].dtype == pl.Int64
    assert events_read["timestamp"].to_list() == expected


@pytest.mark.parametrize(("values", "expected"), [
    ([date(2024, 1, 31)], MIDNIGHT),
    ([datetime(2024, 1, 31, 12, 0, 0, 999_999)], NOON),
    ([datetime(2024, 1, 31, 14, tzinfo=timezone(timedelta(hours=2)))], NOON),
])  # fmt: skip
@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_parquets_own_dates_and_times_become_seconds(tmp_path, values, expected, unit):
    at = pl.Series(values)
    at = at if at.dtype == pl.Date else at.dt.cast_time_unit(unit)
    _, events_read = read(tmp_path, events={"buyer": ["u"], "sku": ["12"], "at": at})
    assert events_read["timestamp"].to_list() == [expected]


DAYS = "dates as year-month-day, as most are"
NUMBERS = "seconds since 1970, or a date and time like 2024-01-31 12:00:00"
UNCLEAR = "a date like 2024-01-31, because nothing shows whether days or months come first"


@pytest.mark.parametrize(("values", "row", "expected", "shown"), [
    (["2024-01-31", "yesterday", "2024-02-01"], 1, DAYS, "'yesterday'"),
    (["yesterday", "2024-01-31", "2024-02-01"], 0, DAYS, "'yesterday'"),
    (["2024-01-31", "2024-02-01", "2024-02-30"], 2, DAYS, "'2024-02-30'"),
    (["2024-01-31", None, "2024-02-01"], 1, DAYS, "None"),
    (["1706702400", "5", "soon"], 2, "seconds since 1970, as the other times are", "'soon'"),
    (["02/01/2024", "03/01/2024", "04/01/2024"], 0, UNCLEAR, "'02/01/2024' (and 2 more {}s: {} {} '03/01/2024', "
     "{} {} '04/01/2024')"),  # of January, or the 1st?
    (["soon", "later", "never"], 0, NUMBERS, "'soon' (and 2 more {}s: {} {} 'later', {} {} 'never')"),
])  # fmt: skip
@pytest.mark.parametrize(("ending", "unit", "first"), [(".parquet", "row", 0), (".csv", "line", 2)])
def test_a_bad_date_is_named(tmp_path, values, row, expected, shown, ending, unit, first):
    with pytest.raises(InputError) as refusal:
        read(tmp_path, events=EVENTS | {"at": values}, ending=ending)
    advice = "`--on_bad_row drop` leaves such rows out and lists them in dropped.jsonl"
    if "2 more" in shown:
        advice = f"all rows of {tmp_path}/events{ending} are wrong"
    shown = shown.format(unit, unit, first + 1, unit, first + 2)
    assert str(refusal.value) == (
        f"{tmp_path}/events{ending}: {unit} {first + row}, column 'timestamp': expected {expected}, found {shown}; "
        f"--columns reads 'timestamp' from 'at'; {advice}"
    )


@pytest.mark.parametrize(("changed", "complaint"), [
    ({"at": [1.0, None, 3.0]},
     "row 1, column 'timestamp': expected seconds since 1970, .*, found None; .* 'timestamp' from 'at'"),
    ({"at": [timedelta(1)] * 3}, "column 'timestamp': expected whole numbers, found Duration.* 'timestamp' from 'at'"),
    ({"buyer": ["u", None, "v"]},
     "row 1, column 'user_id': expected an id, found None; --columns reads 'user_id' from 'buyer'"),
    ({"sku": ["12", "7", "12"]},
     "row 1, column 'item_id': .* items file, found '7'; --columns reads 'item_id' from 'sku'"),
])  # fmt: skip
def test_a_bad_value_is_named_with_both_names_of_its_column(tmp_path, changed, complaint):
    with pytest.raises(InputError, match=rf"events\.parquet: {complaint}"):
        read(tmp_path, events=EVENTS | changed)


@pytest.mark.parametrize(("columns", "complaint"), [
    (["item_id"], "columns item_id: expected NAME=COLUMN, e.g. item_id=sku"),
    (["=sku"], "columns =sku: expected NAME=COLUMN"),
    ([*COLUMNS, "brand="], "columns brand=: expected NAME=COLUMN"),
    ([*COLUMNS, "title=kind"],
     r"columns title=name title=kind: expected one of these columns in .*items\.parquet, found 2"),
    ([*COLUMNS, "title=name"], "columns title=name: expected it once, found it twice"),
    (["item_id=sku", "title=nmae"],
     r"column 'title' is missing; it has sku, name, kind; --columns looks for 'nmae'; did you mean 'name'"),
    (["sku=item_id"],
     r"column 'item_id' is missing; it has sku, name, kind; if another column has it: --columns item_id="),
    (["item_id=sku", "title=name", "user_id=who"],
     r"2 kinds of problems; nothing was written(?s:.*)events\.parquet: expected a column 'timestamp' or 'position'"),
    ([*COLUMNS, "description=blurb"],
     r"columns description=blurb: expected a column of .*items\.parquet or .*events\.parquet"),
])  # fmt: skip
def test_columns_that_name_nothing_are_refused(tmp_path, columns, complaint):
    with pytest.raises(InputError, match=complaint):
        read(tmp_path, columns)


def test_a_misspelled_column_is_refused_where_a_file_has_one_of_our_name(tmp_path):
    """Nothing else would say that `timestamp` was read in its place."""
    events = {"user_id": ["u"], "item_id": ["12"], "timestamp": [1], "bought_at": [2]}
    items = {"item_id": ["12"], "title": ["Brazil"]}
    for words, near in ((["timestamp=bougt_at"], "; did you mean 'bought_at'"), (["item_id=nosuch"], "")):
        complaint = f"--columns {words[0]}: expected a column of .*items.csv or .*events.csv, found item_id, title and "
        with pytest.raises(InputError, match=rf"{complaint}user_id, item_id, timestamp, bought_at{near}"):
            read(tmp_path, words, items, events, ".csv")


def test_two_files_may_call_the_same_thing_by_different_names(tmp_path):
    items = {"sku": ["007", "12"], "title": ["1984", "Brazil"]}
    events = {"user_id": ["u"], "artikel": ["12"], "timestamp": [5]}
    catalogue, events_read = read(tmp_path, ["item_id=sku", "item_id=artikel"], items, events)
    assert catalogue["item_id"].to_list() == ["007", "12"] and events_read["item_id"].to_list() == ["12"]
    with pytest.raises(InputError) as refusal:
        read(tmp_path, ["item_id=sku", "item_id=artikel"], items, events | {"artikel": ["13"]})
    assert "; --columns reads 'item_id' from 'artikel'" in str(refusal.value) and "sku" not in str(refusal.value)


def test_a_name_is_only_said_of_the_file_that_has_it(tmp_path):
    events = {"user_id": ["u", "u"], "item_id": ["13", "12"], "timestamp": [5, 6]}
    with pytest.raises(InputError, match="found '13'; `--on_bad_row") as refusal:
        read(tmp_path, ["item_id=sku", "title=name"], events=events)
    assert "reads" not in str(refusal.value)
    advice = "--columns looks for 'sku'; if another column has it, add item_id=COLUMN"
    events = {"user_id": ["u"], "artikel": ["13"], "at": [5]}
    with pytest.raises(InputError, match=f"it has user_id, artikel, at; {advice}"):
        read(tmp_path, ["item_id=sku", "title=name", "timestamp=at"], events=events)


def test_broken_gzips_and_absent_files_are_named(tmp_path):
    events = written(tmp_path, "events.csv.gz", EVENTS)
    items = written(tmp_path, "items.csv.gz", ITEMS)
    whole = (tmp_path / "items.csv.gz").read_bytes()
    for content in (whole[:-9], whole[:12] + bytes(8) + whole[20:], b"sku,name\n"):
        (tmp_path / "items.csv.gz").write_bytes(content)
        with pytest.raises(InputError, match=r"items\.csv\.gz: not a readable csv file"):
            read_files(items, events, COLUMNS)
    with pytest.raises(InputError, match=r"items\.parquet\.gz: expected a file ending in \.parquet"):
        read_files(str(tmp_path / "items.parquet.gz"), events, COLUMNS)
    for given, missing in (({"interactions": events}, "items"), ({"items": items}, "interactions")):
        with pytest.raises(InputError, match=f"--source files: expected --{missing} FILE"):
            prepare.Config(output_dir=str(tmp_path / "out"), **given)


def test_prepare_takes_the_columns_names_from_the_command_line(tmp_path):
    rows = [(f"0{user}", f"00{item}", f"2024-01-0{1 + item}") for user in range(3) for item in range(5)]
    events = written(tmp_path, "e.csv.gz", pl.DataFrame(rows, schema=["buyer", "sku", "day"], orient="row"))
    items = written(tmp_path, "i.tsv", {"sku": [f"00{item}" for item in range(5)], "name": ["A &amp; B"] * 5})
    gr2("prepare", "--items", items, "--interactions", events, "--output_dir", tmp_path / "cli",
        "--min_item_events", "3",
        "--columns", "item_id=sku", "title=name", "user_id=buyer", "timestamp=day")  # fmt: skip
    prepare.run(
        prepare.Config(
            items=items,
            interactions=events,
            output_dir=str(tmp_path / "run"),
            min_item_events=3,
            columns=["item_id=sku", "title=name", "user_id=buyer", "timestamp=day"],
        )
    )
    for name in ("items.parquet", "interactions.parquet"):
        assert (tmp_path / "cli" / name).read_bytes() == (tmp_path / "run" / name).read_bytes()
    assert pl.read_parquet(tmp_path / "run" / "items.parquet")["title"].to_list() == ["A & B"] * 5
    events = pl.read_parquet(tmp_path / "run" / "interactions.parquet")
    assert events.filter(user_id="01")["item_id"].to_list() == ["000", "001", "002", "003", "004"]
    assert events["timestamp"].min() == 1_704_067_200

import json
import random

import polars as pl
import pytest

from gr2.data.sources import source
from gr2.data.sources.amazon import amazon, read_meta
from gr2.errors import InputError
from gr2.files.artifacts import read_json
from gr2.stages import prepare
from tests.data.sources.amazon_files import EVENTS, YEARS, meta_2023, publish, review_2014, review_2023, write_lines
from tests.helpers import gr2


@pytest.mark.parametrize("year", YEARS)
def test_every_published_format_is_read(tmp_path, capsys, year):
    reviews, meta = publish(tmp_path, year)
    made = amazon(reviews, meta)
    events = made.interactions
    assert events.select("user_id", "item_id", "timestamp", "rating").rows() == EVENTS
    if year.startswith("2023"):  # which has milliseconds
        assert events["timestamp_ns"].to_list() == [seconds * 10**9 + 271_000_000 for _, _, seconds, _ in EVENTS]
    else:
        assert "timestamp_ns" not in events.columns
    items = made.items(pl.Series(["B5", "B4", "B3", "B2", "B1"]))
    assert items.columns == ["item_id", "title", "description", "categories", "brand"]
    assert items.rows() == YEARS[year][-1]
    assert capsys.readouterr().out == "1 of 5 items have no metadata; their titles are empty\n"


@pytest.mark.parametrize("year", YEARS)
@pytest.mark.parametrize("size", [1, 200, 1000])
def test_small_blocks_give_what_the_whole_file_gives(tmp_path, monkeypatch, year, size):
    made = amazon(*publish(tmp_path, year))
    whole = (made.interactions, made.items(pl.Series(["B1", "B4"])))
    monkeypatch.setattr(source, "BLOCK", size)
    made = amazon(*publish(tmp_path, year))
    assert made.interactions.equals(whole[0])
    assert made.items(pl.Series(["B1", "B4"])).equals(whole[1])


def test_a_file_without_a_last_newline_is_read_to_its_end(tmp_path):
    (tmp_path / "one.jsonl").write_text(json.dumps(review_2023("A", "B1", 7)))
    (tmp_path / "meta.jsonl").write_text(json.dumps(meta_2023("B1", "The only one")))
    made = amazon(str(tmp_path / "one.jsonl"), str(tmp_path / "meta.jsonl"))
    assert made.interactions.drop("timestamp_ns").rows() == [("A", "B1", 7, 5.0)]
    assert made.items(pl.Series(["B1"]))["title"].to_list() == ["The only one"]


def test_reviews_come_out_of_prepare_with_clean_titles(tmp_path):
    reviews, meta = publish(tmp_path, "2014")
    gr2("prepare", "--source", "amazon", "--interactions", reviews, "--items", meta, "--output_dir", tmp_path / "out",
        "--min_item_events", "4", "--leave_one_out", "true")  # fmt: skip
    summary = read_json(tmp_path / "out" / "summary.json")
    assert (summary["users"], summary["items"], summary["events_read"], summary["events"]) == (4, 5, 20, 20)
    assert summary["splits"] == {"pretrain": 12, "train": 0, "valid": 4, "test": 4}
    items = pl.read_parquet(tmp_path / "out" / "items.parquet")
    assert items["title"].to_list() == ["Girl's Tutu", 'Tutu "Zebra"', "", "Plain", ""]
    events = pl.read_parquet(tmp_path / "out" / "interactions.parquet")
    assert set(events["item_id"]) == set(items["item_id"])


@pytest.mark.parametrize(("year", "first", "second", "time"), [
    ("2014", "reviewerID", "asin", "unixReviewTime"),
    ("2018", "reviewerID", "asin", "unixReviewTime"),
    ("2023", "user_id", "parent_asin", "timestamp"),
])  # fmt: skip
@pytest.mark.parametrize("size", [200, 10**6])
def test_a_bad_review_is_named(tmp_path, monkeypatch, year, first, second, time, size):
    """Row 7, in the first block or a later one, after a blank line that counts as a row."""
    monkeypatch.setattr(source, "BLOCK", size)
    review = YEARS[year][1]
    good = [json.dumps(review(*event)) for event in EVENTS[:9]]
    good[3] = ""
    whole = review(*EVENTS[0])
    bad = {
        good[7][:60]: "row 7: expected a JSON object with",
        "[1, 2]": "row 7: expected a JSON object with",
        json.dumps(whole | {time: "yesterday"}): r"row 7: expected a JSON object .*yesterday",
        json.dumps(
            {name: value for name, value in whole.items() if name != time}
        ): f"row 7, column '{time}': .* no {time}$",
        json.dumps(whole | {second: None}): f"row 7, column '{second}': expected .*{first}, {second}.* no {second}$",
        json.dumps(whole | {first: ""}): f"row 7, column '{first}': .* found no {first}$",
    }
    _, meta = publish(tmp_path, year)
    for line, complaint in bad.items():
        path = write_lines(tmp_path / "bad.json.gz", [*good[:7], line, *good[7:]])
        with pytest.raises(InputError, match=rf"bad\.json\.gz: {complaint}"):
            amazon(path, meta)


def test_a_bad_first_review_is_named(tmp_path):
    _, meta = publish(tmp_path, "2023")
    lines = [json.dumps({"rating": 5.0, "user_id": "A", "timestamp": 1}), json.dumps(review_2023(*EVENTS[0]))]
    with pytest.raises(
        InputError, match=r"bad\.jsonl: row 0, column 'parent_asin': expected a JSON object with user_id"
    ):
        amazon(write_lines(tmp_path / "bad.jsonl", lines), meta)


def test_a_torn_gzip_is_refused(tmp_path):
    rng = random.Random(0)
    events = [(f"A{rng.getrandbits(40)}", f"B{rng.getrandbits(40)}", rng.getrandbits(30)) for _ in range(500)]
    reviews = write_lines(tmp_path / "reviews_Toys_5.json.gz", [json.dumps(review_2014(*event)) for event in events])
    _, meta = publish(tmp_path, "2018")
    whole = (tmp_path / "reviews_Toys_5.json.gz").read_bytes()
    crossed = bytearray(whole)
    crossed[len(whole) // 2 : len(whole) // 2 + 40] = bytes(40)
    for content in (whole[: len(whole) // 2], whole[:-4], b"reviews", bytes(crossed)):
        (tmp_path / "reviews_Toys_5.json.gz").write_bytes(content)
        with pytest.raises(InputError, match=r"reviews_Toys_5\.json\.gz: after row 0: not a readable gzip file"):
            amazon(reviews, meta)
    (tmp_path / "meta_Toys.json.gz").write_bytes((tmp_path / "meta_Toys.json.gz").read_bytes()[:-20])
    with pytest.raises(InputError, match=r"meta_Toys\.json\.gz: after row 0: not a readable gzip file"):
        read_meta(tmp_path / "meta_Toys.json.gz", pl.Series(["B1"]))


def test_missing_and_empty_files_are_named_before_any_reading(tmp_path):
    reviews, meta = publish(tmp_path, "2023")
    for missing, what in (("items", "the metadata file"), ("interactions", "the reviews file")):
        given = {"items": meta, "interactions": reviews} | {missing: None}
        with pytest.raises(InputError, match=rf"--source amazon: expected --{missing} FILE, {what}"):
            prepare.Config(source="amazon", output_dir=str(tmp_path / "out"), **given)
    (tmp_path / "broken.jsonl").write_text("broken")
    with pytest.raises(InputError, match=r"absent\.jsonl: no such file"):  # not: the reviews are broken
        amazon(str(tmp_path / "broken.jsonl"), str(tmp_path / "absent.jsonl"))
    with pytest.raises(InputError, match=r"absent\.jsonl: no such file"):
        amazon(str(tmp_path / "absent.jsonl"), meta)
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(InputError, match=r"empty\.jsonl: expected reviews, found an empty file"):
        prepare.run(
            prepare.Config(
                source="amazon",
                interactions=str(tmp_path / "empty.jsonl"),
                items=meta,
                output_dir=str(tmp_path / "out"),
            )
        )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("year", YEARS)
def test_a_review_of_another_century_is_named(tmp_path, year):
    _, review, *_ = YEARS[year]
    _, meta = publish(tmp_path, year)
    path = write_lines(
        tmp_path / "odd.json", [json.dumps(review("A", "B1", 10**9)), json.dumps(review("A", "B2", 10**12))]
    )
    with pytest.raises(InputError, match=r"odd\.json: row 1, column 'timestamp': expected (milli)?seconds since 1970"):
        amazon(path, meta)

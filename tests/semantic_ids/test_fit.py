import numpy as np
import polars as pl
import pytest

from gr2.errors import InputError
from gr2.semantic_ids.fit import draw_rows, read_pairs


def test_pairs_come_from_pretrain_events_alone(world, tmp_path):
    item_ids, events = pl.read_parquet(world.items)["item_id"], pl.read_parquet(world.interactions)
    every = np.arange(48)
    past = events.filter(pl.col("split") == "pretrain").sort("user_id", "position")
    row = {item_id: row for row, item_id in enumerate(item_ids)}
    expected = [
        [row[left], row[right]]
        for (_user,), user in past.group_by("user_id", maintain_order=True)
        for left, right in zip(user["item_id"][:-1], user["item_id"][1:], strict=True)
    ]
    assert read_pairs(world.interactions, item_ids, every).tolist() == expected
    other = pl.when(pl.col("split") == "pretrain").then("item_id").otherwise(pl.lit("film00"))
    events.with_columns(item_id=other).write_parquet(tmp_path / "changed.parquet")
    assert read_pairs(str(tmp_path / "changed.parquet"), item_ids, every).tolist() == expected
    sample = np.array([3, 7, 11, 15])  # both items of a pair must be in it, and are given by their indices in it
    inside = [[sample.tolist().index(a), sample.tolist().index(b)] for a, b in expected if a in sample and b in sample]
    assert read_pairs(world.interactions, item_ids, sample).tolist() == inside


def test_interactions_without_two_pretrain_events_of_a_user_have_no_pairs(world, tmp_path):
    events = pl.read_parquet(world.interactions).filter(pl.col("split") != "pretrain")
    events.write_parquet(tmp_path / "later.parquet")
    with pytest.raises(InputError, match=r"later\.parquet: expected users with two pretrain events, found none"):
        read_pairs(str(tmp_path / "later.parquet"), pl.read_parquet(world.items)["item_id"], np.arange(48))


def test_a_sample_of_rows_is_drawn_once_each_in_order_under_the_seed():
    drawn = draw_rows(100, 20, seed=0)
    assert len(drawn) == 20 and (np.diff(drawn) > 0).all() and drawn.max() < 100
    assert (draw_rows(100, 20, seed=0) == drawn).all() and (draw_rows(100, 20, seed=1) != drawn).any()
    for sample in (None, 100, 200):
        assert draw_rows(100, sample, seed=0).tolist() == list(range(100))

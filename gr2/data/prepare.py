"""gr2 prepare: a source -> items.parquet, interactions.parquet.

Cleans item text, keeps the k-core, orders each user's events and divides them into pretrain / train / valid / test.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl

from gr2.artifacts import write_json
from gr2.config import arg
from gr2.data.sources import movielens_latest_small, own_files
from gr2.data.splits import in_order, k_core, with_splits
from gr2.data.tables import write_parquet
from gr2.data.text import clean
from gr2.errors import InputError


@dataclass
class Config:
    output_dir: str = arg(help="folder for items.parquet, interactions.parquet and summary.json")
    source: Literal["files", "movielens-latest-small"] = arg("files", "own files, or a packaged data set")
    items: str | None = arg(None, "own items: item_id, title, optional description, categories (.parquet .jsonl .csv)")
    interactions: str | None = arg(None, "own events: user_id, item_id, and timestamp (seconds) or position")
    min_user_events: int = arg(5, "k-core: a user has at least so many events")
    min_item_events: int = arg(5, "k-core: an item has at least so many events")
    train_share: float = arg(0.2, "share of a user's events at which slates for SFT and RL are made")
    valid_share: float = arg(0.05, "share for validation slates, after the training positions")
    test_share: float = arg(0.15, "share for test slates, the latest positions; with all three 0: leave-one-out")
    seed: int = arg(0, "orders events that share a timestamp")


def run(config: Config) -> None:
    shares = (config.train_share, config.valid_share, config.test_share)
    if min(shares) < 0 or sum(shares) >= 1:
        raise InputError(f"train_share + valid_share + test_share: expected a sum below 1, found {sum(shares)}")
    own = (config.items, config.interactions)
    items, interactions = own_files(*own) if config.source == "files" else movielens_latest_small()
    kept = k_core(interactions, config.min_user_events, config.min_item_events)
    if kept.is_empty():
        raise InputError(f"no user and item are left with at least {config.min_user_events} and "
                         f"{config.min_item_events} events; lower min_user_events and min_item_events")  # fmt: skip
    items = items.filter(pl.col("item_id").is_in(kept["item_id"].unique().implode()))
    events = with_splits(in_order(kept, config.seed), *shares)
    output = Path(config.output_dir)
    write_parquet(cleaned(items), output / "items.parquet")
    write_parquet(events, output / "interactions.parquet")
    summary = {
        "events_read": len(interactions),
        "users": events["user_id"].n_unique(),
        "items": len(items),
        "events": len(events),
        "splits": {name: int((events["split"] == name).sum()) for name in ("pretrain", "train", "valid", "test")},
    }
    write_json(output / "summary.json", summary)
    print(f"{summary['users']} users, {summary['items']} items, {summary['events']} events, splits {summary['splits']}")


def cleaned(items: pl.DataFrame) -> pl.DataFrame:
    """Every text column and every category through `data.text.clean`."""
    texts = [name for name, dtype in items.schema.items() if dtype == pl.String and name != "item_id"]
    lists = [name for name in items.columns if name == "categories"]
    columns = {name: [None if text is None else clean(text) for text in items[name]] for name in texts}
    columns |= {name: [[clean(text) for text in entry] for entry in items[name].to_list()] for name in lists}
    schema = {name: items.schema[name] for name in columns}
    return items.with_columns(*(pl.Series(name, values, dtype=schema[name]) for name, values in columns.items()))

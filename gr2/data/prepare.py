"""gr2 prepare: a source -> items.parquet, interactions.parquet.

Cleans item text, keeps the k-core, orders each user's events and divides them into pretrain / train / valid / test.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl

from gr2.artifacts import write_json, write_whole
from gr2.config import arg
from gr2.data.columns import write_parquet
from gr2.data.sources.source import Source
from gr2.data.splits import in_order, k_core, leave_one_out, with_splits
from gr2.data.text import clean
from gr2.errors import InputError


@dataclass
class Config:
    output_dir: str = arg(help="folder for items.parquet, interactions.parquet and summary.json")
    source: Literal["files", "amazon", "movielens", "recbole", "movielens-latest-small", "synthetic"] = arg(
        "files", "own files, a public data set in its publisher's files, one inside a package, or an invented world"
    )
    items: str | None = arg(None, "own items: item_id, title, optional description, categories (.parquet .jsonl .csv .tsv); "
                            "amazon: the metadata file, of 2014, 2018 or 2023", path=True)  # fmt: skip
    interactions: str | None = arg(None, "own events: user_id, item_id, and timestamp (seconds, or dates) or position; "
                                   "amazon: the reviews file", path=True)  # fmt: skip
    columns: list[str] = arg([], "own files: NAME=COLUMN where a column has another name, e.g. item_id=sku title=name")
    folder: str | None = arg(
        None, "movielens: an unpacked release; recbole: a folder with atomic files, .inter and .item", path=True
    )
    users: int = arg(1000, "synthetic: users")
    synthetic_items: int = arg(500, "synthetic: items")
    events: int = arg(30, "synthetic: events a user, of which repeated items are dropped")
    min_user_events: int = arg(5, "k-core: a user has at least so many events")
    min_item_events: int = arg(5, "k-core: an item has at least so many events")
    train_share: float = arg(0.2, "share of a user's events at which slates for SFT and RL are made")
    leave_one_out: bool = arg(
        False, "the last event is test, the one before valid, all others pretrain; no training slates"
    )
    valid_share: float = arg(0.05, "share for validation slates, after the training positions")
    test_share: float = arg(0.15, "share for test slates, the latest positions")
    seed: int = arg(0, "orders events that share a timestamp")


def run(config: Config) -> None:
    shares = (config.train_share, config.valid_share, config.test_share)
    if min(shares) < 0 or sum(shares) >= 1:
        raise InputError(f"train_share + valid_share + test_share: expected a sum below 1, found {sum(shares)}")
    source = read(config)
    kept = k_core(source.interactions, config.min_user_events, config.min_item_events)
    if kept.is_empty():
        raise InputError(f"no user and item are left with at least {config.min_user_events} and "
                         f"{config.min_item_events} events; lower min_user_events and min_item_events")  # fmt: skip
    items = source.items(kept["item_id"].unique())
    ordered = in_order(kept, config.seed)
    events = leave_one_out(ordered) if config.leave_one_out else with_splits(ordered, *shares)
    output = Path(config.output_dir)
    write_parquet(cleaned(items), output / "items.parquet")
    write_parquet(events, output / "interactions.parquet")
    if source.latent:
        from safetensors.numpy import save_file

        with write_whole(output / "latent.safetensors") as aside:
            save_file(source.latent, aside)
    summary = {
        "events_read": len(source.interactions),
        "users": events["user_id"].n_unique(),
        "items": len(items),
        "events": len(events),
        "splits": {name: int((events["split"] == name).sum()) for name in ("pretrain", "train", "valid", "test")},
    }
    write_json(output / "summary.json", summary)
    print(f"{summary['users']} users, {summary['items']} items, {summary['events']} events, splits {summary['splits']}")


def read(config: Config) -> Source:
    """The source; each module knows one kind of files."""
    from gr2.data.sources import amazon, movielens, own, packaged, recbole, synthetic

    match config.source:
        case "amazon":
            return amazon.amazon(config.interactions, config.items)
        case "movielens":
            return movielens.movielens(config.folder)
        case "recbole":
            return recbole.recbole(config.folder)
        case "movielens-latest-small":
            return packaged.movielens_latest_small()
        case "synthetic":
            return synthetic.synthetic(config.users, config.synthetic_items, config.events, config.seed)
        case _:
            return own.own_files(config.items, config.interactions, config.columns)


def cleaned(items: pl.DataFrame) -> pl.DataFrame:
    """Every text column and every category through `data.text.clean`."""
    texts = [name for name, dtype in items.schema.items() if dtype == pl.String and name != "item_id"]
    lists = [name for name in items.columns if name == "categories"]
    columns = {name: [None if text is None else clean(text) for text in items[name]] for name in texts}
    columns |= {name: [[clean(text) for text in entry] for entry in items[name].to_list()] for name in lists}
    schema = {name: items.schema[name] for name in columns}
    return items.with_columns(*(pl.Series(name, values, dtype=schema[name]) for name, values in columns.items()))

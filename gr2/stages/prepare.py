"""gr2 prepare: a source -> items.parquet, interactions.parquet.

Cleans item text, keeps the k-core, orders each user's events and divides them into pretrain / train / valid / test.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl

from gr2.data.sources.files import column_names
from gr2.data.sources.source import Source
from gr2.data.splits import by_time, in_order, k_core, later_share, leave_one_out, with_splits
from gr2.data.text import clean
from gr2.errors import InputError
from gr2.files.artifacts import write_json, write_whole
from gr2.files.columns import write_parquet
from gr2.files.tables import SPLITS
from gr2.files.times import FINE
from gr2.options.declare import arg

# What each source reads, and what to say where it is missing.
NEEDED = {
    "files": {"items": "FILE, your items", "interactions": "FILE, your events"},
    "amazon": {"interactions": "FILE, the reviews file", "items": "FILE, the metadata file"},
    "movielens": {"folder": "FOLDER, an unpacked release of MovieLens"},
    "recbole": {"folder": "FOLDER with one .inter and one .item file"},
}

WRITES = ("items.parquet", "interactions.parquet")


@dataclass
class Config:
    output_dir: str = arg(help="folder for items.parquet, interactions.parquet and summary.json")
    source: Literal["files", "amazon", "movielens", "recbole", "movielens-latest-small", "synthetic"] = arg(
        "files", "own files, a public data set in its publisher's files, one inside a package, or an invented world"
    )
    items: str | None = arg(None, "own items: item_id, title, optional description, categories (.parquet .jsonl .csv .tsv); "
                            "amazon: the metadata file, of 2014, 2018 or 2023", path=True)  # fmt: skip
    interactions: str | None = arg(None, "own events: user_id, item_id, and timestamp (seconds, milliseconds, or dates) or "
                                   "position; amazon: the reviews file", path=True)  # fmt: skip
    columns: list[str] = arg([], "own files: NAME=COLUMN where a column has another name, e.g. item_id=sku title=name")
    folder: str | None = arg(
        None, "movielens: an unpacked release; recbole: a folder with atomic files, .inter and .item", path=True
    )
    users: int = arg(1000, "synthetic: users", least=1, most=10**8)
    synthetic_items: int = arg(500, "synthetic: items", least=20, most=10**8)
    events: int = arg(30, "synthetic: events a user, of which repeated items are dropped", least=1, most=10**5)
    min_user_events: int = arg(5, "k-core: the fewest events of a user", least=0, most=10**9)
    min_item_events: int = arg(
        5, "k-core: the fewest events of an item; 0 keeps the items that have none, too", least=0, most=10**9
    )
    split: Literal["user", "time"] = arg(
        "user",
        "user: the shares are of each user's events; time: of all events, with the same boundaries for all users",
    )
    train_share: float = arg(0.2, "share of events at which slates for SFT and RL are made", least=0, below=1)
    leave_one_out: bool = arg(
        False, "the last event is test, the one before valid, all others pretrain; no training slates"
    )
    valid_share: float = arg(0.05, "share for validation slates, after the training positions", least=0, below=1)
    test_share: float = arg(0.15, "share for test slates, the latest positions", least=0, below=1)
    seed: int = arg(0, "orders events that share a timestamp", least=0, most=2**32 - 1)

    def __post_init__(self) -> None:
        for name, what in NEEDED.get(self.source, {}).items():
            if not vars(self)[name]:
                raise InputError(f"--source {self.source}: expected --{name} {what}")
        if self.source == "files":
            column_names(self.columns)
        if self.source == "synthetic" and self.users * self.events > 10**9:
            raise InputError(
                f"--users {self.users}: expected at most 1,000,000,000 events in all, found {self.events} a user"
            )
        shares = self.train_share + self.valid_share + self.test_share
        if not shares < 1:
            raise InputError(f"--train_share {self.train_share}: expected a sum below 1 with --valid_share and --test_share, "
                             f"found {shares:g}")  # fmt: skip
        if self.leave_one_out and self.split == "time":
            raise InputError("--split time: expected --leave_one_out false, which divides each user's events")


def run(config: Config) -> None:
    source = read(config)
    kept = k_core(source.interactions, config.min_user_events, config.min_item_events)
    if kept.is_empty():
        raise InputError(f"no user and item are left with at least {config.min_user_events} and "
                         f"{config.min_item_events} events; lower --min_user_events and --min_item_events")  # fmt: skip
    items = cleaned(source.items(kept["item_id"].unique(), config.min_item_events == 0))
    events = divided(in_order(kept, config.seed), config).drop(FINE, strict=False)
    output = Path(config.output_dir)
    write_parquet(items, output / "items.parquet")
    write_parquet(events, output / "interactions.parquet")
    if source.latent:
        from safetensors.numpy import save_file

        with write_whole(output / "latent.safetensors") as aside:
            save_file(source.latent, aside)
    summary = {
        "events_read": len(source.interactions),
        "users": events["user_id"].n_unique(),
        "items": len(items),
        "items_without_events": len(items) - events["item_id"].n_unique(),
        "events": len(events),
        "splits": {name: int((events["split"] == name).sum()) for name in SPLITS},
        "pretrain_later_than_first_test": later_share(events),
        "pretrain_later_than_median_test": later_share(events, 0.5),
    }
    write_json(output / "summary.json", summary)
    print(describe(summary))


def divided(ordered: pl.DataFrame, config: Config) -> pl.DataFrame:
    """Events with `split`."""
    if config.leave_one_out:
        return leave_one_out(ordered)
    divide = by_time if config.split == "time" else with_splits
    return divide(ordered, config.train_share, config.valid_share, config.test_share)


def describe(summary: dict) -> str:
    """One or a few lines for the terminal."""
    lines = [
        f"{summary['users']} users, {summary['items']} items, {summary['events']} events, splits {summary['splits']}"
    ]
    if summary["items_without_events"]:
        lines.append(f"{summary['items_without_events']} of the items have no events")
    first, median = (summary[f"pretrain_later_than_{name}_test"] for name in ("first", "median"))
    if first is not None:
        lines.append(f"{first:.1%} of the pretrain events are later than the first test event, {median:.1%} later than half of "
                     "the test events")  # fmt: skip
    return "\n".join(lines)


def read(config: Config) -> Source:
    """The source; each module knows one kind of files."""
    from gr2.data.sources import amazon, movielens, packaged, recbole, synthetic
    from gr2.data.sources import files as own

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

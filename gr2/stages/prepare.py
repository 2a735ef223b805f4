"""gr2 prepare: a source -> items.parquet, interactions.parquet.

Cleans item text, keeps the k-core, orders each user's events and divides them into pretrain / train / valid / test.
`--earlier FOLDER` adds what has come since an earlier `gr2 prepare`: the files then hold the whole catalogue of today,
and the new events alone.
"""

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from gr2.data.earlier_run import GONE, EarlierRun, add_earlier, read_earlier, refuse_shrunk
from gr2.data.items import clean_items
from gr2.data.sources.files import read_files
from gr2.data.sources.source import Source
from gr2.data.splits import k_core, order_events, split_by_time, split_by_user, split_leave_one_out
from gr2.data.summary import DROPPED, describe, summarize
from gr2.errors import InputError
from gr2.files.artifacts import write_json, write_text, write_whole
from gr2.files.columns import write_parquet
from gr2.files.names import column_names
from gr2.files.times import FINE
from gr2.options.declare import arg
from gr2.stages.prepare_options import NEEDED, OwnFileOptions, SplitOptions, Synthetic

WRITES = ("items.parquet", "interactions.parquet")


@dataclass(kw_only=True)
class Config(OwnFileOptions, SplitOptions, Synthetic):
    output_dir: str = arg(help="folder for items.parquet, interactions.parquet and summary.json")
    source: Literal["files", "amazon", "movielens", "recbole", "movielens-latest-small", "synthetic"] = arg(
        "files",
        "your own files (.parquet .jsonl .csv .tsv), a publisher's, data inside a package, or a synthetic world",
    )
    items: str | None = arg(
        None, "files: the items: item_id, title, optional description, categories; amazon: the metadata file", path=True
    )
    interactions: str | None = arg(
        None,
        "files: the events: user_id, item_id, timestamp (a number or date) or position; amazon: the reviews",
        path=True,
    )
    folder: str | None = arg(None, "movielens: an unpacked release; recbole: .inter and .item files", path=True)
    min_user_events: int = arg(5, "k-core: drop users with fewer events", least=0, most=10**9)
    min_item_events: int = arg(
        5, "k-core: drop items with fewer events; 0 also keeps items without events", least=0, most=10**9
    )
    seed: int = arg(0, "orders events that share a timestamp", least=0, most=2**32 - 1)

    def __post_init__(self) -> None:
        for name, what in NEEDED.get(self.source, {}).items():
            if not vars(self)[name]:
                raise InputError(f"--source {self.source}: expected --{name} {what}")
        if self.source == "files":
            column_names(self.columns)
        if self.source == "synthetic" and self.users * self.events > 10**9:
            expected = "expected at most 1,000,000,000 events in all"
            raise InputError(f"--users {self.users}: {expected}, found {self.events} a user")
        shares = self.train_share + self.valid_share + self.test_share
        if not shares < 1:
            expected = "expected a sum below 1 with --valid_share and --test_share"
            raise InputError(f"--train_share {self.train_share}: {expected}, found {shares:g}")
        dropping = "drop" if self.on_bad_row == "drop" else None
        of_own_files = {"earlier": self.earlier, "event_types": " ".join(self.event_types), "on_bad_row": dropping}
        for name, value in of_own_files.items():
            if value and self.source != "files":
                raise InputError(f"--{name} {value}: expected --source files")
        if self.test_from is not None and (self.split != "time" or parse_date(self.test_from) is None):
            raise InputError(f"--test_from {self.test_from}: expected a date, as 2026-01-31, and --split time")
        if self.leave_one_out and self.split == "time":
            raise InputError("--split time: expected --leave_one_out false, which divides each user's events")


def run(config: Config) -> None:
    """Reads the source. Writes items.parquet, interactions.parquet and summary.json, of a synthetic world
    latent.safetensors, with `earlier` the events of items that have left, gone_interactions.parquet, and of own files
    the rows that were left out, dropped.jsonl. Prints counts, and how many pretrain events are later than the test
    events.
    """
    # read
    source = read_update(config) if config.earlier else open_source(config)

    # events and items
    kept = k_core(source.interactions, config.min_user_events, config.min_item_events)
    if kept.is_empty():
        raise InputError(
            f"no user and item are left with at least {config.min_user_events} and {config.min_item_events} events; "
            "lower --min_user_events and --min_item_events"
        )
    items = clean_items(source.items(kept["item_id"].unique(), config.min_item_events == 0))
    ordered = order_events(kept, config.seed)
    if config.leave_one_out:
        events = split_leave_one_out(ordered)
    elif config.split == "time":
        shares = config.train_share, config.valid_share, config.test_share
        events = split_by_time(ordered, *shares, parse_date(config.test_from) if config.test_from else None)
    else:
        events = split_by_user(ordered, config.train_share, config.valid_share, config.test_share)
    events = events.drop(FINE, strict=False)

    # write
    output = Path(config.output_dir)
    if source.gone is not None:
        write_parquet(source.gone, output / GONE)
        print(f"set aside: {len(source.gone)} events of items that have left the catalogue")
    write_parquet(items, output / "items.parquet")
    write_parquet(events, output / "interactions.parquet")
    if source.latent:
        from safetensors.numpy import save_file

        with write_whole(output / "latent.safetensors") as aside:
            save_file(source.latent, aside)
    if source.left_out.rows:
        lines = [json.dumps(row, ensure_ascii=False, default=str) for row in source.left_out.rows]
        write_text(output / DROPPED, "\n".join(lines) + "\n")
    summary = summarize(source, items, events)
    write_json(output / "summary.json", summary)
    print(describe(summary))


def read_update(config: Config) -> Source:
    """The catalogue of today with the earlier events and today's."""
    earlier = read_earlier(config.earlier)
    source = read_own(config, earlier)
    catalogue = source.items(earlier.catalogue, every=True)["item_id"]
    refuse_shrunk(catalogue, config.items, earlier, config.most_gone)
    events = add_earlier(source.interactions, config.interactions, earlier, config.seed)
    here = events["item_id"].is_in(catalogue.implode())
    return replace(source, interactions=events.filter(here), gone=None if here.all() else events.filter(~here))


def read_own(config: Config, earlier: EarlierRun | None = None) -> Source:
    drop = config.on_bad_row == "drop"
    return read_files(config.items, config.interactions, config.columns, earlier, config.event_types, drop)


def parse_date(text: str) -> int | None:
    """Seconds since 1970 of a date, or a date and time, in UTC where it names no zone; None for another text."""
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        return None
    return int((date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp())


def open_source(config: Config) -> Source:
    """Reads the source's events; each module knows one kind of files."""
    from gr2.data.sources import amazon, movielens, packaged, recbole, synthetic

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
        case "files":
            return read_own(config)

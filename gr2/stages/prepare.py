"""gr2 prepare: a source -> items.parquet, interactions.parquet.

Cleans item text, keeps the k-core, orders each user's events and divides them into pretrain / train / valid / test.
`--earlier FOLDER` adds what has come since an earlier `gr2 prepare`: the files then hold the whole catalogue of today,
and the new events alone.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from gr2.data.earlier import GONE, add_earlier, read_earlier, refuse_shrunk
from gr2.data.items import clean_items
from gr2.data.sources import files
from gr2.data.sources.source import Source
from gr2.data.splits import k_core, order_events, split_by_time, split_by_user, split_leave_one_out
from gr2.data.summary import describe, summarize
from gr2.errors import InputError
from gr2.files.artifacts import write_json, write_whole
from gr2.files.columns import write_parquet
from gr2.files.times import FINE
from gr2.options.declare import arg

WRITES = ("items.parquet", "interactions.parquet")
# What each source reads, and what to say where it is missing.
NEEDED = {
    "files": {"items": "FILE, your items", "interactions": "FILE, your events"},
    "amazon": {"interactions": "FILE, the reviews file", "items": "FILE, the metadata file"},
    "movielens": {"folder": "FOLDER, an unpacked release of MovieLens"},
    "recbole": {"folder": "FOLDER with one .inter and one .item file"},
}


@dataclass(kw_only=True)
class Synthetic:
    """Of the synthetic source."""

    users: int = arg(1000, "synthetic: users", least=1, most=10**8)
    synthetic_items: int = arg(500, "synthetic: items", least=20, most=10**8)
    events: int = arg(30, "synthetic: events a user, of which repeated items are dropped", least=1, most=10**5)


@dataclass(kw_only=True)
class Divided:
    """How events are divided into pretrain, train, valid and test."""

    split: Literal["user", "time"] = arg(
        "user", "user: the shares are of each user's events; time: of all events, with the same times for all users"
    )
    train_share: float = arg(
        0.2, "share of events that become train positions: slates for SFT, RL and rerankers", least=0, below=1
    )
    valid_share: float = arg(0.05, "share for validation slates, after the training positions", least=0, below=1)
    test_share: float = arg(0.15, "share for test slates, the latest positions", least=0, below=1)
    test_from: str | None = arg(
        None, "split time: events from this date on are test; the other shares are then of the events before it"
    )
    leave_one_out: bool = arg(False, "the last event is test, the one before valid, the rest pretrain; no train slates")


@dataclass(kw_only=True)
class Config(Divided, Synthetic):
    output_dir: str = arg(help="folder for items.parquet, interactions.parquet and summary.json")
    source: Literal["files", "amazon", "movielens", "recbole", "movielens-latest-small", "synthetic"] = arg(
        "files", "own files (.parquet .jsonl .csv .tsv), a publisher's, data inside a package, or a synthetic world"
    )
    items: str | None = arg(
        None, "own items: item_id, title, optional description, categories; amazon: the metadata file", path=True
    )
    interactions: str | None = arg(
        None, "own events: user_id, item_id, timestamp (a number or date) or position; amazon: the reviews", path=True
    )
    columns: list[str] = arg([], "own files: NAME=COLUMN where a column has another name, e.g. item_id=sku title=name")
    folder: str | None = arg(None, "movielens: an unpacked release; recbole: .inter and .item files", path=True)
    earlier: str | None = arg(None, "files: an earlier output folder, to which the events are added", path=True)
    most_gone: float = arg(
        0.2, "earlier: refuse a catalogue that lacks a larger share of the earlier items", least=0, most=1
    )
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
            files.column_names(self.columns)
        if self.source == "synthetic" and self.users * self.events > 10**9:
            expected = "expected at most 1,000,000,000 events in all"
            raise InputError(f"--users {self.users}: {expected}, found {self.events} a user")
        shares = self.train_share + self.valid_share + self.test_share
        if not shares < 1:
            expected = "expected a sum below 1 with --valid_share and --test_share"
            raise InputError(f"--train_share {self.train_share}: {expected}, found {shares:g}")
        if self.earlier and self.source != "files":
            raise InputError(f"--earlier {self.earlier}: expected --source files")
        if self.test_from is not None and (self.split != "time" or parse_date(self.test_from) is None):
            raise InputError(f"--test_from {self.test_from}: expected a date, as 2026-01-31, and --split time")
        if self.leave_one_out and self.split == "time":
            raise InputError("--split time: expected --leave_one_out false, which divides each user's events")


def run(config: Config) -> None:
    """Reads the source. Writes items.parquet, interactions.parquet and summary.json, of a synthetic world
    latent.safetensors, and with `earlier` the events of items that have left, gone_interactions.parquet. Prints counts,
    and how many pretrain events are later than the test events.
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
    summary = summarize(len(source.interactions), items, events)
    write_json(output / "summary.json", summary)
    print(describe(summary))


def read_update(config: Config) -> Source:
    """The catalogue of today with the earlier events and today's."""
    earlier = read_earlier(config.earlier)
    source = files.read_files(config.items, config.interactions, config.columns, earlier)
    catalogue = source.items(earlier.catalogue, every=True)["item_id"]
    refuse_shrunk(catalogue, config.items, earlier, config.most_gone)
    events = add_earlier(source.interactions, config.interactions, earlier, config.seed)
    here = events["item_id"].is_in(catalogue.implode())
    return replace(source, interactions=events.filter(here), gone=None if here.all() else events.filter(~here))


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
            return files.read_files(config.items, config.interactions, config.columns)

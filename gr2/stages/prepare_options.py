"""Groups of options of `gr2 prepare`."""

from dataclasses import dataclass
from typing import Literal

from gr2.options.declare import arg

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
    events: int = arg(30, "synthetic: events per user; repeated items are dropped", least=1, most=10**5)


@dataclass(kw_only=True)
class SplitOptions:
    """How events are divided into pretrain, train, valid and test."""

    split: Literal["user", "time"] = arg(
        "user",
        "user: the shares are of each user's events, and even a share of 0 is at least one event; time: of all events, "
        "with the same times for all users",
    )
    train_share: float = arg(
        0.2, "share of events that become train positions: slates for SFT, RL and rerankers", least=0, below=1
    )
    valid_share: float = arg(
        0.05, "share for validation slates, after the training positions; 0 is no event only with split time",
        least=0, below=1,
    )  # fmt: skip
    test_share: float = arg(
        0.15, "share for test slates, the latest positions; 0 is no event only with split time", least=0, below=1
    )
    test_from: str | None = arg(
        None, "split time: events from this date on are test; the other shares are then of the events before it"
    )
    leave_one_out: bool = arg(False, "the last event is test, the one before valid, the rest pretrain; no train slates")


@dataclass(kw_only=True)
class OwnFileOptions:
    """How the user's own files are read."""

    columns: list[str] = arg([], "files: NAME=COLUMN where a column has another name, e.g. item_id=sku title=name")
    event_types: list[str] = arg([], "files: only events whose column `event` has one of these values, e.g. buy")
    on_bad_row: Literal["refuse", "drop"] = arg(
        "refuse", "files: refuse lists all wrong rows and writes nothing; drop leaves them out: see dropped.jsonl"
    )
    earlier: str | None = arg(None, "files: an earlier output folder, to which the events are added", path=True)
    most_gone: float = arg(
        0.2, "earlier: refuse a catalogue that lacks a larger share of the earlier items", least=0, most=1
    )

"""Events that an earlier `gr2 prepare` has, before those that have come since."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from gr2.data.splits import order_events
from gr2.errors import InputError
from gr2.files.interactions import read_interactions
from gr2.files.items import read_items

GONE = "gone_interactions.parquet"  # events of items that have left the catalogue; they may come back

COLUMNS = ("user_id", "item_id", "timestamp", "rating", "position")


@dataclass(frozen=True)
class EarlierRun:
    """A folder of an earlier `gr2 prepare`: its item ids, and all events, of items that left before it, too."""

    folder: str
    catalogue: pl.Series
    events: pl.DataFrame

    @property
    def item_ids(self) -> pl.Series:
        """Those of the catalogue, and those that left."""
        return pl.concat([self.catalogue, self.events["item_id"]]).unique(maintain_order=True)


def read_earlier(folder: str) -> EarlierRun:
    files = [Path(folder) / name for name in ("interactions.parquet", GONE)]
    frames = [read_interactions(file) for file in files if file.exists() or file == files[0]]
    if any("timestamp" not in frame.columns for frame in frames):
        raise InputError(f"{files[0]}: expected a column 'timestamp': later events come after these in time")
    events = pl.concat([frame.drop("split", strict=False) for frame in frames], how="diagonal")
    return EarlierRun(folder, read_items(Path(folder) / "items.parquet")["item_id"], events)


def refuse_shrunk(items: pl.Series, path: str, earlier: EarlierRun, most_gone: float) -> None:
    """InputError where a catalogue lacks so many of the earlier items that its file may have been cut short."""
    gone = int((~earlier.catalogue.is_in(items.implode())).sum())
    if gone > most_gone * len(earlier.catalogue):
        found = f"{gone} of the {len(earlier.catalogue)} items of {earlier.folder} are gone"
        raise InputError(f"{path}: {found}: more than --most_gone {most_gone:g}; is the file whole?")


def add_earlier(events: pl.DataFrame, path: str, earlier: EarlierRun, seed: int) -> pl.DataFrame:
    """All events with `position`, by time; at the same second earlier ones come first. Of events that are in both, as
    where a log is delivered twice, the earlier stays.
    """
    if "timestamp" not in events.columns:
        raise InputError(f"{path}: expected a column 'timestamp', as the earlier events have one")
    ordered = order_events(events, seed).join(earlier.events, on=["user_id", "item_id", "timestamp"], how="anti")
    parts = [
        frame.select(*(name for name in COLUMNS if name in frame.columns), since=pl.lit(rank))
        for rank, frame in enumerate((earlier.events, ordered))
    ]
    merged = pl.concat(parts, how="diagonal").sort("user_id", "timestamp", "since", "position")
    return merged.drop("since").with_columns(position=pl.int_range(pl.len()).over("user_id"))

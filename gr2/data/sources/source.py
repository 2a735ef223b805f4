"""What a source of data gives, and what several of them need."""

import gzip
import os
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from gr2.errors import InputError
from gr2.terminal import Progress

BLOCK = 64 * 2**20  # bytes of a file held at a time


@dataclass(frozen=True)
class LeftOutRows:
    """What the user's own files have and the source has not. items_read, events_read: rows of the files, None for
    other sources. wrong_items, wrong_events: rows with a problem; reasons: how many of each kind, by file. other_types:
    events of other types than those asked for. rows: a mapping for each wrong row and each repeated event
    (`problems.list_rows`).
    """

    items_read: int | None = None
    events_read: int | None = None
    wrong_items: int = 0
    wrong_events: int = 0
    reasons: dict[str, dict[str, int]] = field(default_factory=dict)
    other_types: int = 0
    repeated_events: int = 0
    rows: list[dict] = field(default_factory=list)


@dataclass(frozen=True)
class Source:
    """interactions: `user_id`, `item_id`, `timestamp` or `position`, and more.

    items: a function of the wanted item ids and of `every`. It reads the wanted rows of the catalogue, or all with
    `every`, and is called once these are known, so that a catalogue far larger than memory can be streamed.
    latent: arrays that a synthetic world was made from, empty for real data.
    gone: events of items that have left the catalogue, kept for another day.
    """

    interactions: pl.DataFrame
    items: Callable[..., pl.DataFrame]
    latent: dict[str, np.ndarray] = field(default_factory=dict)
    gone: pl.DataFrame | None = None
    left_out: LeftOutRows = field(default_factory=LeftOutRows)


def select_from(catalogue: pl.DataFrame) -> Callable[..., pl.DataFrame]:
    """`items` of a source whose catalogue is in memory."""

    def select(wanted: pl.Series, every: bool = False) -> pl.DataFrame:
        return catalogue if every else catalogue.filter(pl.col("item_id").is_in(wanted.implode()))

    return select


def read_blocks(path: Path) -> Iterator[tuple[int, list[bytes]]]:
    """Lines of a file or a `.gz`, about BLOCK bytes at a time, each block with the row number of its first line."""
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    first = 0
    try:
        with (
            open(path, "rb") as raw,
            gzip.open(raw) if path.suffix == ".gz" else raw as file,
        ):
            progress = Progress(f"reading {path.name}", path.stat().st_size >> 20, "MiB")
            while lines := file.readlines(BLOCK):
                progress.advance((raw.tell() >> 20) - progress.done)
                yield first, lines
                first += len(lines)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{path}: after row {first}: not a readable gzip file ({error})") from None


def refuse_odd_csv(frame: pl.DataFrame, path: Path, separator: bytes) -> None:
    """Refuses what polars lets pass: a column that is there twice, and a last line without its last fields."""
    twice = next((name for name in frame.columns if re.search(r"_duplicated_\d+$", name)), None)
    if twice:
        raise InputError(f"{path}: column '{twice.rpartition('_duplicated_')[0]}': expected it once, found it twice")
    if frame.is_empty() or frame.width == 1:
        return
    with open(path, "rb") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read()
    if frame[-1, -1] is None and last not in (b"\n", b"\r", separator):
        row, width = len(frame) - 1, frame.width
        raise InputError(f"{path}: row {row}: expected {width} fields, but the file ends before the last one")

"""What a source of data gives, and what several of them need."""

import gzip
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

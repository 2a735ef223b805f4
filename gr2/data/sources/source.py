"""What a source of data gives."""

import gzip
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
from tqdm import tqdm

from gr2.errors import InputError

BLOCK = 64 * 2**20  # bytes of a file held at a time


@dataclass(frozen=True)
class Source:
    """interactions: `user_id`, `item_id`, `timestamp` or `position`, and more. items: the catalogue's rows for item ids and, if
    the second argument is true, all its others; read only when it is known which are wanted, so that a catalogue far larger
    than memory can be read in passing. latent: arrays that an invented world was made from, empty for real data.
    """

    interactions: pl.DataFrame
    items: Callable[..., pl.DataFrame]
    latent: dict[str, np.ndarray] = field(default_factory=dict)


def chosen(frame: pl.DataFrame) -> Callable[..., pl.DataFrame]:
    """`items` of a source whose catalogue is in memory."""
    return lambda wanted, every=False: frame if every else frame.filter(pl.col("item_id").is_in(wanted.implode()))


def blocks(path: Path) -> Iterator[tuple[int, list[bytes]]]:
    """A file's lines, about BLOCK bytes at a time, each block with its first line's number; `.gz` is unpacked on the way."""
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    first = 0
    try:
        with (
            open(path, "rb") as raw,
            gzip.open(raw) if path.suffix == ".gz" else raw as file,
            tqdm(desc=path.name, total=path.stat().st_size, unit="B", unit_scale=True, disable=None) as bar,
        ):
            while lines := file.readlines(BLOCK):
                bar.update(raw.tell() - bar.n)
                yield first, lines
                first += len(lines)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{path}: after row {first}: not a readable gzip file ({error})") from None

"""What the stages on Ray share: a checked folder of parquet shards, and a folder of results that appears whole.

On a cluster (RAY_ADDRESS) every node needs gr2 and sees the folders under the same paths.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from gr2.errors import InputError
from gr2.files.columns import cast_ids, require_columns

if TYPE_CHECKING:
    import pyarrow as pa
    import ray.data


@dataclass(frozen=True)
class Shards:
    """Parquet files of one schema, and the number of their rows."""

    files: list[str]
    schema: pl.Schema
    rows: int

    def read(self, columns: list[str]) -> "ray.data.Dataset":
        """These columns, and `path`, the file of each row."""
        import ray.data

        return ray.data.read_parquet(self.files, columns=columns, include_paths=True)


def check(folder: str, columns: tuple[str, ...]) -> Shards:
    """Reads the schemas and, into memory, the item ids. InputError without shards, for a shard that lacks one of the
    `columns` or differs from the first, and for a missing or repeated id.
    """
    files = sorted(str(file) for file in Path(folder).resolve().glob("*.parquet"))
    if not files:
        raise InputError(f"{folder}: expected a folder with files *.parquet, found none")
    schemas = [read_schema(file) for file in files]
    for file, schema in zip(files, schemas, strict=True):
        require_columns(pl.DataFrame(schema=schema), file, columns)
        if schema != schemas[0]:
            raise InputError(f"{file}: expected columns and types as in {files[0]}; it has {dict(schema)}")
    parts = [cast_ids(pl.read_parquet(file, columns=["item_id"]), file, "item_id") for file in files]
    item_ids = pl.concat(parts)
    if item_ids.is_empty():
        raise InputError(f"{folder}: expected items, found none in {len(files)} files")
    twice = item_ids.is_duplicated().arg_true()
    if len(twice):
        index = np.searchsorted(np.cumsum([len(part) for part in parts]), twice[0], side="right")
        found = f"found '{item_ids[twice[0]]}' more than once"
        raise InputError(f"{files[index]}: column 'item_id': expected unique item ids in {folder}, {found}")
    return Shards(files, schemas[0], len(item_ids))


def read_schema(file: str) -> pl.Schema:
    try:
        return pl.Schema(pl.read_parquet_schema(file))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"{file}: not a readable parquet file ({str(error).splitlines()[0]})") from None


def refuse(bad: pl.Series, rows: pl.DataFrame, column: str, expectation: str) -> None:
    """InputError naming the first of `rows`, as `Shards.read` gives them, where `bad` is true."""
    for path, item_id in rows.filter(bad).select("path", "item_id").head(1).iter_rows():
        raise InputError(f"{path}: item '{item_id}', column '{column}': expected {expectation}")


@contextmanager
def write_whole(folder: Path) -> Iterator[str]:
    """Yields an empty folder beside `folder` for Ray to write to, renamed on success. Raises a worker's InputError."""
    from ray.exceptions import RayTaskError

    aside = folder.with_name(f".{folder.name}.partial").resolve()
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        yield str(aside)
        shutil.rmtree(folder, ignore_errors=True)
        aside.rename(folder)
    except RayTaskError as error:
        if isinstance(error.cause, InputError):
            raise InputError(str(error.cause).splitlines()[0]) from None  # Ray adds lines about retries
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def to_lists(matrix: np.ndarray) -> "pa.Array":
    """A column of lists from a matrix [n, width]."""
    import pyarrow as pa

    lists = pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), matrix.shape[1])
    return lists.cast(pa.list_(lists.type.value_type))


def to_matrix(column: pl.Series, width: int) -> np.ndarray:
    """A matrix [n, width] from a column of lists of this length."""
    return column.explode(empty_as_null=False).to_numpy(writable=True).reshape(-1, width)

"""gr2 assign-shards: embedding shards + a trained quantizer -> semantic_ids/*.parquet, by Ray.

For catalogues beyond one machine. `gr2 sids` trains the quantizer on a sample. Items with the same leading codes get
their IDs together, under those codes: the same as on one machine, whatever the shards.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from gr2 import ray_cluster
from gr2.errors import InputError
from gr2.files.artifacts import write_json
from gr2.files.embeddings import SOUND, is_sound
from gr2.files.semantic_ids import QUANTIZER
from gr2.files.sid_tokens import MOST_LEVELS, sid_string
from gr2.options.declare import arg
from gr2.semantic_ids import shards

if TYPE_CHECKING:
    import pyarrow as pa

    from gr2.semantic_ids.quantizer import Quantizer

ROWS = 8192  # vectors encoded at a time
PARTITION = 50_000  # about the items that a worker holds in memory; a group of leading codes is never divided
WRITES = ("semantic_ids",)


@dataclass(kw_only=True)
class Config:
    embeddings: str = arg(help="folder of shards with item_id and embedding, by `gr2 embed-shards`", path="embeddings")
    sids: str = arg(help="the folder that `gr2 sids` wrote for a sample; its quantizer is used", path=True)
    output_dir: str = arg(help="folder for semantic_ids/*.parquet and summary.json")
    partition_levels: int = arg(
        1, "leading codes whose items get IDs together; 2 for very large catalogues", least=1, most=MOST_LEVELS
    )


def run(config: Config) -> None:
    """Reads parquet shards of vectors and the quantizer of a `gr2 sids` folder. Writes semantic_ids/*.parquet and
    summary.json. Prints how many items and unique IDs there are.
    """
    from gr2.semantic_ids.quantizer import load

    # read
    quantizer = load(Path(config.sids) / QUANTIZER)
    levels, codes, _ = quantizer.codebooks.shape
    if config.partition_levels >= levels:
        expected = f"expected fewer than the {levels} codes that an ID has"
        raise InputError(f"--partition_levels {config.partition_levels}: {expected}")
    inputs = shards.check(config.embeddings, ("item_id", "embedding"))
    kind = inputs.schema["embedding"]
    if not isinstance(kind, pl.List | pl.Array) or not kind.inner.is_numeric():
        raise InputError(f"{config.embeddings}: column 'embedding': expected lists of numbers, found {kind}")

    # write
    shared = {"quantizer": quantizer, "leading": config.partition_levels}
    partitions = min(codes**config.partition_levels, 1 + inputs.rows // PARTITION)
    output = Path(config.output_dir)
    ray_cluster.start()
    with shards.write_whole(output / "semantic_ids") as aside:
        encoded = inputs.read(["item_id", "embedding"]).map_batches(
            encode, fn_kwargs=shared, batch_format="pyarrow", batch_size=ROWS
        )
        groups = encoded.groupby("group", num_partitions=partitions)
        groups.map_groups(give_ids, fn_kwargs=shared, batch_format="pyarrow").write_parquet(aside)
        written = pl.scan_parquet(f"{aside}/*.parquet").select(items=pl.len(), unique=pl.col("sid").n_unique())
        summary = written.collect(engine="streaming").row(0, named=True)
    write_json(output / "summary.json", summary)
    print(f"{summary['items']} items, {summary['unique']} unique IDs")


def encode(batch: "pa.Table", quantizer: "Quantizer", leading: int) -> "pa.Table":
    """Item ids, vectors, codes, and `group`, the index of the leading codes; InputError names a broken vector."""
    import pyarrow as pa

    rows = pl.from_arrow(batch)
    vectors = read_vectors(rows, quantizer.width)
    codes = quantizer.encode(vectors)
    group = np.ravel_multi_index(codes[:, :leading].T, (quantizer.codebooks.shape[1],) * leading)
    item_ids = pa.array(rows["item_id"].cast(pl.String).to_list(), pa.string())
    columns = {"vector": shards.to_lists(vectors), "codes": shards.to_lists(codes), "group": pa.array(group)}
    return pa.table({"item_id": item_ids, **columns})


def read_vectors(rows: pl.DataFrame, width: int) -> np.ndarray:
    """float32 [n, width] of the column `embedding`; InputError where one has another width or is not sound."""
    column = rows["embedding"].cast(pl.List(pl.Float32))
    wrong = column.list.len().ne_missing(width)
    shards.refuse(wrong, rows, "embedding", f"{width} numbers, as the quantizer was trained on")
    vectors = shards.to_matrix(column, width)
    shards.refuse(pl.Series(~is_sound(vectors)), rows, "embedding", SOUND)
    return vectors


def give_ids(batch: "pa.Table", quantizer: "Quantizer", leading: int) -> "pa.Table":
    """IDs for all items of one group, by `minimize_distortion` in the order of their item ids."""
    import pyarrow as pa

    from gr2.semantic_ids.assign import index_groups, minimize_distortion

    rows = pl.from_arrow(batch).sort("item_id")
    levels = len(quantizer.codebooks)
    vectors, codes = shards.to_matrix(rows["vector"], quantizer.width), shards.to_matrix(rows["codes"], levels)
    final = minimize_distortion(quantizer, vectors, codes, np.zeros((0, levels), np.int64))
    left_group = (final[:, :leading] != codes[:, :leading]).any(axis=1).sum()  # their ID may be another group's too
    duplicates = len(final) - (index_groups(final).max() + 1)
    missing = left_group + duplicates
    if missing:
        found = f"{missing} of the {len(rows)} items with the leading codes {codes[0, :leading].tolist()}"
        raise InputError(f"{found} find no free ID under them; use more codes or levels")
    sids = [sid_string(row) for row in final.tolist()]
    item_ids = pa.array(rows["item_id"].to_list(), pa.string())
    return pa.table({"item_id": item_ids, "codes": shards.to_lists(final), "sid": pa.array(sids, pa.string())})

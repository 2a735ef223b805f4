"""gr2 assign-shards: embedding shards + a trained quantizer -> semantic_ids/*.parquet, by Ray.

For catalogues beyond one machine. `gr2 sids` trains the quantizer on a sample. Items with the same leading codes are
given their IDs together, under those codes: what one machine would give them, whatever the shards.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from gr2.errors import InputError
from gr2.files.artifacts import write_json
from gr2.files.embeddings import SOUND, sound
from gr2.files.sid_tokens import sid_string
from gr2.options.declare import arg
from gr2.semantic_ids import shards
from gr2.stages.sids_options import LEVELS

if TYPE_CHECKING:
    import pyarrow as pa

    from gr2.semantic_ids.quantizer import Quantizer

ROWS = 8192  # vectors encoded at a time
PARTITION = 50_000  # items that a worker holds in memory, about; a group of leading codes is never divided

WRITES = ("semantic_ids",)


@dataclass
class Config:
    embeddings: str = arg(
        help="folder of parquet shards with item_id and embedding, as `gr2 embed-shards` wrote", path="embeddings"
    )
    sids: str = arg(help="the folder that `gr2 sids` wrote for a sample; its quantizer is used", path=True)
    output_dir: str = arg(help="folder for semantic_ids/*.parquet and summary.json")
    partition_levels: int = arg(
        1, "leading codes whose items are given IDs together; 2 for very large catalogues", least=1, most=LEVELS
    )


def run(config: Config) -> None:
    from gr2.semantic_ids.quantizer import load

    quantizer = load(Path(config.sids) / "quantizer.safetensors")
    levels, codes, _ = quantizer.codebooks.shape
    if config.partition_levels >= levels:
        raise InputError(
            f"--partition_levels {config.partition_levels}: expected fewer than the {levels} codes that an ID has"
        )
    found = shards.check(config.embeddings, ("item_id", "embedding"))
    kind = found.schema["embedding"]
    if not isinstance(kind, pl.List | pl.Array) or not kind.inner.is_numeric():
        raise InputError(f"{config.embeddings}: column 'embedding': expected lists of numbers, found {kind}")
    shared = {"quantizer": quantizer, "leading": config.partition_levels}
    partitions = min(codes**config.partition_levels, 1 + found.rows // PARTITION)
    output = Path(config.output_dir)
    shards.start()
    with shards.write_whole(output / "semantic_ids") as aside:
        encoded = found.read(["item_id", "embedding"]).map_batches(
            encode, fn_kwargs=shared, batch_format="pyarrow", batch_size=ROWS
        )
        groups = encoded.groupby("group", num_partitions=partitions)
        groups.map_groups(give_ids, fn_kwargs=shared, batch_format="pyarrow").write_parquet(aside)
        written = pl.scan_parquet(f"{aside}/*.parquet").select(items=pl.len(), unique=pl.col("sid").n_unique())
        summary = written.collect(engine="streaming").row(0, named=True)
    write_json(output / "summary.json", summary)
    print(f"{summary['items']} items, {summary['unique']} unique IDs")


def encode(batch: "pa.Table", quantizer: "Quantizer", leading: int) -> "pa.Table":
    """Item ids, vectors, codes, and `group`, the number of the leading codes; InputError names a broken vector."""
    import pyarrow as pa

    rows = pl.from_arrow(batch)
    vectors = sound_vectors(rows, quantizer.width)
    codes = quantizer.encode(vectors)
    group = np.ravel_multi_index(codes[:, :leading].T, (quantizer.codebooks.shape[1],) * leading)
    item_ids = pa.array(rows["item_id"].cast(pl.String).to_list(), pa.string())
    columns = {"vector": shards.to_lists(vectors), "codes": shards.to_lists(codes), "group": pa.array(group)}
    return pa.table({"item_id": item_ids, **columns})


def sound_vectors(rows: pl.DataFrame, width: int) -> np.ndarray:
    """float32 [n, width] of the column `embedding`; InputError where one has another width or is not `sound`."""
    column = rows["embedding"].cast(pl.List(pl.Float32))
    wrong = column.list.len().ne_missing(width)
    shards.refuse(wrong, rows, "embedding", f"{width} numbers, as the quantizer was trained on")
    vectors = shards.to_matrix(column, width)
    shards.refuse(pl.Series(~sound(vectors)), rows, "embedding", SOUND)
    return vectors


def give_ids(batch: "pa.Table", quantizer: "Quantizer", leading: int) -> "pa.Table":
    """IDs for all items of one group, `minimum_distortion` over them in the order of their item ids."""
    import pyarrow as pa

    from gr2.semantic_ids.assign import group_numbers, minimum_distortion

    rows = pl.from_arrow(batch).sort("item_id")
    levels = len(quantizer.codebooks)
    vectors, codes = shards.to_matrix(rows["vector"], quantizer.width), shards.to_matrix(rows["codes"], levels)
    final = minimum_distortion(quantizer, vectors, codes, np.zeros((0, levels), np.int64))
    left = (final[:, :leading] != codes[:, :leading]).any(axis=1)  # where another group may have given the same ID
    missing = left.sum() + len(final) - 1 - group_numbers(final).max()
    if missing:
        raise InputError(f"{missing} of the {len(rows)} items with the leading codes {codes[0, :leading].tolist()} "
                         "find no ID of their own under them; use more codes or levels")  # fmt: skip
    sids = [sid_string(row) for row in final.tolist()]
    item_ids = pa.array(rows["item_id"].to_list(), pa.string())
    return pa.table({"item_id": item_ids, "codes": shards.to_lists(final), "sid": pa.array(sids, pa.string())})

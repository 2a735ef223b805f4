"""gr2 embed-shards: item shards -> embeddings/*.parquet (item_id, embedding), by Ray.

For catalogues beyond one machine. Rows come in no particular order; embeddings are float32 and of unit length, as in
`gr2 embed`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from gr2 import ray_cluster
from gr2.data.items import join_texts
from gr2.errors import InputError
from gr2.files.embeddings import refuse_broken
from gr2.files.items import drop_empty_categories
from gr2.options.declare import arg
from gr2.packaged_models import resolve
from gr2.semantic_ids import shards

if TYPE_CHECKING:
    import pyarrow as pa

ROWS = 4096  # items that a worker gets at a time; it sorts them by length before it makes batches
TEXTS = {"title": pl.String, "categories": pl.List(pl.String), "description": pl.String}
WRITES = ("embeddings",)


@dataclass(kw_only=True)
class Config:
    items: str = arg(help="folder of parquet shards: item_id, title, optional categories and description", path=True)
    output_dir: str = arg(help="folder for embeddings/*.parquet")
    model_name_or_path: str = arg(
        "packaged:all-MiniLM-L6-v2", "a sentence-transformers folder, hub id, or packaged:NAME", path=True
    )
    batch_size: int = arg(64, "items per batch", least=1)
    workers: int = arg(1, "processes that hold the model; without a GPU each computes on one core", least=1)
    gpus_per_worker: float = arg(0.0, "GPUs of a worker; 0.5: two workers share one", least=0)


def run(config: Config) -> None:
    """Reads parquet shards of items and a text encoder. Writes embeddings/*.parquet. Prints the number of items."""
    # read
    resolve(config.model_name_or_path)  # names a missing package here, not in a worker
    inputs = shards.check(config.items, ("item_id", "title"))
    texts = [name for name in TEXTS if name in inputs.schema]
    for name in texts:
        if inputs.schema[name] != TEXTS[name]:
            raise InputError(f"{config.items}: column '{name}': expected {TEXTS[name]}, found {inputs.schema[name]}")

    # model and write
    ray_cluster.start()
    import ray.data

    with shards.write_whole(Path(config.output_dir) / "embeddings") as aside:
        inputs.read(["item_id", *texts]).map_batches(
            Encoder,
            fn_constructor_args=(config.model_name_or_path, config.batch_size),
            batch_format="pyarrow",
            batch_size=ROWS,
            compute=ray.data.ActorPoolStrategy(size=config.workers),
            num_cpus=0,  # else as many workers as cores would leave none to read with, and all would wait forever
            num_gpus=config.gpus_per_worker,
        ).write_parquet(aside)
    print(f"{inputs.rows} items embedded")


class Encoder:
    """A Ray worker: loads the model once, then embeds batches of items."""

    def __init__(self, model_name_or_path: str, batch_size: int):
        from sentence_transformers import SentenceTransformer

        self.model = SentenceTransformer(resolve(model_name_or_path))
        self.name, self.batch_size = model_name_or_path, batch_size

    def __call__(self, batch: "pa.Table") -> "pa.Table":
        import pyarrow as pa

        items = drop_empty_categories(pl.from_arrow(batch))
        shards.refuse(items["title"].is_null(), items, "title", "a title (it may be empty)")
        options = {"batch_size": self.batch_size, "normalize_embeddings": True, "show_progress_bar": False}
        vectors = self.model.encode(join_texts(items), **options)
        refuse_broken(vectors, items["item_id"], self.name)
        item_ids = pa.array(items["item_id"].cast(pl.String).to_list(), pa.string())
        return pa.table({"item_id": item_ids, "embedding": shards.to_lists(vectors.astype(np.float32))})

"""gr2 embed: item text -> embeddings.safetensors (float32 [n_items, d], unit length, rows as in items.parquet)."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gr2.data.catalogue import order_digest
from gr2.files.artifacts import write_whole
from gr2.files.embeddings import item_texts, refuse_broken
from gr2.files.tables import read_items
from gr2.options.declare import arg

WRITES = ("embeddings.safetensors",)


@dataclass
class Config:
    items: str = arg(help="items.parquet", path="items.parquet")
    output_dir: str = arg(help="folder for embeddings.safetensors")
    model_name_or_path: str = arg(
        "packaged:all-MiniLM-L6-v2", "a sentence-transformers folder, hub id, or packaged:NAME", path=True
    )
    batch_size: int = arg(64, "items a batch", least=1)


def run(config: Config) -> None:
    from safetensors.numpy import save_file
    from sentence_transformers import SentenceTransformer

    from gr2.packaged import resolve

    items = read_items(config.items)
    model = SentenceTransformer(resolve(config.model_name_or_path))
    vectors = model.encode(item_texts(items), batch_size=config.batch_size, normalize_embeddings=True,
                           show_progress_bar=True)  # fmt: skip
    refuse_broken(vectors, items["item_id"], config.model_name_or_path)
    with write_whole(Path(config.output_dir) / "embeddings.safetensors") as aside:
        save_file({"embeddings": vectors.astype(np.float32)}, aside, {"items": order_digest(items["item_id"])})

"""gr2 embed: item text -> embeddings.safetensors (float32 [items, d], unit length, rows as in items.parquet)."""

from dataclasses import dataclass
from pathlib import Path

from gr2.data.items import join_texts
from gr2.files.embeddings import refuse_broken, write_embeddings
from gr2.files.items import read_items
from gr2.options.declare import arg

WRITES = ("embeddings.safetensors",)


@dataclass(kw_only=True)
class Config:
    items: str = arg(help="items.parquet", path="items.parquet")
    output_dir: str = arg(help="folder for embeddings.safetensors")
    model_name_or_path: str = arg(
        "packaged:all-MiniLM-L6-v2", "a sentence-transformers folder, hub id, or packaged:NAME", path=True
    )
    batch_size: int = arg(64, "items a batch", least=1)


def run(config: Config) -> None:
    """Reads items.parquet and a text encoder. Writes embeddings.safetensors. Prints a progress bar."""
    from sentence_transformers import SentenceTransformer

    from gr2.packaged import resolve

    # read
    items = read_items(config.items)

    # model
    model = SentenceTransformer(resolve(config.model_name_or_path))
    texts = join_texts(items)
    vectors = model.encode(texts, batch_size=config.batch_size, normalize_embeddings=True, show_progress_bar=True)
    refuse_broken(vectors, items["item_id"], config.model_name_or_path)

    # write
    write_embeddings(Path(config.output_dir) / "embeddings.safetensors", items["item_id"], vectors)

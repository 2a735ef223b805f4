"""gr2 embed: item text -> embeddings.safetensors (float32 [items, d], unit length, rows as in items.parquet).

With --earlier and --earlier_items the vectors of an earlier catalogue are kept; only new and changed texts are encoded.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from gr2.data.items import join_texts
from gr2.errors import InputError
from gr2.files.embeddings import read_embeddings, refuse_broken, write_embeddings
from gr2.files.items import read_items
from gr2.options.declare import arg
from gr2.terminal import show_progress

WRITES = ("embeddings.safetensors",)
BLOCK = 8192  # texts that are encoded between two reports of progress
CHECKED = 8  # earlier texts that are encoded again, to see that the encoder is the same


@dataclass(kw_only=True)
class Config:
    items: str = arg(help="items.parquet", path="items.parquet")
    output_dir: str = arg(help="folder for embeddings.safetensors")
    model_name_or_path: str = arg(
        "packaged:all-MiniLM-L6-v2", "a sentence-transformers folder, hub id, or packaged:NAME", path=True
    )
    batch_size: int = arg(64, "items per batch", least=1)
    earlier: str | None = arg(
        None, "embeddings.safetensors of an earlier catalogue", path="embeddings.safetensors", named=True
    )
    earlier_items: str | None = arg(None, "its items.parquet", path="items.parquet", named=True)

    def __post_init__(self) -> None:
        if bool(self.earlier) != bool(self.earlier_items):
            raise InputError("--earlier, --earlier_items: expected both or neither")


def run(config: Config) -> None:
    """Reads items.parquet and a text encoder. Writes embeddings.safetensors."""
    from sentence_transformers import SentenceTransformer

    from gr2.packaged_models import resolve

    # read
    items = read_items(config.items)
    texts = join_texts(items)

    # model
    model = SentenceTransformer(resolve(config.model_name_or_path))
    encode_some = partial(model.encode, batch_size=config.batch_size, normalize_embeddings=True)

    def encode(texts: list[str]) -> np.ndarray:
        starts = range(0, len(texts), BLOCK)
        blocks = show_progress((texts[start : start + BLOCK] for start in starts), "embedding", len(starts), "blocks")
        return np.concatenate([encode_some(block) for block in blocks])

    vectors = encode_new(config, texts, encode) if config.earlier else encode(texts)
    refuse_broken(vectors, items["item_id"], config.model_name_or_path)

    # write
    write_embeddings(Path(config.output_dir) / "embeddings.safetensors", items["item_id"], vectors)


def encode_new(config: Config, texts: list[str], encode: Callable[[list[str]], np.ndarray]) -> np.ndarray:
    """Vectors [n, d] of the texts; earlier ones as they were. InputError where these are another encoder's."""
    items = read_items(config.earlier_items)
    vectors = read_embeddings(config.earlier, items["item_id"])
    earlier = dict(zip(join_texts(items), vectors, strict=True))
    new = list(dict.fromkeys(text for text in texts if text not in earlier))
    checked = [text for text in texts if text in earlier][:CHECKED]
    made = dict(zip([*checked, *new], encode([*checked, *new]), strict=True))
    for text in checked:
        if made[text].shape != earlier[text].shape or not np.allclose(made[text], earlier[text], atol=1e-3):
            found = f"found others, as for '{text:.60}': they come from another text encoder"
            raise InputError(f"{config.earlier}: expected vectors of {config.model_name_or_path}, {found}")
    print(f"{len(new)} new texts, {len(texts) - len(new)} items whose vectors are kept")
    return np.stack([earlier[text] if text in earlier else made[text] for text in texts])

"""Item vectors: the text that is embedded, and reading embeddings.safetensors."""

from pathlib import Path

import numpy as np
import polars as pl

from gr2.data.catalogue import order_digest
from gr2.errors import InputError


def item_texts(items: pl.DataFrame) -> list[str]:
    """`Title. Category > Category. Description`, without what is missing."""
    parts = [items["title"].to_list()]
    if "categories" in items.columns:
        parts.append([" > ".join(path) for path in items["categories"].to_list()])
    if "description" in items.columns:
        parts.append(items["description"].fill_null("").to_list())
    return [". ".join(part for part in texts if part) for texts in zip(*parts, strict=True)]


def read_embeddings(path: str | Path, item_ids: pl.Series) -> np.ndarray:
    """float32 [n_items, d]; InputError if the file is broken, made for other items, or holds NaN or zero vectors."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "np") as file:
            digest = (file.metadata() or {}).get("items")
            vectors = file.get_tensor("embeddings")
    except (SafetensorError, FileNotFoundError) as error:
        raise InputError(f"{path}: expected a safetensors file with the tensor 'embeddings' ({error})") from None
    if vectors.ndim != 2 or len(vectors) != len(item_ids):
        raise InputError(f"{path}: expected one row for each of the {len(item_ids)} items, found shape {vectors.shape}")
    if digest is not None and digest != order_digest(item_ids):
        raise InputError(f"{path}: its rows belong to other items, or another order, than the items file")
    bad = ~np.isfinite(vectors).all(axis=1) | (np.abs(vectors).sum(axis=1) == 0)
    if bad.any():
        row = int(bad.argmax())
        raise InputError(f"{path}: row {row} (item {item_ids[row]}): expected finite numbers, not all zero "
                         f"({int(bad.sum())} such rows)")  # fmt: skip
    return vectors.astype(np.float32)

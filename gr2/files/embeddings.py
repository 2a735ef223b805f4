"""Item vectors: the text that is embedded, and reading embeddings.safetensors."""

from pathlib import Path

import numpy as np
import polars as pl

from gr2.data.catalogue import order_digest
from gr2.errors import InputError

SHORTEST, LONGEST = 1e-6, 1e6  # lengths of vectors; beyond them sums of squares leave the range of float32
SOUND = f"finite numbers, and a length from {SHORTEST:g} to {LONGEST:g}"


def sound(vectors: np.ndarray) -> np.ndarray:
    """bool [n]: which of the vectors [n, d] can be quantized; `SOUND` says what is expected."""
    with np.errstate(over="ignore", invalid="ignore"):
        lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
    return (lengths >= SHORTEST) & (lengths <= LONGEST)  # no length that is NaN or infinite


def item_texts(items: pl.DataFrame) -> list[str]:
    """`Title. Category > Category. Description`, without what is missing."""
    parts = [items["title"].to_list()]
    if "categories" in items.columns:
        parts.append([" > ".join(path) for path in items["categories"].to_list()])
    if "description" in items.columns:
        parts.append(items["description"].fill_null("").to_list())
    return [". ".join(part for part in texts if part) for texts in zip(*parts, strict=True)]


def refuse_broken(vectors: np.ndarray, item_ids: pl.Series, model: str) -> None:
    """InputError where a text encoder gave a vector of [n, d] that is not `sound`."""
    bad = ~sound(vectors)
    if bad.any():
        raise InputError(f"{model}: expected a vector with {SOUND} for item '{item_ids[int(bad.argmax())]}', found another "
                         f"({int(bad.sum())} of {len(bad)} items); is this model whole?")  # fmt: skip


def read_embeddings(path: str | Path, item_ids: pl.Series) -> np.ndarray:
    """float32 [n_items, d]; InputError if the file is broken, made for other items, or holds vectors that are not `sound`."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "np") as file:
            digest = (file.metadata() or {}).get("items")
            vectors = file.get_tensor("embeddings")
    except (SafetensorError, OSError, TypeError) as error:  # TypeError: bfloat16, which numpy does not know
        raise InputError(f"{path}: expected a safetensors file with the tensor 'embeddings' ({error})") from None
    if vectors.dtype.kind not in "fiu":
        raise InputError(f"{path}: expected numbers, found {vectors.dtype}")
    if vectors.ndim != 2 or len(vectors) != len(item_ids):
        raise InputError(f"{path}: expected one row for each of the {len(item_ids)} items, found shape {vectors.shape}")
    if digest is not None and digest != order_digest(item_ids):
        raise InputError(f"{path}: its rows belong to other items, or another order, than the items file")
    bad = ~sound(vectors)
    if bad.any():
        row = int(bad.argmax())
        raise InputError(f"{path}: row {row} (item {item_ids[row]}): expected {SOUND} ({int(bad.sum())} such rows)")
    return vectors.astype(np.float32)

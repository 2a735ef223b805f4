"""embeddings.safetensors: a vector for each item, in the order of the items file."""

from pathlib import Path

import numpy as np
import polars as pl

from gr2.errors import InputError
from gr2.files.artifacts import write_whole
from gr2.files.items import order_digest

SHORTEST, LONGEST = 1e-6, 1e6  # lengths of vectors; beyond them sums of squares leave the range of float32
SOUND = f"finite numbers, and a length from {SHORTEST:g} to {LONGEST:g}"


def is_sound(vectors: np.ndarray) -> np.ndarray:
    """bool [n]: which of the vectors [n, d] can be quantized; `SOUND` says what is expected."""
    with np.errstate(over="ignore", invalid="ignore"):
        lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
    return (lengths >= SHORTEST) & (lengths <= LONGEST)  # no length that is NaN or infinite


def refuse_broken(vectors: np.ndarray, item_ids: pl.Series, model: str) -> None:
    """InputError where a text encoder gave a vector of [n, d] that is not sound."""
    bad = ~is_sound(vectors)
    if bad.any():
        item_id = item_ids[int(bad.argmax())]
        found = f"found another ({bad.sum()} of {len(bad)} items); is this model whole?"
        raise InputError(f"{model}: expected a vector with {SOUND} for item '{item_id}', {found}")


def read_embeddings(path: str | Path, item_ids: pl.Series) -> np.ndarray:
    """float32 [items, d]; InputError where the file is broken, of other items, or holds vectors that are not sound."""
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
    bad = ~is_sound(vectors)
    if bad.any():
        row = int(bad.argmax())
        raise InputError(f"{path}: row {row} (item {item_ids[row]}): expected {SOUND} ({int(bad.sum())} such rows)")
    return vectors.astype(np.float32)


def write_embeddings(path: str | Path, item_ids: pl.Series, vectors: np.ndarray) -> None:
    """vectors: [items, d]."""
    from safetensors.numpy import save_file

    with write_whole(path) as aside:
        save_file({"embeddings": vectors.astype(np.float32)}, aside, {"items": order_digest(item_ids)})

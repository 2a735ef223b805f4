"""`gr2 sids --append`: IDs for new items under a frozen quantizer. No ID changes, and none is ever given to a second item."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from gr2.errors import InputError
from gr2.files.artifacts import sha256
from gr2.files.semantic_ids import IDS, QUANTIZER, RETIRED
from gr2.files.tables import read_semantic_ids
from gr2.semantic_ids.assign import assign, group_numbers
from gr2.semantic_ids.quantizer import Quantizer, load
from gr2.stages.sids_options import Way

FACTOR = 4  # vectors and what their codes stand for differ less in length, unless they are of different kinds
Ids = tuple[Quantizer, np.ndarray, np.ndarray, pl.DataFrame | None]


@dataclass(frozen=True)
class Given:
    """IDs that were given earlier: `codes`, int64 [m, levels], and the `item_ids` [m] that have them."""

    item_ids: list[str]
    codes: np.ndarray


def append(folder: str, path: str, item_ids: list[str], vectors: np.ndarray, way: Way, seed: int) -> Ids:
    """The quantizer of `folder`, its codes for `vectors` [n, d] of the file `path`, the final ones, int64 [n, levels]: IDs as they
    were, and new ones for new items; and the IDs of items that are gone, `item_id` and `codes`, if any.
    """
    quantizer, given = read_earlier(folder)
    levels = len(quantizer.codebooks) + (way == "level")
    check_fit(path, vectors, item_ids, quantizer, given, levels)
    number = {item_id: n for n, item_id in enumerate(given.item_ids)}
    old = np.array([item_id in number for item_id in item_ids])
    encoded, final = quantizer.encode(vectors), np.zeros((len(item_ids), levels), np.int64)
    final[old] = given.codes[[number[item_id] for item_id in item_ids if item_id in number]]
    if not old.all():
        final[~old] = assign(way, quantizer, vectors[~old], encoded[~old], given.codes, seed)
    refuse_reuse(final[~old], given)
    gone = sorted(set(given.item_ids) - set(item_ids))
    retired = pl.DataFrame({"item_id": gone, "codes": given.codes[[number[item_id] for item_id in gone]].tolist()})
    return quantizer, encoded, final, retired if gone else None


def read_earlier(folder: str | Path) -> tuple[Quantizer, Given]:
    """The quantizer of a `gr2 sids` folder and every ID it gave, those of items that have left the catalogue among them."""
    folder = Path(folder)
    quantizer = load(folder / QUANTIZER)
    frames = [read_semantic_ids(folder / name) for name in (IDS, RETIRED) if name == IDS or (folder / name).exists()]
    recorded = pl.read_parquet_metadata(folder / IDS).get("quantizer")
    if recorded != sha256(folder / QUANTIZER):
        raise InputError(f"{folder / IDS}: its IDs were made with another codebook than {folder / QUANTIZER}; append to the "
                         "folder that `gr2 sids` wrote, unchanged")  # fmt: skip
    every = pl.concat([frame.select("item_id", "codes") for frame in frames])
    return quantizer, Given(every["item_id"].to_list(), np.array(every["codes"].to_list(), np.int64))


def check_fit(
    path: str, vectors: np.ndarray, item_ids: list[str], quantizer: Quantizer, given: Given, levels: int
) -> None:
    """InputError where the vectors of `path` [n, d] are not of the kind that the earlier IDs were made from."""
    if vectors.shape[1] != quantizer.width:
        raise InputError(f"{path}: expected vectors of {quantizer.width} numbers, as the quantizer was trained on, found "
                         f"{vectors.shape[1]}")  # fmt: skip
    if given.codes.shape[1] != levels:
        raise InputError(f"append: the earlier IDs have {given.codes.shape[1]} codes, this assignment gives {levels}; use the "
                         "assignment that they were made with")  # fmt: skip
    some = vectors[:1000]
    lengths, decoded = (np.linalg.norm(rows, axis=1) for rows in (some, quantizer.decode(quantizer.encode(some))))
    ratio = np.median(lengths) / max(np.median(decoded), 1e-30)
    if not 1 / FACTOR < ratio < FACTOR:
        raise InputError(f"{path}: its vectors are {ratio:.3g} times as long as what their codes stand for: the quantizer was "
                         "trained on vectors of another scale")  # fmt: skip
    row_of = {item_id: row for row, item_id in enumerate(item_ids)}
    known = [(row_of[item_id], number) for number, item_id in enumerate(given.item_ids) if item_id in row_of]
    if not known:
        return
    rows, numbers = np.array(known).T
    moved = (quantizer.encode(vectors[rows])[:, 0] != given.codes[numbers, 0]).mean()
    if moved > 0.5:
        raise InputError(f"{path}: {moved:.0%} of the items that have an ID would get another first code now: these "
                         "vectors and the earlier ones come from different text encoders or texts")  # fmt: skip


def refuse_reuse(codes: np.ndarray, given: Given) -> None:
    """InputError where a new item's codes [n, levels] are an ID that was given earlier, to an item that is gone maybe."""
    number = group_numbers(np.concatenate([given.codes, codes]))
    reused = int(np.isin(number[len(given.codes) :], number[: len(given.codes)]).sum())
    if reused:
        raise InputError(f"append: {reused} of {len(codes)} new items find no ID that was never given; use assignment minimum, or "
                         "make new IDs with more codes or levels")  # fmt: skip

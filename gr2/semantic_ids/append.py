"""`gr2 sids --append`: IDs for new items under a frozen quantizer. No ID changes, none is given to a second item."""

from pathlib import Path

import numpy as np
import polars as pl

from gr2.errors import InputError
from gr2.files.artifacts import sha256
from gr2.files.semantic_ids import IDS, QUANTIZER, RETIRED, read_semantic_ids
from gr2.semantic_ids.assign import Assignment, assign, index_groups
from gr2.semantic_ids.quantizer import Quantizer, load
from gr2.semantic_ids.settings import AssignmentKind

FACTOR = 4  # vectors of one kind and their decoded codes differ less in length


def append(
    folder: str, path: str, item_ids: list[str], vectors: np.ndarray, kind: AssignmentKind, seed: int
) -> Assignment:
    """The IDs of `folder` as they are, and IDs for new items. vectors: [n, d], those of the file `path`."""
    quantizer, given_ids, given = read_earlier(folder)
    levels = len(quantizer.codebooks) + (kind == "level")
    if given.shape[1] != levels:
        expected = f"this assignment gives {levels}; use the --assignment that they were made with"
        raise InputError(f"--append: the earlier IDs have {given.shape[1]} codes, {expected}")
    check_scale(path, vectors, quantizer)
    row = {item_id: row for row, item_id in enumerate(given_ids)}
    old = np.array([item_id in row for item_id in item_ids])
    encoded, final = quantizer.encode(vectors), np.zeros((len(item_ids), levels), np.int64)
    final[old] = given[[row[item_id] for item_id in item_ids if item_id in row]]
    moved = (encoded[old, 0] != final[old, 0]).mean() if old.any() else 0.0
    if moved > 0.5:
        cause = "these vectors and the earlier ones come from different text encoders or texts"
        raise InputError(f"{path}: {moved:.0%} of the items with an ID would get another first code now: {cause}")
    if not old.all():
        final[~old] = assign(kind, quantizer, vectors[~old], encoded[~old], given, seed)
    refuse_reuse(final[~old], given)
    gone = sorted(set(given_ids) - set(item_ids))
    retired = pl.DataFrame({"item_id": gone, "codes": given[[row[item_id] for item_id in gone]].tolist()})
    return Assignment(quantizer, encoded, final, retired if gone else None)


def read_earlier(folder: str | Path) -> tuple[Quantizer, list[str], np.ndarray]:
    """The quantizer of a `gr2 sids` folder, the items it gave IDs to, gone ones too, and their codes [m, levels]."""
    ids, retired, codebook = Path(folder) / IDS, Path(folder) / RETIRED, Path(folder) / QUANTIZER
    quantizer, frames = load(codebook), [read_semantic_ids(ids)]
    if retired.exists():
        frames.append(read_semantic_ids(retired))
    if pl.read_parquet_metadata(ids).get("quantizer") != sha256(codebook):
        advice = "append to the folder that `gr2 sids` wrote, unchanged"
        raise InputError(f"{ids}: its IDs were made with another codebook than {codebook}; {advice}")
    every = pl.concat([frame.select("item_id", "codes") for frame in frames])
    return quantizer, every["item_id"].to_list(), np.array(every["codes"].to_list(), np.int64)


def check_scale(path: str, vectors: np.ndarray, quantizer: Quantizer) -> None:
    """InputError where the vectors of `path` [n, d] have not the width or the length of those it was trained on."""
    if vectors.shape[1] != quantizer.width:
        expected = f"vectors of {quantizer.width} numbers, as the quantizer was trained on"
        raise InputError(f"{path}: expected {expected}, found {vectors.shape[1]}")
    sample = vectors[:1000]
    lengths = np.linalg.norm(sample, axis=1)
    decoded = np.linalg.norm(quantizer.decode(quantizer.encode(sample)), axis=1)
    ratio = np.median(lengths) / max(np.median(decoded), 1e-30)
    if not 1 / FACTOR < ratio < FACTOR:
        found = f"its vectors are {ratio:.3g} times as long as their decoded codes"
        raise InputError(f"{path}: {found}: the quantizer was trained on vectors of another scale")


def refuse_reuse(codes: np.ndarray, given: np.ndarray) -> None:
    """InputError where the codes [n, levels] of a new item are an ID that was given earlier, if to an item now gone."""
    group = index_groups(np.concatenate([given, codes]))
    reused = int(np.isin(group[len(given) :], group[: len(given)]).sum())
    if reused:
        advice = "use --assignment minimum, or make new IDs with more codes or levels"
        raise InputError(f"--append: {reused} of {len(codes)} new items find no ID that was never given; {advice}")

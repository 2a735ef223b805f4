"""From codes, which may collide, to one unique ID per item. Every assignment is deterministic.

`encoded` are the quantizer's codes, int64 [n, levels]; `taken` are IDs given earlier, int64 [m, levels], which no item
gets again.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.optimize import linear_sum_assignment

from gr2.errors import InputError
from gr2.semantic_ids import residual
from gr2.semantic_ids.quantizer import Quantizer
from gr2.semantic_ids.settings import AssignmentKind

PREFIXES = 16  # when an item's prefix is full, try all IDs under the 16 nearest prefixes, then under more
CHUNK = 256  # of these items searched together


@dataclass(frozen=True)
class Assignment:
    """The IDs of a catalogue of n items, and the quantizer that they come from."""

    quantizer: Quantizer
    encoded: np.ndarray  # int64 [n, levels], the quantizer's codes, which may collide
    final: np.ndarray  # int64 [n, levels], one more level with the assignment `level`
    retired: pl.DataFrame | None = None  # `item_id` and `codes`: the IDs of items that have left the catalogue, if any


def assign(
    kind: AssignmentKind, quantizer: Quantizer, vectors: np.ndarray, encoded: np.ndarray, taken: np.ndarray, seed: int
) -> np.ndarray:
    """Final codes of vectors [n, d], int64 [n, levels] (one more level for `level`)."""
    if kind == "minimum":
        return minimize_distortion(quantizer, vectors, encoded, taken)
    if kind == "random":
        return draw_unused(encoded, taken, quantizer.codebooks.shape[1], seed)
    if kind == "level":
        return add_level(encoded, taken, quantizer.codebooks.shape[1])
    return encoded


def minimize_distortion(
    quantizer: Quantizer, vectors: np.ndarray, encoded: np.ndarray, taken: np.ndarray
) -> np.ndarray:
    """Under each prefix (all levels but the last) with a collision, the items get distinct free last codes with the
    least total squared distance to their latents, by exact assignment; when a prefix is full, the nearest free ID
    elsewhere.

    Ours: GR2 draws random unused codes. When no ID is free at all, items keep their codes, and so a collision.
    """
    result, left_over, last = encoded.copy(), [], quantizer.codebooks[-1].astype(np.float64)
    for rows, used in find_collisions(encoded, taken):
        rest = quantizer.latents(vectors[rows]) - residual.decode(encoded[rows, :-1], quantizer.codebooks[:-1])
        rest = rest.astype(np.float64)
        distance = (last**2).sum(axis=1) - 2 * rest @ last.T  # up to |rest|^2, alike for all codes
        free = np.setdiff1d(np.arange(len(last)), used)
        if len(rows) > len(free):  # not all can stay, and |rest|^2 decides who does
            distance += (rest**2).sum(axis=1, keepdims=True)
        placed, index = linear_sum_assignment(distance[:, free])
        result[rows[placed], -1] = free[index]
        left_over += np.delete(rows, placed).tolist()
    if left_over:
        spill(quantizer, vectors, result, np.array(left_over), taken)
    return result


def spill(
    quantizer: Quantizer, vectors: np.ndarray, result: np.ndarray, left_over: np.ndarray, taken: np.ndarray
) -> None:
    """Gives the items `left_over`, rows of `result`, one after the other the nearest ID that is still free; in place.

    When all IDs under PREFIXES prefixes are used, four times as many prefixes are tried, and again, up to all.
    """
    used = {codes.tobytes() for codes in np.concatenate([np.delete(result, left_over, axis=0), taken])}
    levels, codes, _ = quantizer.codebooks.shape
    all_prefixes = codes ** (levels - 1)
    for rows in np.split(left_over, range(CHUNK, len(left_over), CHUNK)):
        latents = quantizer.latents(vectors[rows])
        for row, latent, ids in zip(rows, latents, list_nearest(quantizer, latents, PREFIXES), strict=True):
            free, prefixes = find_unused(ids, used), PREFIXES
            while free is None and prefixes < all_prefixes and len(used) < all_prefixes * codes:
                prefixes = min(4 * prefixes, all_prefixes)
                free = find_unused(list_nearest(quantizer, latent[None], prefixes)[0], used)
            if free is not None:
                result[row] = free
            used.add(result[row].tobytes())


def list_nearest(quantizer: Quantizer, latents: np.ndarray, prefixes: int) -> np.ndarray:
    """All IDs under the `prefixes` prefixes that a beam search ends with, nearest first: int64 [n, ids, levels]."""
    books = quantizer.codebooks
    return residual.search(latents, books, prefixes, kept=prefixes * books.shape[1])[0]


def find_unused(ids: np.ndarray, used: set[bytes]) -> np.ndarray | None:
    """The first of the IDs [ids, levels] that is not used."""
    return next((codes for codes in ids if codes.tobytes() not in used), None)


def draw_unused(encoded: np.ndarray, taken: np.ndarray, codes: int, seed: int) -> np.ndarray:
    """GR2's random last level (2602.07774): of items that collide the first keeps its code, the others get random last
    codes that are unused under their prefix. When a prefix is full they keep theirs, and the collision.
    """
    rng, result = np.random.default_rng(seed), encoded.copy()
    for rows, used in find_collisions(encoded, taken):
        last = encoded[rows, -1]
        collides = np.ones(len(rows), bool)
        collides[np.unique(last, return_index=True)[1]] = False
        collides |= np.isin(last, used)
        unused = rng.permutation(np.setdiff1d(np.arange(codes), np.concatenate([last, used])))
        moved = rows[collides][: len(unused)]
        result[moved, -1] = unused[: len(moved)]
    return result


def add_level(encoded: np.ndarray, taken: np.ndarray, codes: int) -> np.ndarray:
    """Adds a code that counts the items with the same codes (TIGER, 2305.05065), after those that are taken."""
    group = index_groups(np.concatenate([taken[:, :-1], encoded]))
    counter = np.zeros(group.max() + 1, np.int64)
    np.maximum.at(counter, group[: len(taken)], taken[:, -1] + 1)
    new = group[len(taken) :]
    order = np.argsort(new, kind="stable")
    starts = np.flatnonzero(np.diff(new[order], prepend=-1))
    within = np.arange(len(new)) - np.repeat(starts, np.diff(starts, append=len(new)))
    extra = np.empty(len(new), np.int64)
    extra[order] = within + counter[new[order]]
    if extra.max() >= codes:
        found = f"{extra.max() + 1} items share the codes {encoded[extra.argmax()].tolist()}, more than a level has"
        raise InputError(f"{found} ({codes}); use more codes or levels, or drop items with the same text")
    return np.concatenate([encoded, extra[:, None]], axis=1)


def find_collisions(encoded: np.ndarray, taken: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each prefix under which an item collides, with another or with a taken ID: the items' rows, and the last
    codes that are taken under it. Sorts once, so time is near-linear in the items.
    """
    every = np.concatenate([encoded, taken])
    whole, prefix = index_groups(every), index_groups(every[:, :-1])
    affected = np.zeros(prefix.max() + 1, bool)
    affected[prefix[: len(encoded)][np.bincount(whole)[whole[: len(encoded)]] > 1]] = True
    order = np.argsort(prefix, kind="stable")  # within a prefix: rows of `encoded` first, in their order
    starts = np.searchsorted(prefix[order], np.flatnonzero(affected), "left")
    ends = np.searchsorted(prefix[order], np.flatnonzero(affected), "right")
    for start, end in zip(starts, ends, strict=True):
        members = order[start:end]
        new = members < len(encoded)
        yield members[new], every[members[~new], -1]


def index_groups(rows: np.ndarray) -> np.ndarray:
    """int64 [n]: for each row of [n, columns] the index of its group of equal rows, from 0, in sorted order."""
    order = np.lexsort(rows.T[::-1]) if rows.shape[1] else np.arange(len(rows))
    ranked, group = rows[order], np.zeros(len(rows), np.int64)
    group[order[1:]] = (ranked[1:] != ranked[:-1]).any(axis=1).cumsum()
    return group

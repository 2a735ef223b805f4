"""From codes, which may collide, to one unique ID per item. Every way is deterministic.

`encoded` are the quantizer's codes, int64 [n, levels]; `taken` are IDs given earlier, int64 [m, levels], which nobody gets again.
"""

from collections.abc import Iterator

import numpy as np
from scipy.optimize import linear_sum_assignment

from gr2.errors import InputError
from gr2.semantic_ids import residual
from gr2.semantic_ids.quantizer import Quantizer
from gr2.stages.sids_options import Way

PREFIXES = 16  # when an item's prefix is full, try all IDs under the 16 nearest prefixes, then under more
CHUNK = 256  # such items that are looked at together


def assign(
    way: Way, quantizer: Quantizer, vectors: np.ndarray, encoded: np.ndarray, taken: np.ndarray, seed: int
) -> np.ndarray:
    """Final codes, int64 [n, levels] (one more level for `level`)."""
    if way == "minimum":
        return minimum_distortion(quantizer, vectors, encoded, taken)
    if way == "random":
        return random_unused(encoded, taken, quantizer.codebooks.shape[1], seed)
    if way == "level":
        return extra_level(encoded, taken, quantizer.codebooks.shape[1])
    return encoded


def minimum_distortion(quantizer: Quantizer, vectors: np.ndarray, encoded: np.ndarray, taken: np.ndarray) -> np.ndarray:
    """Under each prefix (all levels but the last) with a collision, the items take distinct free last codes with the least total
    squared distance to their latents, by exact assignment; where a prefix has no room left, the nearest free ID elsewhere.

    Ours: GR2 takes random unused codes. Items that find no room at all keep their codes, and so a collision.
    """
    result, homeless, last = encoded.copy(), [], quantizer.codebooks[-1].astype(np.float64)
    for rows, used in colliding_prefixes(encoded, taken):
        rest = quantizer.latents(vectors[rows]) - residual.decode(encoded[rows, :-1], quantizer.codebooks[:-1])
        rest = rest.astype(np.float64)
        distance = (last**2).sum(axis=1) - 2 * rest @ last.T  # up to |rest|^2, alike for all codes
        free = np.setdiff1d(np.arange(len(last)), used)
        if len(rows) > len(free):  # not all can stay, and |rest|^2 decides who does
            distance += (rest**2).sum(axis=1, keepdims=True)
        placed, at = linear_sum_assignment(distance[:, free])
        result[rows[placed], -1] = free[at]
        homeless += np.delete(rows, placed).tolist()
    if homeless:
        spill(quantizer, vectors, result, np.array(homeless), taken)
    return result


def spill(
    quantizer: Quantizer, vectors: np.ndarray, result: np.ndarray, homeless: np.ndarray, taken: np.ndarray
) -> None:
    """Gives the items `homeless`, rows of `result`, one after the other the nearest ID that is still free; in place.

    An item that finds none under PREFIXES prefixes is offered those under four times as many, and again, up to all there are.
    """
    used = {codes.tobytes() for codes in np.concatenate([np.delete(result, homeless, axis=0), taken])}
    levels, codes, _ = quantizer.codebooks.shape
    everything = codes ** (levels - 1)
    for rows in np.split(homeless, range(CHUNK, len(homeless), CHUNK)):
        latents = quantizer.latents(vectors[rows])
        for row, latent, offered in zip(rows, latents, offers(quantizer, latents, PREFIXES), strict=True):
            found, prefixes = first_unused(offered, used), PREFIXES
            while found is None and prefixes < everything and len(used) < everything * codes:
                prefixes = min(4 * prefixes, everything)
                found = first_unused(offers(quantizer, latent[None], prefixes)[0], used)
            if found is not None:
                result[row] = found
            used.add(result[row].tobytes())


def offers(quantizer: Quantizer, latents: np.ndarray, prefixes: int) -> np.ndarray:
    """All IDs under the `prefixes` prefixes that a beam search ends with, nearest first: int64 [n, offers, levels]."""
    books = quantizer.codebooks
    return residual.search(latents, books, prefixes, kept=prefixes * books.shape[1])[0]


def first_unused(offered: np.ndarray, used: set[bytes]) -> np.ndarray | None:
    """The first of the IDs [offers, levels] that nobody has."""
    return next((codes for codes in offered if codes.tobytes() not in used), None)


def random_unused(encoded: np.ndarray, taken: np.ndarray, codes: int, seed: int) -> np.ndarray:
    """GR2's random last level (2602.07774): of items that collide the first keeps its code, the others take random last codes that
    their prefix does not use. Where it has none left they keep theirs, and the collision.
    """
    rng, result = np.random.default_rng(seed), encoded.copy()
    for rows, used in colliding_prefixes(encoded, taken):
        last = encoded[rows, -1]
        again = np.ones(len(rows), bool)
        again[np.unique(last, return_index=True)[1]] = False
        again |= np.isin(last, used)
        unused = rng.permutation(np.setdiff1d(np.arange(codes), np.concatenate([last, used])))
        moved = rows[again][: len(unused)]
        result[moved, -1] = unused[: len(moved)]
    return result


def extra_level(encoded: np.ndarray, taken: np.ndarray, codes: int) -> np.ndarray:
    """One more code that counts the items with the same codes (TIGER, 2305.05065), on from what is taken."""
    number = group_numbers(np.concatenate([taken[:, :-1], encoded]))
    counter = np.zeros(number.max() + 1, np.int64)
    np.maximum.at(counter, number[: len(taken)], taken[:, -1] + 1)
    new = number[len(taken) :]
    order = np.argsort(new, kind="stable")
    starts = np.flatnonzero(np.diff(new[order], prepend=-1))
    within = np.arange(len(new)) - np.repeat(starts, np.diff(starts, append=len(new)))
    extra = np.empty(len(new), np.int64)
    extra[order] = within + counter[new[order]]
    if extra.max() >= codes:
        raise InputError(f"{extra.max() + 1} items share the codes {encoded[extra.argmax()].tolist()} and cannot be told apart by "
                         f"one level of {codes} codes; use more codes or levels, or drop items with the same text")  # fmt: skip
    return np.concatenate([encoded, extra[:, None]], axis=1)


def colliding_prefixes(encoded: np.ndarray, taken: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each prefix under which an item collides, with another or with a taken ID: the items' rows, and the last codes that are
    taken under it. Sorts once, so time is near-linear in the items.
    """
    every = np.concatenate([encoded, taken])
    whole, prefix = group_numbers(every), group_numbers(every[:, :-1])
    affected = np.zeros(prefix.max() + 1, bool)
    affected[prefix[: len(encoded)][np.bincount(whole)[whole[: len(encoded)]] > 1]] = True
    order = np.argsort(prefix, kind="stable")  # within a prefix: rows of `encoded` first, in their order
    starts = np.searchsorted(prefix[order], np.flatnonzero(affected), "left")
    ends = np.searchsorted(prefix[order], np.flatnonzero(affected), "right")
    for start, end in zip(starts, ends, strict=True):
        members = order[start:end]
        new = members < len(encoded)
        yield members[new], every[members[~new], -1]


def group_numbers(rows: np.ndarray) -> np.ndarray:
    """int64 [n]: equal rows of [n, columns] have equal numbers, counted from 0 in the order of the sorted rows."""
    order = np.lexsort(rows.T[::-1]) if rows.shape[1] else np.arange(len(rows))
    ranked, number = rows[order], np.zeros(len(rows), np.int64)
    number[order[1:]] = (ranked[1:] != ranked[:-1]).any(axis=1).cumsum()
    return number

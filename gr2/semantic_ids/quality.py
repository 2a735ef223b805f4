"""Quality of semantic IDs, as numbers; `reports.semantic_ids` draws them."""

from collections import Counter
from collections.abc import Callable

import numpy as np
import polars as pl

from gr2.data.items import join_categories
from gr2.semantic_ids import residual
from gr2.semantic_ids.assign import Assignment, draw_unused, index_groups
from gr2.semantic_ids.fit import draw_rows
from gr2.semantic_ids.quantizer import CHUNK

NEIGHBOURS = 10
QUERIES = 5000  # items whose neighbours are looked up, drawn under the seed where there are more


def measure_quality(assignment: Assignment, vectors: np.ndarray, items: pl.DataFrame, seed: int) -> dict:
    """Metrics of the quantizer's codes and of the final ones, for vectors [n, d] of the items.

    uniqueness: items whose ID no other item has / items. usage: codes used / codes, by level. entropy, in bits, and
    perplexity, 2^entropy, of a level's codes. Errors are squared and relative to the vectors' energy; added_distortion
    is what the assignment added to the squared distance between latents and codes, relative to the latents' energy,
    beside that of GR2's random codes.
    """
    quantizer, encoded, final = assignment.quantizer, assignment.encoded, assignment.final
    categories = join_categories(items)
    levels, codes = quantizer.codebooks.shape[:2]
    histograms = [np.bincount(column, minlength=codes) for column in final.T]
    random = draw_unused(encoded, encoded[:0], codes, seed)

    def decode_latents(assigned: np.ndarray) -> np.ndarray:
        return residual.decode(assigned, quantizer.codebooks)

    def latent_error(assigned: np.ndarray) -> float:
        return relative_error(vectors, assigned, decode_latents, quantizer.latents)

    before = latent_error(encoded)
    return {
        "items": len(vectors),
        "levels": final.shape[1],
        "codes": codes,
        "uniqueness": uniqueness(final),
        "collisions": round(len(final) * (1 - uniqueness(final))),
        "collision_sizes": collision_sizes(final),
        "uniqueness_before_assignment": uniqueness(encoded),
        "collision_sizes_before_assignment": collision_sizes(encoded),
        "items_moved_by_assignment": int((encoded != final[:, :levels]).any(axis=1).sum()),
        "added_distortion": latent_error(final) - before,
        "added_distortion_of_random": latent_error(random) - before,
        "usage": [float((histogram > 0).mean()) for histogram in histograms],
        "entropy": [entropy(histogram) for histogram in histograms],
        "perplexity": [2 ** entropy(histogram) for histogram in histograms],
        "reconstruction_error": relative_error(vectors, final, quantizer.decode),
        "reconstruction_error_before_assignment": relative_error(vectors, encoded, quantizer.decode),
        "category_purity": category_purity(final, categories, seed) if any(categories) else None,
        "neighbour_preservation": neighbour_preservation(vectors, final, seed),
    }


def uniqueness(assigned: np.ndarray) -> float:
    """Share of items whose codes no other item has."""
    return float((np.bincount(index_groups(assigned)) == 1).sum() / len(assigned))


def collision_sizes(assigned: np.ndarray) -> dict[str, int]:
    """Size of a group of items with the same codes -> how many such groups; groups of one left out."""
    sizes = Counter(np.bincount(index_groups(assigned)).tolist())
    return {str(size): count for size, count in sorted(sizes.items()) if size > 1}


def entropy(histogram: np.ndarray) -> float:
    """In bits; histogram: [codes]."""
    share = histogram[histogram > 0] / histogram.sum()
    return float(-(share * np.log2(share)).sum())


def relative_error(
    vectors: np.ndarray, assigned: np.ndarray, decode: Callable, encode: Callable = lambda part: part
) -> float:
    """sum |encode(x) - decode(codes)|^2 / sum |encode(x)|^2, in chunks."""
    error = energy = 0.0
    for start in range(0, len(vectors), CHUNK):
        part = encode(vectors[start : start + CHUNK])
        error += float(((part - decode(assigned[start : start + CHUNK])) ** 2).sum(dtype=np.float64))
        energy += float((part**2).sum(dtype=np.float64))
    return error / energy


def category_purity(assigned: np.ndarray, categories: list[str], seed: int) -> list[dict]:
    """By prefix length: share of items with their prefix's most frequent category, and the same by chance, with
    shuffled categories: long prefixes hold single items.
    """
    _, label = np.unique(categories, return_inverse=True)
    shuffled = np.random.default_rng(seed).permutation(label)
    rows = []
    for length in range(1, assigned.shape[1] + 1):
        prefixes = assigned[:, :length]
        rows.append({"prefix": length, "share": purity(prefixes, label), "by_chance": purity(prefixes, shuffled)})
    return rows


def purity(prefixes: np.ndarray, label: np.ndarray) -> float:
    """Items with their group's most frequent label / items."""
    group = index_groups(prefixes)
    pairs, counts = np.unique(np.stack([group, label]), axis=1, return_counts=True)
    largest = np.zeros(group.max() + 1, np.int64)
    np.maximum.at(largest, pairs[0], counts)
    return float(largest.sum() / len(label))


def neighbour_preservation(vectors: np.ndarray, assigned: np.ndarray, seed: int) -> list[dict]:
    """By prefix length 1 to 3: share of an item's 10 nearest items that have its prefix; by chance: of all others."""
    import faiss

    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    queries = draw_rows(len(unit), QUERIES, seed)
    index = faiss.IndexFlatIP(unit.shape[1])
    index.add(unit)
    nearest = index.search(unit[queries], NEIGHBOURS + 1)[1]
    others = (nearest != queries[:, None]) & (nearest >= 0)  # an item finds itself too, maybe after its duplicates
    rows = []
    for length in range(1, min(3, assigned.shape[1]) + 1):
        group = index_groups(assigned[:, :length])
        same = (group[nearest] == group[queries][:, None]) & others
        sizes = np.bincount(group).astype(float)
        chance = (sizes * (sizes - 1)).sum() / (len(group) * max(len(group) - 1, 1))
        rows.append({"prefix": length, "share": float(same.sum() / others.sum()), "by_chance": float(chance)})
    return rows

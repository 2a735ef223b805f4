"""Quality of semantic IDs, as numbers."""

import numpy as np


def quality(vectors: np.ndarray, greedy: np.ndarray, final: np.ndarray, codebooks: np.ndarray) -> dict:
    """Facts about greedy codes and the final, unique ones (int [n, levels] each) for vectors [n, d].

    uniqueness: items whose ID no other item has / items. usage: codes used / codes, per level. perplexity: exp of the
    entropy of a level's codes. reconstruction_error: squared, relative to the vectors' energy.
    """
    levels, codes = codebooks.shape[:2]
    histograms = [np.bincount(final[:, level], minlength=codes) for level in range(levels)]
    return {
        "items": len(vectors),
        "levels": levels,
        "codes": codes,
        "uniqueness": uniqueness(final),
        "collisions": round(len(final) * (1 - uniqueness(final))),
        "uniqueness_before_assignment": uniqueness(greedy),
        "items_moved_by_assignment": int((greedy != final).any(axis=1).sum()),
        "usage": [float((histogram > 0).mean()) for histogram in histograms],
        "perplexity": [perplexity(histogram) for histogram in histograms],
        "reconstruction_error": relative_error(vectors, final, codebooks),
        "reconstruction_error_before_assignment": relative_error(vectors, greedy, codebooks),
    }


def uniqueness(assigned: np.ndarray) -> float:
    """Share of items whose codes no other item has."""
    counts = np.unique(assigned, axis=0, return_counts=True)[1]
    return float((counts == 1).sum() / len(assigned))


def perplexity(histogram: np.ndarray) -> float:
    share = histogram[histogram > 0] / histogram.sum()
    return float(np.exp(-(share * np.log(share)).sum()))


def relative_error(vectors: np.ndarray, assigned: np.ndarray, codebooks: np.ndarray) -> float:
    decoded = sum(codebook[assigned[:, level]] for level, codebook in enumerate(codebooks))
    return float(((vectors - decoded) ** 2).sum() / (vectors**2).sum())

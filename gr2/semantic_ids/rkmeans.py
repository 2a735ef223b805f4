"""Residual k-means: level by level, cluster what the levels before left over; plain, or with clusters of equal size."""

from collections.abc import Callable

import numpy as np

ITERATIONS = 25
BALANCED_ITERATIONS = 10
PER_CODE = 10_000  # vectors that a code is trained from at most


def train(vectors: np.ndarray, levels: int, codes: int, seed: int) -> np.ndarray:
    """Codebooks, float32 [levels, codes, d], from vectors [n, d]; k-means++ by faiss, the same seed the same bytes."""
    return level_by_level(centroids, vectors, levels, codes, seed)


def train_balanced(vectors: np.ndarray, levels: int, codes: int, seed: int) -> np.ndarray:
    """As `train`, but while a level is trained no code may hold more than ceil(n / codes) vectors (after OneRec, 2502.18965, where
    the clusters take turns; here vectors go to the nearest code with room, and a full code keeps its nearest).

    Only training is balanced: an item's codes are found as with every other quantizer, so that new items have codes too.
    """
    return level_by_level(balanced_centroids, vectors, levels, codes, seed)


def level_by_level(
    cluster: Callable[[np.ndarray, int, int], np.ndarray], vectors: np.ndarray, levels: int, codes: int, seed: int
) -> np.ndarray:
    """Codebooks, float32 [levels, codes, d]: `cluster` the vectors, subtract the nearest centroids, and again."""
    rest, codebooks = vectors.copy(), np.zeros((levels, codes, vectors.shape[1]), np.float32)
    for level in range(levels):
        codebooks[level] = cluster(rest, codes, (seed + level) % 2**31)
        rest = rest - codebooks[level][nearest(rest, codebooks[level])]
    return codebooks


def centroids(vectors: np.ndarray, codes: int, seed: int) -> np.ndarray:
    """float32 [codes, d]."""
    import faiss

    kmeans = faiss.Kmeans(vectors.shape[1], codes, niter=ITERATIONS, seed=seed, min_points_per_centroid=1,
                          max_points_per_centroid=PER_CODE, init_method=faiss.ClusteringInitMethod_KMEANS_PLUS_PLUS)  # fmt: skip
    kmeans.train(vectors)
    return kmeans.centroids


def balanced_centroids(vectors: np.ndarray, codes: int, seed: int) -> np.ndarray:
    """float32 [codes, d]; k-means' own, moved to the means of vectors that were assigned with room."""
    codebook = centroids(vectors, codes, seed)
    for _ in range(BALANCED_ITERATIONS):
        code = with_room(vectors, codebook)
        sums = np.zeros_like(codebook)
        np.add.at(sums, code, vectors)
        counts = np.bincount(code, minlength=codes)[:, None]
        codebook = np.where(counts > 0, sums / np.maximum(counts, 1), codebook).astype(np.float32)
    return codebook


def nearest(vectors: np.ndarray, codebook: np.ndarray) -> np.ndarray:
    """Index of the nearest code of codebook [codes, d] for each vector [n, d]."""
    import faiss

    index = faiss.IndexFlatL2(codebook.shape[1])
    index.add(codebook)
    return index.search(vectors, 1)[1][:, 0]


def with_room(vectors: np.ndarray, codebook: np.ndarray) -> np.ndarray:
    """A code for each vector such that none has more than ceil(n / codes): vectors apply to their nearest code, a code with
    too many keeps the nearest, the others apply to their next one (deferred acceptance, Gale and Shapley 1962).
    """
    capacity = -(-len(vectors) // len(codebook))
    distance = (codebook**2).sum(axis=1) - 2 * vectors @ codebook.T  # up to |x|^2, which ranks a vector's codes alike
    wishes = np.argsort(distance, axis=1, kind="stable")
    distance = distance + (vectors**2).sum(axis=1, keepdims=True)
    tried, code, rows = np.zeros(len(vectors), np.int64), wishes[:, 0].copy(), np.arange(len(vectors))
    while True:
        order = np.lexsort((distance[rows, code], code))
        ranked = code[order]
        place = np.arange(len(order)) - np.searchsorted(ranked, ranked)
        refused = order[place >= capacity]
        if not len(refused):
            return code
        tried[refused] += 1
        code[refused] = wishes[refused, tried[refused]]

"""Residual k-means: each level clusters the residuals of the levels before; plain, or with clusters of equal size."""

from collections.abc import Callable

import numpy as np

ITERATIONS = 25
BALANCED_ITERATIONS = 10
PER_CODE = 10_000  # train with at most this many vectors a code


def train(vectors: np.ndarray, levels: int, codes: int, seed: int) -> np.ndarray:
    """Codebooks, float32 [levels, codes, d], from vectors [n, d]; k-means++ by faiss, the same seed the same bytes."""
    return train_levels(cluster, vectors, levels, codes, seed)


def train_balanced(vectors: np.ndarray, levels: int, codes: int, seed: int) -> np.ndarray:
    """As `train`, but while a level is trained no code may hold more than ceil(n / codes) vectors (after OneRec,
    2502.18965, where the clusters take turns; here vectors go to the nearest code with room, and a full code keeps its
    nearest).

    Only training is balanced: items are encoded as with every other quantizer, so that new items have codes too.
    """
    return train_levels(cluster_balanced, vectors, levels, codes, seed)


def train_levels(find_centroids: Callable, vectors: np.ndarray, levels: int, codes: int, seed: int) -> np.ndarray:
    """`cluster` or `cluster_balanced` finds centroids, the nearest one is subtracted from each vector, and again."""
    rest, codebooks = vectors.copy(), np.zeros((levels, codes, vectors.shape[1]), np.float32)
    for level in range(levels):
        codebooks[level] = find_centroids(rest, codes, (seed + level) % 2**31)
        rest = rest - codebooks[level][find_nearest(rest, codebooks[level])]
    return codebooks


def cluster(vectors: np.ndarray, codes: int, seed: int) -> np.ndarray:
    """Centroids, float32 [codes, d], of vectors [n, d]."""
    import faiss

    points = {"min_points_per_centroid": 1, "max_points_per_centroid": PER_CODE}
    start = faiss.ClusteringInitMethod_KMEANS_PLUS_PLUS
    kmeans = faiss.Kmeans(vectors.shape[1], codes, niter=ITERATIONS, seed=seed, init_method=start, **points)
    kmeans.train(vectors)
    return kmeans.centroids


def cluster_balanced(vectors: np.ndarray, codes: int, seed: int) -> np.ndarray:
    """Centroids, float32 [codes, d]: k-means', moved to the means of the vectors that `assign_balanced` gives them."""
    codebook = cluster(vectors, codes, seed)
    for _ in range(BALANCED_ITERATIONS):
        code = assign_balanced(vectors, codebook)
        sums = np.zeros_like(codebook)
        np.add.at(sums, code, vectors)
        counts = np.bincount(code, minlength=codes)[:, None]
        codebook = np.where(counts > 0, sums / np.maximum(counts, 1), codebook).astype(np.float32)
    return codebook


def find_nearest(vectors: np.ndarray, codebook: np.ndarray) -> np.ndarray:
    """Index of the nearest code of codebook [codes, d] for each vector [n, d]."""
    import faiss

    index = faiss.IndexFlatL2(codebook.shape[1])
    index.add(codebook)
    return index.search(vectors, 1)[1][:, 0]


def assign_balanced(vectors: np.ndarray, codebook: np.ndarray) -> np.ndarray:
    """A code for each vector, int64 [n], such that none has more than ceil(n / codes): vectors apply to their nearest
    code, a code with too many keeps the nearest, the others apply to their next one (deferred acceptance, Gale and
    Shapley 1962).
    """
    capacity = -(-len(vectors) // len(codebook))
    distance = (codebook**2).sum(axis=1) - 2 * vectors @ codebook.T  # up to |x|^2, which ranks a vector's codes alike
    wishes = np.argsort(distance, axis=1, kind="stable")
    distance = distance + (vectors**2).sum(axis=1, keepdims=True)
    tried, code, rows = np.zeros(len(vectors), np.int64), wishes[:, 0].copy(), np.arange(len(vectors))
    while True:
        order = np.lexsort((distance[rows, code], code))
        ranked = code[order]
        rank = np.arange(len(order)) - np.searchsorted(ranked, ranked)  # within the code
        refused = order[rank >= capacity]
        if not len(refused):
            return code
        tried[refused] += 1
        code[refused] = wishes[refused, tried[refused]]

"""Residual k-means: level by level, cluster what the levels before left over."""

import numpy as np


def train(vectors: np.ndarray, levels: int, codes: int, seed: int) -> np.ndarray:
    """Codebooks, float32 [levels, codes, d], from vectors [n, d]; k-means by faiss, the same seed the same bytes."""
    import faiss

    residual = vectors.copy()
    codebooks = np.zeros((levels, codes, vectors.shape[1]), np.float32)
    for level in range(levels):
        kmeans = faiss.Kmeans(vectors.shape[1], codes, niter=25, seed=seed + level, min_points_per_centroid=1,
                              max_points_per_centroid=10_000)  # fmt: skip
        kmeans.train(residual)
        codebooks[level] = kmeans.centroids
        residual = residual - codebooks[level][nearest(residual, codebooks[level])]
    return codebooks


def nearest(vectors: np.ndarray, codebook: np.ndarray) -> np.ndarray:
    """Index of the nearest code of codebook [codes, d] for each vector [n, d]."""
    import faiss

    index = faiss.IndexFlatL2(codebook.shape[1])
    index.add(codebook)
    return index.search(vectors, 1)[1][:, 0]


def encode(vectors: np.ndarray, codebooks: np.ndarray) -> np.ndarray:
    """Greedy codes, int64 [n, levels]; collisions are possible (see `assign.unique_codes`)."""
    residual = vectors.copy()
    assigned = np.zeros((len(vectors), len(codebooks)), np.int64)
    for level, codebook in enumerate(codebooks):
        assigned[:, level] = nearest(residual, codebook)
        residual = residual - codebook[assigned[:, level]]
    return assigned


def decode(assigned: np.ndarray, codebooks: np.ndarray) -> np.ndarray:
    """The sum of the codes: vectors [n, d] from codes [n, levels]."""
    return sum(codebook[assigned[:, level]] for level, codebook in enumerate(codebooks))

"""Residual k-means whose codebooks are then refitted together: additive quantization (Babenko and Lempitsky 2014).

In each round beam search finds the codes for the codebooks, and least squares the codebooks for the codes. Noise on the
codebooks, falling to 0, avoids the nearest bad optimum (LSQ++, Martinez et al. 2018, SR-D). The sum of all levels is
then closer to the vector than with residual k-means; fewer of an item's neighbours share its first code
(docs/results/semantic_ids.md).
"""

import numpy as np
from scipy.sparse import csr_matrix

from gr2.semantic_ids import residual, rkmeans
from gr2.terminal import show_progress

ROUNDS = 40
QUIET = 0.8  # share of the rounds after which there is no noise
NOISE = 0.7  # of the first round, in standard deviations of a codebook's numbers
BEAM = 4
RIDGE = 1.0  # weight, in vectors, of a code's old vector: a code without items keeps it


def train(vectors: np.ndarray, levels: int, codes: int, seed: int, rounds: int = ROUNDS) -> np.ndarray:
    """Codebooks, float32 [levels, codes, d], from vectors [n, d]."""
    codebooks, rng = rkmeans.train(vectors, levels, codes, seed), np.random.default_rng(seed)
    for index in show_progress(range(rounds), "additive", rounds, "rounds"):
        codebooks = refit(vectors, residual.encode(vectors, codebooks, BEAM), codebooks)
        heat = NOISE * max(0.0, 1 - (index + 1) / (QUIET * rounds))
        spread = codebooks.std(axis=1, keepdims=True)
        codebooks = (codebooks + heat * spread * rng.normal(size=codebooks.shape)).astype(np.float32)
    return codebooks


def refit(vectors: np.ndarray, assigned: np.ndarray, codebooks: np.ndarray) -> np.ndarray:
    """The codebooks [levels, codes, d] that decode codes [n, levels] to vectors [n, d] with the least squared error:
    (A'A + ridge) E = A'X + ridge E_old, with A [n, levels x codes] one where an item uses a code.
    """
    levels, codes, width = codebooks.shape
    columns = (assigned + np.arange(levels) * codes).ravel()
    rows = np.repeat(np.arange(len(vectors)), levels)
    uses = csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), shape=(len(vectors), levels * codes))
    old = codebooks.reshape(levels * codes, width).astype(np.float64)
    counts = (uses.T @ uses).toarray().astype(np.float64) + RIDGE * np.eye(levels * codes)
    fitted = np.linalg.solve(counts, (uses.T @ vectors).astype(np.float64) + RIDGE * old)
    return fitted.reshape(codebooks.shape).astype(np.float32)

"""Codes of residual quantizers: an ID is one code a level, a vector is decoded as the sum of its codes.

Codebooks are float32 [levels, codes, d], vectors [n, d], codes int64 [n, levels].
"""

import numpy as np

CHUNK = 2048  # vectors at a time: memory is CHUNK x beam x codes floats, whatever n


def encode(vectors: np.ndarray, codebooks: np.ndarray, beam: int = 1) -> np.ndarray:
    """The codes of every vector, by beam search over levels; beam 1 is greedy: the nearest code of each residual.

    Distances come from inner products that are computed once, |x - sum e|^2 = |x|^2 + |sum e|^2 - 2 x.sum e, so that a
    step of the search touches no vector of d numbers. Collisions are possible, see `assign`.
    """
    parts = [vectors[start : start + CHUNK] for start in range(0, len(vectors), CHUNK)]
    return np.concatenate([search(part, codebooks, beam)[0][:, 0] for part in parts])


def search(vectors: np.ndarray, codebooks: np.ndarray, beam: int, kept: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """The `kept` best codes that the beam ends with, int64 [n, kept, levels], nearest first, and their squared
    distances [n, kept] up to |x|^2; fewer where there are fewer IDs.
    """
    import torch

    levels, codes, width = codebooks.shape
    flat = torch.from_numpy(codebooks).reshape(levels * codes, width)
    products, between = torch.from_numpy(vectors) @ flat.T, flat @ flat.T
    squares = between.diagonal()
    chosen = torch.zeros(len(vectors), 1, 0, dtype=torch.long)  # rows of `flat`
    distance = torch.zeros(len(vectors), 1)
    for level in range(levels):
        block = slice(level * codes, (level + 1) * codes)
        step = (squares[block] - 2 * products[:, block])[:, None]
        for before in chosen.unbind(-1):
            step = step + 2 * between[:, block][before]
        total = (distance[..., None] + step).flatten(1)
        width_now = min(kept if level + 1 == levels else beam, total.shape[1])
        distance, index = total.topk(width_now, largest=False)
        parents = chosen.gather(1, (index // codes)[..., None].expand(-1, -1, level))
        chosen = torch.cat([parents, (index % codes + level * codes)[..., None]], dim=-1)
    return (chosen % codes).numpy(), distance.numpy()


def decode(assigned: np.ndarray, codebooks: np.ndarray) -> np.ndarray:
    """The sum of the codes: vectors [n, d] from codes [n, levels]."""
    return sum(codebook[assigned[:, level]] for level, codebook in enumerate(codebooks))

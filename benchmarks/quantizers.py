"""Time and error of residual quantizers, in one run: ours beside faiss's ResidualQuantizer, 4 levels of 256 codes.

    python benchmarks/quantizers.py --embeddings runs/beauty_ids/embed/embeddings.safetensors  # none: synthetic

Measures how long each takes to reach faiss's error or a lower one; residual k-means with codebooks refitted together
(`additive`) is stopped after different numbers of rounds. Errors are squared, relative to the vectors' energy, before
collisions are resolved. Exit code 1 if ours needs more time than faiss. docs/results/semantic_ids.md has its output.
"""

import argparse
import sys
import time
from functools import partial

import faiss
import numpy as np
from safetensors.numpy import load_file

from gr2.semantic_ids import additive, residual, rkmeans

LEVELS, CODES = 4, 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--embeddings", help="embeddings.safetensors; none: synthetic vectors")
    parser.add_argument("--items", type=int, default=12_000, help="synthetic vectors")
    parser.add_argument("--width", type=int, default=384, help="numbers of a synthetic vector")
    options = parser.parse_args()
    vectors = (
        load_file(options.embeddings)["embeddings"] if options.embeddings else synthetic(options.items, options.width)
    )
    rows = [("faiss ResidualQuantizer", *timed(vectors, faiss_residual_quantizer))]
    rows += [("residual k-means", *timed(vectors, partial(ours, rkmeans.train, 1)))]
    for rounds in (5, 10, 20, 40):
        train = partial(additive.train, rounds=rounds)
        rows += [(f"refitted, {rounds} rounds", *timed(vectors, partial(ours, train, 8)))]
    seconds, error = rows[0][1:]
    print(f"{len(vectors)} vectors of {vectors.shape[1]} numbers")
    print(f"{'':28}{'seconds':>9}{'error':>9}{'time / faiss':>14}{'error / faiss':>15}")
    for name, taken, reached in rows:
        print(f"{name:28}{taken:9.1f}{reached:9.4f}{taken / seconds:14.2f}{reached / error:15.3f}")
    as_good = [(taken, name) for name, taken, reached in rows[1:] if reached <= error]
    if not as_good:
        sys.exit("none reaches faiss's error")
    taken, name = min(as_good)
    print(f"as good as faiss or better: {name}, in {taken / seconds:.2f} of its time")
    sys.exit(taken > seconds)


def synthetic(items: int, width: int) -> np.ndarray:
    """Unit vectors in clusters of clusters, like a catalogue's."""
    rng = np.random.default_rng(0)
    vectors = sum(rng.normal(size=(centres, width))[rng.integers(centres, size=items)] for centres in (50, 500, 5000))
    vectors += rng.normal(size=(items, width))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def timed(vectors: np.ndarray, quantize) -> tuple[float, float]:
    """Seconds of training and encoding, and the relative error."""
    start = time.perf_counter()
    codebooks, codes = quantize(vectors)
    seconds = time.perf_counter() - start
    return seconds, float(((vectors - residual.decode(codes, codebooks)) ** 2).sum() / (vectors**2).sum())


def ours(train, beam: int, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    codebooks = train(vectors, LEVELS, CODES, 0)
    return codebooks, residual.encode(vectors, codebooks, beam)


def faiss_residual_quantizer(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    quantizer = faiss.ResidualQuantizer(vectors.shape[1], LEVELS, 8)
    quantizer.train(vectors)
    codes = quantizer.compute_codes(vectors)  # one byte a level
    return faiss.vector_to_array(quantizer.codebooks).reshape(LEVELS, CODES, -1), codes.astype(np.int64)


if __name__ == "__main__":
    main()

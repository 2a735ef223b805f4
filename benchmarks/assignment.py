"""Codes and unique IDs for 100,000 and 1,000,000 synthetic vectors with a frozen quantizer: seconds, items/s, memory.

    python benchmarks/assignment.py

Each size runs in its own process; memory is the process's peak minus what it held with vectors and quantizer. Exit code
1 if time grows faster than 1.5 times linearly or memory beyond the vectors passes 2 GiB.
docs/results/semantic_ids.md has its output.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from gr2.semantic_ids import rkmeans
from gr2.semantic_ids.assign import assign
from gr2.semantic_ids.quality import uniqueness
from gr2.semantic_ids.quantizer import Quantizer

LEVELS, CODES, SAMPLE = 4, 256, 20_000
LATENT, CENTRES = 16, 5_000  # text vectors fill few of their dimensions, in clusters


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--width", type=int, default=384, help="numbers of a vector")
    parser.add_argument("--one", type=int, help="measure this size, print JSON (what the script starts for each size)")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one, options.width)))
        return
    rows = []
    print(
        f"{'items':>10}{'encode s':>10}{'assign s':>10}{'items/s':>10}{'GiB more':>10}{'unique before':>15}{'after':>9}"
    )
    for size in options.sizes:
        words = [sys.executable, __file__, "--one", str(size), "--width", str(options.width)]
        row = json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
        rows.append(row)
        print(
            f"{size:10}{row['encode']:10.1f}{row['assign']:10.1f}{size / (row['encode'] + row['assign']):10.0f}"
            f"{row['gib']:10.2f}{row['before']:15.4f}{row['after']:9.4f}"
        )
    first, last = rows[0], rows[-1]
    growth = (last["encode"] + last["assign"]) / (first["encode"] + first["assign"])
    linear = options.sizes[-1] / options.sizes[0]
    print(f"time grew {growth:.1f} times for {linear:.0f} times the items")
    sys.exit(growth > 1.5 * linear or last["gib"] > 2)


def measure(items: int, width: int) -> dict:
    rng = np.random.default_rng(0)
    vectors = np.empty((items, width), np.float32)
    spread = rng.standard_normal(size=(LATENT, width), dtype=np.float32)
    centres = rng.standard_normal(size=(CENTRES, LATENT), dtype=np.float32)
    for start in range(0, items, 10_000):  # in place: a second copy would hide later memory
        part = vectors[start : start + 10_000]
        latents = centres[rng.integers(CENTRES, size=len(part))]
        latents += 0.5 * rng.standard_normal(size=latents.shape, dtype=np.float32)
        np.matmul(latents, spread, out=part)
    quantizer = Quantizer("rkmeans", rkmeans.train(vectors[:SAMPLE], LEVELS, CODES, 0), beam=1)
    held = resident()
    start = time.perf_counter()
    encoded = quantizer.encode(vectors)
    middle = time.perf_counter()
    final = assign("minimum", quantizer, vectors, encoded, encoded[:0], 0)
    end = time.perf_counter()
    return {
        "encode": middle - start,
        "assign": end - middle,
        "gib": (peak() - held) / 2**30,
        "before": uniqueness(encoded),
        "after": uniqueness(final),
    }


def resident() -> int:
    """Bytes that the process holds now; Linux."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def peak() -> int:
    """The most bytes that it ever held; Linux."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    main()

"""k-core, order, splits and slates for 1 and 10 million synthetic interactions: seconds, peak memory, growth.

    python benchmarks/prepare.py

Each size and each step runs in its own process, as a user runs it: `gr2 prepare` from the interactions' parquet, then
`gr2 slates` by popularity at every train, valid and test position. Making the synthetic world is not counted. Exit code
1 if the largest size takes more than 60 s or 4 GiB, or time grows faster than 1.5 times linearly.
docs/results/speed.md has its output.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from gr2.data.sources.synthetic import synthetic

EVENTS, ITEMS_A_USER = 40, 0.2  # events a user; items for each user
HEAD = [
    ("events", 13),
    ("users", 9),
    ("items", 8),
    ("positions", 11),
    ("slates", 9),
    ("prepare s", 11),
    ("slates s", 10),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--make", type=int, help="write the world of this size to --folder (what the script starts)")
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    if options.make:
        make(options.make, options.folder)
        return
    totals = []
    print("".join(f"{name:>{width}}" for name, width in HEAD) + f"{'peak GiB':>10}")
    for size in options.sizes:
        with tempfile.TemporaryDirectory() as folder:
            row = measure(size, Path(folder))
        totals.append((row["prepare s"] + row["slates s"], row["gib"]))
        counts = "".join(f"{row[name]:{width},}" for name, width in HEAD[:5])
        print(f"{counts}{row['prepare s']:11.1f}{row['slates s']:10.1f}{row['gib']:10.2f}", flush=True)
    growth, linear = totals[-1][0] / totals[0][0], options.sizes[-1] / options.sizes[0]
    print(f"time grew {growth:.1f} times for {linear:.0f} times the interactions")
    sys.exit(totals[-1][0] > 60 or totals[-1][1] > 4 or growth > 1.5 * linear)


def make(size: int, folder: Path) -> None:
    """At least `size` interactions, cut to `size`; items, interactions in parquet, in random order."""
    users = round(size * 1.25 / EVENTS)
    world = synthetic(users, round(users * ITEMS_A_USER), EVENTS, seed=0)
    kept = world.interactions.sample(size, shuffle=True, seed=0)
    kept.write_parquet(folder / "interactions.parquet")
    world.items(kept["item_id"].unique()).write_parquet(folder / "items.parquet")


def measure(size: int, folder: Path) -> dict:
    subprocess.run([sys.executable, __file__, "--make", str(size), "--folder", str(folder)], check=True)
    files = [f"--{name}={folder}/{name}.parquet" for name in ("items", "interactions")]
    prepared = gr2("prepare", *files, "--output_dir", f"{folder}/prepare")
    files = [f"--{name}={folder}/prepare/{name}.parquet" for name in ("items", "interactions")]
    listed = gr2("slates", *files, "--pre_ranker", "popularity", "--output_dir", f"{folder}/slates")
    summary = json.loads((folder / "prepare/summary.json").read_text())
    splits = json.loads((folder / "slates/slates_report.json").read_text())["splits"].values()
    return summary | {
        "positions": sum(split["positions"] for split in splits),
        "slates": sum(split["slates"] for split in splits),
        "prepare s": prepared["seconds"],
        "slates s": listed["seconds"],
        "gib": max(step["peak_memory_bytes"] for step in (prepared, listed)) / 2**30,
    }


def gr2(*words: str) -> dict:
    """Runs a stage; its manifest."""
    subprocess.run(
        [sys.executable, "-m", "gr2", *words], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    return json.loads(Path(words[-1], "manifest.json").read_text())


if __name__ == "__main__":
    main()

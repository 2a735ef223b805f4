"""Slates, facts, blend, rerank and evaluate for 10 and 100 thousand slates, or a million: seconds and peak memory.

    python benchmarks/scale.py                                  # 10 and 100 thousand
    python benchmarks/scale.py --sizes 10000 100000 1000000     # a million too: some GB of disk

Each step is a command in a process of its own, as a user runs it. The world is `gr2 prepare --source synthetic`; item
vectors are random; lists are item-kNN's, and relevant are a user's next five items, so that two of five positions make
a slate. All slates are of the train split: facts take their levels from it, the blend learns it, and rankings of it are
evaluated. Commands after `slates` read exactly as many slates as the size says; `slates` itself makes some more, and
its time is that of as many. PRM is fitted once, on the smallest size.

Exit code 1 where a step's time a slate is over 1.3 times that at the size before, or where a million slates take five
minutes or 8 GiB to evaluate. Beside the seconds of a command, from its manifest, stand those of its processor: on a
machine that does something else as well, they are what can be compared.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import polars as pl

from gr2.files.embeddings import write_embeddings

STEPS = ("slates", "facts", "fit blend", "rerank blend", "rerank prm", "evaluate")
EVENTS, ITEMS, WIDTH = 40, 1000, 64  # events a user; items; numbers of an item's vector
USERS = 1 / 6  # a slate: seven of a user's positions make one
GROWTH, SECONDS, GIB = 1.3, 300, 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--steps", nargs="+", default=list(STEPS), help="measure these; what they need is made anyway")
    parser.add_argument("--folder", type=Path, help="keep everything here; what is finished is not made again")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        sys.exit(not measure_all(options.sizes, options.steps, options.folder or Path(temporary)))


def measure_all(sizes: list[int], steps: list[str], folder: Path) -> bool:
    """Prints a line for each step of each size. Are all targets met?"""
    print(f"{'slates':>9}  {'step':<14}{'s':>8}{'CPU s':>8}{'GiB':>7}{'us a slate':>12}{'growth':>8}", flush=True)
    met, before = True, {}
    for size in sizes:
        for step, words in commands(size, folder, folder / str(sizes[0]) / "prm").items():
            took = gr2(*words)
            if step not in steps:
                continue
            a_slate = took["seconds"] / took.get("slates", size)
            growth = a_slate / before.get(step, a_slate)
            before[step] = a_slate
            figures = f"{took['seconds']:8.1f}{took['cpu']:8.1f}{took['gib']:7.2f}{1e6 * a_slate:12.0f}{growth:8.2f}"
            print(f"{size:9,}  {step:<14}{figures}", flush=True)
            met &= growth <= GROWTH
            if step == "evaluate" and size >= 1_000_000:
                met &= took["seconds"] < SECONDS and took["gib"] < GIB
    return met


def commands(size: int, folder: Path, prm: Path) -> dict[str, list]:
    """By step its words; makes what the steps read and is none of their work."""
    own = folder / str(size)
    world, files = own / "prepare", ["--items", own / "prepare/items.parquet"]
    shares = ["--train_share", 0.5, "--valid_share", 0, "--test_share", 0]
    drawn = ["--users", round(size * USERS), "--synthetic_items", ITEMS, "--events", EVENTS]
    gr2("prepare", "--source", "synthetic", *drawn, *shares, "--output_dir", world)
    item_ids = pl.read_parquet(world / "items.parquet")["item_id"]
    vectors = np.random.default_rng(0).normal(size=(len(item_ids), WIDTH))
    write_embeddings(own / "embeddings.safetensors", item_ids, vectors)
    known = [*files, "--interactions", world / "interactions.parquet"]
    lists = ["--pre_ranker", "item_knn", "--train_horizon", 5, "--splits", "train"]
    slates = ["slates", *known, *lists, "--output_dir", own / "slates"]
    gr2(*slates)
    cut = own / "cut" / "slates.parquet"
    cut.parent.mkdir(exist_ok=True)
    pl.read_parquet(own / "slates/slates.parquet").head(size).write_parquet(cut)
    featured = [*known, "--embeddings", own / "embeddings.safetensors", "--slates", cut]
    if not prm.exists():
        gr2("fit", "prm", *featured, "--epochs", 1, "--output_dir", prm)
    ranked = ["--split", "train", "--output_dir"]
    systems = [f"{name}={own}/rerank-{name}/rankings.parquet" for name in ("blend", "prm")]
    return {
        "slates": slates,
        "facts": ["facts", *featured, "--output_dir", own / "facts"],
        "fit blend": ["fit", "blend", *featured, "--output_dir", own / "blend"],
        "rerank blend": ["rerank", "--reranker", own / "blend", *featured, *ranked, own / "rerank-blend"],
        "rerank prm": ["rerank", "--reranker", prm, *featured, *ranked, own / "rerank-prm"],
        "evaluate": ["evaluate", *known, "--slates", cut, "--rankings", *systems, *ranked, own / "evaluate"],
    }


def gr2(*words: object) -> dict:
    """Runs a stage that is not finished; seconds, processor seconds, peak memory in GiB of the run that finished it."""
    folder = Path(words[-1])
    record = folder.with_name(f"{folder.name}.json")
    if not record.exists():
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "gr2", *map(str, words)], check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        manifest = json.loads((folder / "manifest.json").read_text())
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        took = {"seconds": manifest["seconds"], "cpu": cpu, "gib": manifest["peak_memory_bytes"] / 2**30}
        if words[0] == "slates":
            took["slates"] = json.loads((folder / "slates_report.json").read_text())["splits"]["train"]["slates"]
        record.write_text(json.dumps(took))
    return json.loads(record.read_text())


if __name__ == "__main__":
    os.environ.setdefault("TQDM_DISABLE", "1")
    main()

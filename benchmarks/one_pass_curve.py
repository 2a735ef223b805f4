"""What do more examples and more parameters give a one-pass language model? Against a control without a language model.

    gr2 run beauty --only prepare embed slates sids facts fit_lambdamart teacher
    python benchmarks/one_pass_curve.py runs/beauty --output curve

Trains `gr2 fit one_pass` on a share of the users' train slates, once for each width of the language model, and once
without one (width 0, `--readout none`). All learn the scores of the teacher (the stage `teacher`) first, then
labels, and rank the same test slates. Prints a table: NDCG@5, the mean over seeds, and the difference from the control
of the same share of users, with its 95 % interval, clustered by user. A finished model is not trained again.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
from safetensors import safe_open

from gr2.api import Ranking, Slate, find_inputs, open_reranker, read_slates
from gr2.arrays import pad
from gr2.evaluation.significance import compare
from gr2.metrics import ndcg

READS = ["--history", 3, "--title_tokens", 5, "--layers", 1, "--heads", 2, "--vocab_size", 2000]
LEARNS = ["--teacher_epochs", 2, "--teacher_temperature", 0.75]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the folder of a run with the stages slates and teacher")
    parser.add_argument("--output", type=Path, required=True, help="a folder for the models")
    parser.add_argument("--widths", type=int, nargs="+", default=[8, 32, 128])
    parser.add_argument("--one_in", type=int, nargs="+", default=[16, 4, 1], help="train on one user in N")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    options = parser.parse_args()
    print(f"{'one in':>7}{'slates':>8}{'width':>7}{'parameters':>12}{'NDCG@5':>8}  by seed, and against the control")
    for one_in in options.one_in:
        slates = options.output / f"slates_{one_in}" / "slates.parquet"
        kept = keep_users(options.run / "slates/slates.parquet", one_in, slates)
        models = {
            width: [options.output / f"one_pass_{one_in}_{width}_{seed}" for seed in options.seeds]
            for width in [0, *options.widths]
        }
        for width, folders in models.items():
            for seed, folder in zip(options.seeds, folders, strict=True):
                fit(options.run, slates, folder, width, seed)
        for width, row in measure(options.run, models).items():
            print(f"{one_in:7}{kept:8,}{width:7}{count_parameters(models[width][0]):12,}{row}", flush=True)


def keep_users(path: Path, one_in: int, output: Path) -> int:
    """Writes all slates but train slates of other users than one in `one_in`; returns how many train slates stay."""
    table = pl.read_parquet(path)
    users = table.filter(pl.col("split") == "train")["user_id"].unique(maintain_order=True)
    kept = table.filter((pl.col("split") != "train") | pl.col("user_id").is_in(users.gather_every(one_in).implode()))
    output.parent.mkdir(parents=True, exist_ok=True)
    kept.write_parquet(output)
    return (kept["split"] == "train").sum()


def fit(run: Path, slates: Path, folder: Path, width: int, seed: int) -> None:
    """A width of 0 is the control."""
    files = vars(find_inputs(run))
    inputs = [word for name in ("items", "interactions", "embeddings") for word in (f"--{name}", files[name])]
    inputs += ["--slates", slates, "--teacher", run / "teacher/rankings.parquet"]
    model = [*READS, "--hidden_size", width] if width else ["--readout", "none"]
    words = ["fit", "one_pass", *inputs, *LEARNS, *model, "--seed", seed, "--output_dir", folder]
    if not (folder / "manifest.json").exists():
        subprocess.run([sys.executable, "-m", "gr2", *map(str, words)], check=True, stdout=subprocess.DEVNULL)


def measure(run: Path, models: dict[int, list[Path]]) -> dict[int, str]:
    """By width the columns of NDCG@5, mean and by seed, and of its difference from width 0, on the run's test slates.

    models: a folder a seed. A slate's value is the mean over seeds.
    """
    slates, inputs = read_slates(run / "slates/slates.parquet", split="test"), find_inputs(run)
    users = np.array([slate.user_id for slate in slates])
    seeds = {
        width: np.array([ndcg_of(slates, open_reranker(str(folder), inputs).rank(slates)) for folder in folders])
        for width, folders in models.items()
    }
    rows, control = {}, seeds[0].mean(0)
    for width, values in seeds.items():
        rows[width] = f"{values.mean():8.3f}  {' '.join(f'{mean:.3f}' for mean in values.mean(1))}"
        if width:
            gain = compare(values.mean(0), control, users, 5000, 0)
            rows[width] += f"  {gain.delta:+.3f} [{gain.ci_low:+.3f}, {gain.ci_high:+.3f}], p = {gain.p_value:.3f}"
    return rows


def ndcg_of(slates: list[Slate], rankings: list[Ranking]) -> np.ndarray:
    """NDCG@5 of each slate."""
    grades = [dict(zip(slate.candidates, slate.labels, strict=True)) for slate in slates]
    ranked = [[grade[item] for item in answer.ranking] for grade, answer in zip(grades, rankings, strict=True)]
    return ndcg(pad(ranked, np.nan), 5)


def count_parameters(folder: Path) -> int:
    with safe_open(folder / "model.safetensors", framework="np") as weights:
        shapes = [weights.get_slice(name).get_shape() for name in weights.keys()]  # noqa: SIM118 - it is no dict
    return sum(int(pl.Series(shape, dtype=pl.Int64).product()) if shape else 1 for shape in shapes)


if __name__ == "__main__":
    main()

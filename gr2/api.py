"""gr2 from Python, for notebooks: read slates, open a reranker, rank, evaluate.

from gr2.api import evaluate, find_inputs, open_reranker, read_slates

slates = read_slates("runs/demo/slates/slates.parquet", split="test")
blend = open_reranker("runs/demo/fit_blend", find_inputs("runs/demo"))
print(evaluate(slates, {"blend": blend.rank(slates)}))

`write_slates` writes slates of your own for `gr2 rerank`.
"""

from pathlib import Path

import numpy as np
import polars as pl

from gr2.arrays import pad
from gr2.errors import InputError
from gr2.evaluation import systems
from gr2.evaluation.significance import Resampling, comparisons, intervals
from gr2.files.artifacts import find_in_stages
from gr2.files.rankings import Ranking
from gr2.files.slates import Slate, read_slates, write_slates
from gr2.metrics import TOP
from gr2.rerankers import open as rerankers
from gr2.rerankers.protocol import Inputs, Reranker, Sampling

__all__ = ["Inputs", "Ranking", "Reranker", "Sampling", "Slate", "evaluate", "find_inputs", "open_reranker",
           "read_slates", "write_slates"]  # fmt: skip


def find_inputs(run: str | Path, **given: str) -> Inputs:
    """The files that rerankers read: those `given`, and the others in the folders of a run's stages. InputError where
    two stages wrote one.
    """
    if not Path(run).is_dir():
        raise InputError(f"{run}: no such folder; expected a run's, which holds its stages' folders")
    names = ("items.parquet", "interactions.parquet", "embeddings.safetensors", "semantic_ids.parquet")
    files = {name.partition(".")[0]: [*map(str, find_in_stages(run, name))] for name in names}
    files |= {name: [path] for name, path in given.items()}
    for name, paths in files.items():
        if len(paths) > 1 or (name == "items" and not paths):
            found = f"found {', '.join(paths) or 'none'}; name it: --{name} FILE, in Python {name}=FILE"
            raise InputError(f"{run}: expected one file of {name} in its stages' folders, {found}")
    return Inputs(**{name: paths[0] for name, paths in files.items() if paths})


def open_reranker(name_or_folder: str, inputs: Inputs, sampling: Sampling | None = None) -> Reranker:
    """A rule by its name; anything else by the kind that its folder says. InputError for a missing input; that of its
    `rank` names the first slate without scores, where it was fitted on some.
    """
    return rerankers.require_scores(rerankers.open_reranker(name_or_folder, inputs, sampling), name_or_folder)


def evaluate(
    slates: list[Slate], rankings: dict[str, list[Ranking]], resamples: int = 5000, seed: int = 0
) -> pl.DataFrame:
    """A row per system, as `gr2 evaluate` measures: each metric of `TOP`, and NDCG@5's interval and difference to the
    input order with interval and p-value, clustered by user. Slates without a relevant item are left out.
    """
    for name, answers in rankings.items():
        for slate, answer in zip(slates, answers, strict=True):
            if sorted(answer.ranking) != sorted(slate.candidates):
                expected = f"expected an order of its candidates, found {answer.ranking}"
                raise InputError(f"{name}: slate_id '{slate.slate_id}': {expected}")
    rows = [row for row, slate in enumerate(slates) if any(slate.labels)]
    table = pl.DataFrame({"candidates": [slates[row].candidates for row in rows]})
    frames = {
        name: [pl.DataFrame({"ranking": [answers[row].ranking for row in rows],
                             "valid": [answers[row].valid for row in rows]})]
        for name, answers in rankings.items()
    }  # fmt: skip
    labels = pad([slates[row].labels for row in rows], np.nan)
    orders = systems.all_orders(table, labels, frames, seed)
    measured = systems.measure_all(labels, orders, frames, TOP.ks)
    values = {name: systems.mean_over_seeds(several) for name, several in measured.items()}
    resampling = Resampling(np.array([slates[row].user_id for row in rows]), resamples, seed)
    low_high = intervals(values, [TOP.headline], resampling)
    differences = {row["system"]: row for row in comparisons(values, [TOP.headline], ["input_order"], resampling)}
    return pl.DataFrame([
        {"system": name}
        | {metric: float(values[name][metric].mean()) for metric in TOP.main}
        | dict(zip(("low", "high"), low_high[name][TOP.headline], strict=True))
        | {key: differences.get(name, {}).get(key) for key in ("delta", "ci_low", "ci_high", "p_value")}
        for name in values
    ])  # fmt: skip

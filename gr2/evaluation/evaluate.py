"""gr2 evaluate: slates + rankings, or interactions + top-K lists -> metrics.json, report.html.

With --slates and --rankings it measures rerankers against the input order; with --interactions, --items and --top_k it
measures pre-rankers over the full catalogue. Intervals and tests are clustered by user.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from gr2.artifacts import read_json, read_lines, write_json, write_text
from gr2.config import arg
from gr2.data.columns import as_id, refuse_rows
from gr2.data.tables import SLATE_SPLITS, read_items, read_rankings, read_semantic_ids, read_slates
from gr2.errors import InputError
from gr2.evaluation import metrics
from gr2.evaluation.significance import compare, mean_interval, number

COMPUTED = ("input_order", "random", "oracle")


@dataclass
class Config:
    output_dir: str = arg(help="folder for metrics.json and report.html")
    slates: str | None = arg(None, "slates.parquet; its slates of --split must have labels")
    rankings: list[str] = arg([], "one or more rerankers, each NAME=FILE with FILE a rankings.parquet")
    interactions: str | None = arg(None, "full catalogue: interactions.parquet of `gr2 prepare`")
    top_k: list[str] = arg(
        [], "full catalogue: one or more pre-rankers, each NAME=FILE with FILE the top_k.parquet of `gr2 slates`"
    )
    split: str = arg("test", "what to measure: train, valid or test")
    items: str | None = arg(None, "items.parquet, to show titles in the example slate; full catalogue: the catalogue")
    semantic_ids: str | None = arg(None, "semantic_ids.parquet, to show semantic IDs in the example slate")
    slates_report: str | None = arg(None, "the slates stage's JSON report, to show how many targets were missed")
    training_log: str | None = arg(None, "the RL stage's JSON-lines log, to show its curves")
    traces: list[str] | None = arg(None, "traces.jsonl files, to show what was accepted and why not")
    resamples: int = arg(5000, "bootstrap resamples and sign flips")
    seed: int = arg(0, "of the resampling and of the random order")

    def __post_init__(self) -> None:
        named_files("rankings", self.rankings)
        named_files("top_k", self.top_k)
        reranking, retrieval = (self.slates, self.rankings), (self.interactions, self.items, self.top_k)
        full = self.interactions or self.top_k  # `items` serves both
        if not ((all(reranking) and not full) or (all(retrieval) and not any(reranking))):
            raise InputError("expected --slates FILE and --rankings NAME=FILE ..., or --interactions FILE, --items FILE and "
                             "--top_k NAME=FILE ...")  # fmt: skip
        if self.split not in SLATE_SPLITS:
            raise InputError(f"--split {self.split}: expected one of {', '.join(SLATE_SPLITS)}")
        if self.resamples < 100:
            raise InputError(f"--resamples {self.resamples}: expected at least 100")


def run(config: Config) -> None:
    if config.top_k:
        evaluate_retrieval(config)
    else:
        evaluate_rankings(config)


def evaluate_retrieval(config: Config) -> None:
    from gr2.evaluation import retrieval, retrieval_report  # matplotlib, jinja2, rich

    lists = named_files("top_k", config.top_k)
    results, curves = retrieval.evaluate(
        config.interactions, config.items, config.split, lists, config.resamples, config.seed
    )
    made = {name: retrieval.making(file) for name, file in lists.items()}
    page = retrieval_report.render(results, curves, made)
    write_json(Path(config.output_dir) / "metrics.json", results)
    write_text(Path(config.output_dir) / "report.html", page)
    retrieval_report.print_table(results)


def evaluate_rankings(config: Config) -> None:
    from gr2.evaluation import report  # matplotlib, jinja2, rich

    titles = dict(read_items(config.items).select("item_id", "title").iter_rows()) if config.items else {}
    item_ids = pl.Series(list(titles), dtype=pl.String) if config.items else None
    sids = read_semantic_ids(config.semantic_ids, item_ids) if config.semantic_ids else None
    slates, unusable = read_split(config.slates, config.split, item_ids)
    rankings = {name: read_rankings(file, slates) for name, file in named_files("rankings", config.rankings).items()}
    background = report.Background(
        titles=titles,
        sids=dict(zip(sids["item_id"], sids["sid"], strict=True)) if sids is not None else {},
        slates_report=read_slates_report(config.slates_report) if config.slates_report else None,
        training_log=read_lines(config.training_log, ("step",)) if config.training_log else [],
        traces=report.trace_table(
            line for file in config.traces or [] for line in read_lines(file, report.TRACE_COLUMNS)
        ),
    )

    labels = metrics.pad(slates["labels"].to_list(), np.nan)
    orders = all_orders(slates, labels, rankings, config.seed)
    values = {name: metrics.measure(labels, order) for name, order in orders.items()}
    results = {
        "split": config.split,
        "slates": len(slates),
        "users": slates["user_id"].n_unique(),
        "slates_without_relevant_item": unusable,
        "systems": {name: summary(values[name], rankings.get(name)) for name in values},
        **significance(values, slates["user_id"].to_numpy(), config.resamples, config.seed),
    }
    changes = {name: values[name]["rank_change"] for name in rankings}
    page = report.render(results, changes, report.example(slates, rankings, changes, background), background)
    write_json(Path(config.output_dir) / "metrics.json", results)
    write_text(Path(config.output_dir) / "report.html", page)
    report.print_table(results)


def named_files(option: str, entries: list[str]) -> dict[str, str]:
    """["NAME=FILE", ...] -> {name: file}; InputError on another form, a repeated name or that of a computed system."""
    files: dict[str, str] = {}
    for entry in entries:
        name, equals, file = entry.partition("=")
        if not (name and equals and file):
            raise InputError(f"--{option} {entry}: expected NAME=FILE")
        if option == "rankings" and name in COMPUTED:
            raise InputError(f"--{option} {entry}: '{name}' is always computed from the slates; choose another name")
        if name in files:
            raise InputError(f"--{option} {entry}: the name '{name}' is given twice")
        files[name] = file
    return files


def read_split(path: str, split: str, item_ids: pl.Series | None) -> tuple[pl.DataFrame, int]:
    """The labelled slates of a split, and how many more were left out because nothing in them is relevant."""
    slates = read_slates(path, item_ids)
    slates = slates.with_columns(as_id(slates, path, "user_id").alias("user_id"))
    labels, chosen = slates["labels"], slates["split"] == split
    refuse_rows(chosen & (labels.list.len() == 0), path, "labels", "labels, without which nothing is measured", labels)
    good = labels.list.eval(pl.element().is_finite() & (pl.element() >= 0)).list.all()
    refuse_rows(chosen & ~good.fill_null(False), path, "labels", "finite labels, 0 or more", labels)
    if not chosen.any():
        raise InputError(f"{path}: column 'split': expected slates of '{split}', found none")
    usable = slates.filter(chosen & (labels.list.max() > 0))
    if usable.is_empty():
        raise InputError(f"{path}: column 'labels': expected a relevant item in some slate of '{split}', found none")
    return usable, int(chosen.sum()) - len(usable)


def read_slates_report(path: str) -> dict:
    """The slates stage's report; `splits` must have `positions`, `missed` and `slates` for each split."""
    content = read_json(path)
    splits = content.get("splits") if isinstance(content, dict) else None
    if not isinstance(splits, dict):
        raise InputError(f"{path}: expected an object with 'splits'")
    for split, counts in splits.items():
        for name in ("positions", "missed", "slates"):
            if not isinstance(counts, dict) or not isinstance(counts.get(name), int):
                raise InputError(f"{path}: splits.{split}.{name}: expected a whole number")
    return content


def all_orders(
    slates: pl.DataFrame, labels: np.ndarray, rankings: dict[str, pl.DataFrame], seed: int
) -> dict[str, np.ndarray]:
    """Each system's order, int [n, K] (see `metrics`): the input order, the given ones, a random and the best one."""
    there = ~np.isnan(labels)
    shuffled = np.argsort(np.where(there, np.random.default_rng(seed).random(labels.shape), np.inf), axis=1)
    best = np.argsort(-labels, axis=1, kind="stable")  # NaN goes last
    return {
        "input_order": np.where(there, np.arange(labels.shape[1]), -1),
        **{name: input_positions(slates, frame) for name, frame in rankings.items()},
        "random": np.where(there, shuffled, -1),
        "oracle": np.where(there, best, -1),
    }


def input_positions(slates: pl.DataFrame, ranking: pl.DataFrame) -> np.ndarray:
    rows = []
    for candidates, ranked in zip(slates["candidates"].to_list(), ranking["ranking"].to_list(), strict=True):
        position = {item: at for at, item in enumerate(candidates)}
        rows.append([position[item] for item in ranked])
    return metrics.pad(rows, -1)


def summary(values: dict[str, np.ndarray], ranking: pl.DataFrame | None) -> dict[str, float | None]:
    """A system's means, its share of unusable answers and, where the file tells, what an answer cost in tokens.

    No wall-clock time: the same slates and answers give the same bytes.
    """
    means = {name: number(np.nanmean(value)) if not np.isnan(value).all() else None for name, value in values.items()}
    means["invalid_rate"] = 0.0 if ranking is None else number(1 - ranking["valid"].mean())
    if ranking is not None and "completion_tokens" in ranking.columns and ranking["completion_tokens"].count():
        means["mean_completion_tokens"] = number(ranking["completion_tokens"].mean())
    return means


def significance(values: dict[str, dict[str, np.ndarray]], users: np.ndarray, resamples: int, seed: int) -> dict:
    """`intervals` of every system and `comparisons` with the input order, and with `blend` where it is there."""
    names = list(values)
    table = np.stack([[values[name][metric] for metric in metrics.MAIN] for name in names]).transpose(2, 0, 1)
    low, high = mean_interval(table, users, resamples, seed)  # of [slates, systems, metrics]
    intervals = {
        name: {metric: [number(low[i, j]), number(high[i, j])] for j, metric in enumerate(metrics.MAIN)}
        for i, name in enumerate(names)
    }
    comparisons = []
    for baseline in [name for name in ("input_order", "blend") if name in names]:
        found = compare(table, table[:, [names.index(baseline)]], users, resamples, seed)
        comparisons += [
            {
                "system": name,
                "baseline": baseline,
                "metric": metric,
                "delta": number(found.delta[i, j]),
                "ci_low": number(found.low[i, j]),
                "ci_high": number(found.high[i, j]),
                "p_value": number(found.p_value[i, j]),
            }
            for i, name in enumerate(names)
            if name not in (baseline, "input_order")
            for j, metric in enumerate(metrics.MAIN)
        ]
    return {"intervals": intervals, "comparisons": comparisons}

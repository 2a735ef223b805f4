"""gr2 evaluate: slates + rankings, or interactions + top-K lists -> metrics.json, report.html.

With --slates and --rankings it measures rerankers against the input order and other baselines, with --interactions too also
by how often a relevant item had been seen before; with --interactions, --items and --top_k it measures pre-rankers over the
full catalogue. Intervals and tests are clustered by user.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from gr2 import metrics
from gr2.data.splits import read_popularity
from gr2.errors import InputError
from gr2.evaluation import systems
from gr2.evaluation.buckets import EVENTS, HISTORY, bucketed, found_first
from gr2.evaluation.inputs import (
    answered_slates,
    kind,
    later_than_first_test,
    log_files,
    named_files,
    ranking_files,
    read_logs,
    read_shown_traces,
    read_slates_report,
    read_split,
)
from gr2.files.artifacts import write_json, write_text
from gr2.files.slates import slates_of
from gr2.files.tables import read_items, read_rankings, read_semantic_ids
from gr2.options.declare import arg

ADVICE = "; --allow_missing true judges the slates that all rankings have"

WRITES = ("metrics.json",)


@dataclass
class Config:
    output_dir: str = arg(help="folder for metrics.json and report.html")
    slates: str | None = arg(None, "slates.parquet; its slates of --split must have labels", path="slates.parquet")
    rankings: list[str] = arg(
        [],
        "one or more rerankers, each NAME=FILE with FILE a rankings.parquet; a name given again is another seed",
        path="rankings.parquet",
    )
    against: list[str] = arg(
        [], "further baselines beside the input order, names of --rankings; none: blend, where it is given"
    )
    interactions: str | None = arg(
        None,
        "interactions.parquet of `gr2 prepare`; with --slates: adds what is found of rare and of unseen items",
        path="interactions.parquet",
    )
    top_k: list[str] = arg(
        [],
        "full catalogue: one or more pre-rankers, each NAME=FILE with FILE the top_k.parquet of `gr2 slates`",
        path="top_k.parquet",
    )
    list_size: int | None = arg(
        None,
        "judge lists of this length: precision, NDCG, MAP and F1 at it are the main metrics, instead of recall and NDCG at 1, 3, 5",
        least=1,
    )
    allow_missing: bool = arg(
        False,
        "judge the slates that all rankings have, and say how many are left out; otherwise a missing one is an error",
    )
    split: Literal["train", "valid", "test"] = arg("test", "what to measure")
    items: str | None = arg(
        None, "items.parquet, to show titles in the example slate; full catalogue: the catalogue", path="items.parquet"
    )
    semantic_ids: str | None = arg(
        None, "semantic_ids.parquet, to show semantic IDs in the example slate", path="semantic_ids.parquet"
    )
    evaluator: str | None = arg(
        None,
        "with --list_size: a folder of `gr2 fit --kind evaluator`; adds HR@1% and HR@10%, agreement with its best lists",
        path=True,
    )
    slates_report: str | None = arg(
        None, "the slates stage's JSON report, to show how many targets were missed", path="slates_report.json"
    )
    training_log: list[str] = arg(
        [],
        "the RL stage's JSON-lines log, to show its curves: FILE, or several NAME=FILE in one picture",
        path="training_log.jsonl",
    )
    traces: list[str] | None = arg(
        None, "traces.jsonl files, to show what was accepted and why not", path="traces.jsonl"
    )
    resamples: int = arg(5000, "bootstrap resamples and sign flips", least=100, most=1_000_000)
    seed: int = arg(0, "of the resampling and of the random order", least=0)

    def __post_init__(self) -> None:
        given = ranking_files(self.rankings)
        named_files("top_k", self.top_k)
        log_files(self.training_log)
        reranking, retrieval = (self.slates, self.rankings), (self.interactions, self.items, self.top_k)
        if not ((all(reranking) and not self.top_k) or (all(retrieval) and not any(reranking))):
            raise InputError("expected --slates FILE and --rankings NAME=FILE ..., or --interactions FILE, --items FILE and "
                             "--top_k NAME=FILE ...")  # fmt: skip
        for position, name in enumerate(self.against):
            if name not in given or name in self.against[:position]:
                raise InputError(
                    f"--against {name}: expected names of --rankings, each once; they are {', '.join(given)}"
                )
        if self.top_k:
            for name in (
                "list_size",
                "semantic_ids",
                "evaluator",
                "slates_report",
                "training_log",
                "traces",
                "allow_missing",
            ):
                if vars(self)[name]:
                    raise InputError(f"--{name}: expected --slates and --rankings beside it, not --top_k")
        if self.evaluator and not (self.list_size and self.items and self.semantic_ids):
            raise InputError("--evaluator: expected --list_size, --items and --semantic_ids beside it")


def run(config: Config) -> None:
    if config.top_k:
        evaluate_retrieval(config)
    else:
        evaluate_rankings(config)


def evaluate_retrieval(config: Config) -> None:
    from gr2.evaluation import retrieval
    from gr2.reports import retrieval as retrieval_report

    lists = named_files("top_k", config.top_k)
    results, curves = retrieval.evaluate(
        config.interactions, config.items, config.split, lists, config.resamples, config.seed
    )
    results["pretrain_later_than_first_test"] = later_than_first_test(config.interactions)
    made = {name: retrieval.making(file) for name, file in lists.items()}
    page = retrieval_report.render(results, curves, made)
    write_json(Path(config.output_dir) / "metrics.json", results)
    write_text(Path(config.output_dir) / "report.html", page)
    retrieval_report.print_table(results)


def evaluate_rankings(config: Config) -> None:
    from gr2.reports import reranking as report

    titles = dict(read_items(config.items).select("item_id", "title").iter_rows()) if config.items else {}
    item_ids = pl.Series(list(titles), dtype=pl.String) if config.items else None
    sids = read_semantic_ids(config.semantic_ids, item_ids) if config.semantic_ids else None
    files = ranking_files(config.rankings)
    labelled, unusable = read_split(config.slates, config.split, item_ids)
    slates, missing = answered_slates(labelled, files) if config.allow_missing else (labelled, {})
    rankings = {name: [read_rankings(file, slates, ADVICE) for file in own] for name, own in files.items()}
    counts = read_popularity(config.interactions) if config.interactions else None
    background = report.Background(
        titles=titles,
        sids=dict(zip(sids["item_id"], sids["sid"], strict=True)) if sids is not None else {},
        slates_report=read_slates_report(config.slates_report) if config.slates_report else None,
        training_logs=read_logs(config.training_log),
        traces=report.trace_table(read_shown_traces(config.traces or [])),
    )

    yardstick = metrics.of_lists(config.list_size) if config.list_size else metrics.TOP
    labels, users = metrics.pad(slates["labels"].to_list(), np.nan), slates["user_id"].to_numpy()
    if config.list_size and config.list_size > labels.shape[1]:
        raise InputError(
            f"--list_size {config.list_size}: expected at most {labels.shape[1]}, the size of the largest slate"
        )
    orders = systems.all_orders(slates, labels, rankings, config.seed)
    valid = {name: [frame["valid"].to_numpy() for frame in own] for name, own in rankings.items()}
    seeds = {name: [metrics.measure(labels, order, own_valid, yardstick.ks)
                    for order, own_valid in zip(own, valid.get(name, [np.ones(len(slates), bool)]), strict=True)]
             for name, own in orders.items()}  # fmt: skip
    about = {}
    if config.evaluator:
        yardstick, about = agreed(config, slates_of(slates), orders, seeds, yardstick)
    values = {name: systems.over_seeds(own) for name, own in seeds.items()}
    summaries = {name: [systems.summary(value, frame) for value, frame in zip(own, rankings.get(name, [None]), strict=True)]
                 for name, own in seeds.items()}  # fmt: skip
    results = {
        "split": config.split,
        "slates": len(slates),
        "users": slates["user_id"].n_unique(),
        "slates_without_relevant_item": unusable,
        "slates_left_out": len(labelled) - len(slates),
        "missing": missing,
        "pretrain_later_than_first_test": later_than_first_test(config.interactions) if config.interactions else None,
        "kinds": {name: kind(name, files[name][0], own[0]) for name, own in rankings.items()},
        "systems": {name: systems.mean_summary(own) for name, own in summaries.items()},
        "seeds": {name: systems.by_seed(own) for name, own in summaries.items() if len(own) > 1},
        **systems.significance(values, yardstick.main, baselines(config), users, config.resamples, config.seed),
        "buckets": in_buckets(config, slates, labels, orders, values, yardstick, counts),
        **about,
    }
    changes = {name: [own["rank_change"] for own in seeds[name]] for name in rankings}
    page = report.render(results, yardstick, changes, report.example(slates, rankings, changes, background), background)
    write_json(Path(config.output_dir) / "metrics.json", results)
    write_text(Path(config.output_dir) / "report.html", page)
    report.print_table(results, yardstick)


def in_buckets(
    config: Config, slates: pl.DataFrame, labels: np.ndarray, orders: dict[str, list[np.ndarray]],
    values: dict[str, systems.Values], yardstick: metrics.Yardstick, counts: dict[str, int] | None,
) -> dict[str, dict]:  # fmt: skip
    """The headline by the length of the history; with `counts`, events by item, also which relevant items are found by theirs."""
    users, options = slates["user_id"].to_numpy(), (config.resamples, config.seed)
    lengths = slates["history"].list.len().to_numpy()
    headlines = {name: own[yardstick.headline] for name, own in values.items()}
    found = {"history": bucketed(lengths, HISTORY, headlines, yardstick.headline, users, *options)}
    if counts is not None:
        relevant, k = labels > 0, yardstick.ks[-1]
        rows, places = np.nonzero(relevant)
        candidates = slates["candidates"].to_list()
        seen = np.array([counts.get(candidates[row][place], 0) for row, place in zip(rows, places, strict=True)])
        hits = {name: found_first(own, relevant, k) for name, own in orders.items()}
        found["events"] = bucketed(seen, EVENTS, hits, f"found@{k}", users[rows], *options)
    return found


def agreed(
    config: Config, slates: list[dict], orders: dict[str, list[np.ndarray]], seeds: dict[str, list[systems.Values]],
    yardstick: metrics.Yardstick,
) -> tuple[metrics.Yardstick, dict[str, dict]]:  # fmt: skip
    """Adds hr@1% and hr@10% to what is measured of every seed; returns the yardstick with the first, and `agreement`."""
    from gr2.data.catalogue import read_catalogue
    from gr2.evaluation import agreement

    catalogue = read_catalogue(config.items, config.semantic_ids)
    flat = [order for own in orders.values() for order in own]
    shares, about = agreement.better_shares(slates, flat, config.evaluator, catalogue, config.list_size, config.seed)
    for measured, share in zip((own for several in seeds.values() for own in several), shares, strict=True):
        measured["hr@1%"], measured["hr@10%"] = (share < 0.01).astype(float), (share < 0.1).astype(float)
    return replace(yardstick, main=(*yardstick.main, "hr@1%")), {"agreement": {"evaluator": config.evaluator, **about}}


def baselines(config: Config) -> list[str]:
    """What every system is compared with: the input order, and those asked for, or the blend where it is given."""
    given = ranking_files(config.rankings)
    return ["input_order", *(config.against or [name for name in ("blend",) if name in given])]

"""gr2 evaluate: slates + rankings -> metrics.json, report.html.

Measures rerankers against the input order and other baselines; with --interactions also by how often a relevant item
occurs in the pretrain events. Intervals and tests are clustered by user.
"""

from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np

from gr2.arrays import pad_lists
from gr2.data.catalogue import read_catalogue
from gr2.data.splits import measure_later_share, popularity
from gr2.errors import InputError
from gr2.evaluation import cost, counterfactual, coverage, inputs, origin, systems
from gr2.evaluation.buckets import measure_slate_buckets
from gr2.evaluation.kinds import find_kind
from gr2.evaluation.robustness import measure_robustness
from gr2.evaluation.significance import Resampling, comparisons, intervals
from gr2.evaluation.ties import measure_ties
from gr2.files.artifacts import write_json, write_text
from gr2.files.items import read_items
from gr2.files.rankings import read_rankings
from gr2.files.semantic_ids import read_semantic_ids
from gr2.files.slates import slates_of
from gr2.options.declare import arg
from gr2.rerankers.origin import refuse_earlier_slates
from gr2.stages.shared import EvaluationOptions

WRITES = ("metrics.json", "report.html")
ADVICE = "; --allow_missing true judges the slates that all rankings have"


@dataclass(kw_only=True)
class Config(EvaluationOptions):
    output_dir: str = arg(help="folder for metrics.json and report.html")
    slates: str = arg(help="slates.parquet; its slates of --split must have labels", path="slates.parquet")
    rankings: list[str] = arg(
        help="one or more rerankers, each NAME=FILE with FILE a rankings.parquet; a repeated name is another seed",
        path="rankings.parquet",
    )
    against: list[str] = arg(
        [],
        "more baselines, as names from --rankings; the input order and the best learned reranker without a language "
        "model always are. Default: blend if given, unless the rankings hold both a language model and such a reranker",
    )
    interactions: str | None = arg(
        None,
        "interactions.parquet of `gr2 prepare`; adds how many rare and how many unseen relevant items are found",
        path="interactions.parquet",
    )
    list_size: int | None = arg(
        None, "judge lists of this length: precision, NDCG, MAP and F1 there are the main metrics", least=1
    )
    least_propensity: float = arg(
        0.01, "of slates with propensities: smaller ones count as this in the IPS and SNIPS estimates", above=0, most=1
    )
    allow_missing: bool = arg(
        False, "judge the slates that all rankings have, and count the others; by default a missing one is an error"
    )
    items: str | None = arg(None, "items.parquet, to show titles in the example slates", path="items.parquet")
    semantic_ids: str | None = arg(
        None, "semantic_ids.parquet, to show semantic IDs in the example slates", path="semantic_ids.parquet"
    )
    evaluator: str | None = arg(
        None,
        "with --list_size: a folder of `gr2 fit evaluator`; adds HR@1% and HR@10%, agreement with its best lists",
        path=True,
    )
    embeddings: str | None = arg(
        None,
        "embeddings.safetensors, for an --evaluator that reads features, as --interactions",
        path="embeddings.safetensors",
    )
    slates_report: str | None = arg(
        None, "JSON report of `gr2 slates`, to show how many targets were missed", path="slates_report.json"
    )
    training_log: list[str] = arg(
        [],
        "the RL stage's JSON-lines log, to show its curves: FILE, or several NAME=FILE in one picture",
        path="training_log.jsonl",
    )
    traces: list[str] | None = arg(
        None, "traces.jsonl files, to show how many were accepted and why others were not", path="traces.jsonl"
    )

    def __post_init__(self) -> None:
        names = list(inputs.ranking_files(self.rankings))
        inputs.log_files(self.training_log)
        if not names:
            raise InputError("--rankings: expected one or more NAME=FILE")
        for index, name in enumerate(self.against):
            if name not in names or name in self.against[:index]:
                known = ", ".join(names)
                raise InputError(f"--against {name}: expected names of --rankings, each once; they are {known}")
        if self.evaluator and not (self.list_size and self.items and self.semantic_ids):
            raise InputError("--evaluator: expected --list_size, --items and --semantic_ids beside it")


def run(config: Config) -> None:
    """Reads slates, rankings and what the report shows; writes metrics.json and report.html; prints a table."""
    from gr2.reports import reranking as report
    from gr2.reports.examples import describe_examples
    from gr2.reports.trace_table import trace_table
    from gr2.reports.verdict import find_leader

    # read
    items = read_items(config.items) if config.items else None
    item_ids = items["item_id"] if config.items else None
    sids = read_semantic_ids(config.semantic_ids, item_ids) if config.semantic_ids else None
    files = inputs.ranking_files(config.rankings)
    labelled, others = inputs.read_split(config.slates, config.split, item_ids)
    refuse_earlier_slates(chain(*files.values()), config.slates)
    slates, missing = inputs.select_answered(labelled, files) if config.allow_missing else (labelled, {})
    unclicked = inputs.keep_answered(others, files) if config.allow_missing else others
    rankings = {name: [read_rankings(file, slates, ADVICE) for file in seeds] for name, seeds in files.items()}
    events = inputs.read_split_events(config.interactions) if config.interactions else None
    reported = config.slates_report, config.split, len(labelled)
    slates_report = inputs.read_slates_report(*reported) if config.slates_report else None
    background = report.ReportContext(
        titles=dict(items.select("item_id", "title").iter_rows()) if config.items else {},
        sids=dict(sids.select("item_id", "sid").iter_rows()) if config.semantic_ids else {},
        slates_report=slates_report,
        training_logs=inputs.read_logs(config.training_log),
        traces=trace_table(inputs.read_shown_traces(config.traces or [])),
        prepared=origin.read_prepared(config.interactions),
        stages=origin.find_stages([file for seeds in files.values() for file in seeds]),
    )
    # measure
    labels = pad_lists(slates["labels"], np.nan)
    yardstick = systems.choose_yardstick(config.list_size, labels)
    orders = systems.all_orders(slates, labels, rankings, config.seed)
    seeds = systems.measure_all(labels, orders, rankings, yardstick.ks)
    agreement = {}
    if config.evaluator:
        from gr2.evaluation.agreement import better_shares
        from gr2.rerankers.degre.judge import open_judge

        known = read_catalogue(config.items, config.semantic_ids)
        judge = open_judge(config.evaluator, known, (config.items, config.interactions, config.embeddings))
        lists = list(chain(*orders.values()))
        shares, about = better_shares(slates_of(slates), lists, judge, known, config.list_size, config.seed)
        systems.add_agreement(seeds, shares)
        yardstick = replace(yardstick, main=(*yardstick.main, "hr@1%"))
        agreement = {"agreement": {"evaluator": config.evaluator, **about}}
    values = {name: systems.mean_over_seeds(several) for name, several in seeds.items()}
    # compare
    resampling = Resampling(slates["user_id"].rank("dense").to_numpy(), config.resamples, config.seed)
    kinds = {name: find_kind(name, files[name][0], several[0]) for name, several in rankings.items()}
    strongest = systems.strongest_reranker(kinds, values, yardstick.headline)
    led = strongest and "language model" in kinds.values()
    against = config.against or [name for name in files if name == "blend" and not led]
    baselines = list(dict.fromkeys(["input_order", *against, *([strongest] if strongest else [])]))
    counts = popularity(events) if events is not None else None
    summaries = systems.summarize_systems(seeds, rankings)
    bounds = intervals(values, yardstick.main, resampling)
    ceiling = None if missing else coverage.recall_ceiling(slates_report, config.split)  # of all slates
    catalogue = len(items) if config.items else None
    costs = cost.measure_costs(files, rankings)
    headlines = {name: summary[yardstick.headline] for name, summary in summaries["systems"].items()}
    results = {
        "split": config.split,
        "slates": len(slates),
        "users": slates["user_id"].n_unique(),
        "slates_without_relevant_item": len(others),
        "slates_left_out": len(labelled) - len(slates),
        "missing": missing,
        "pretrain_later_than_first_test": measure_later_share(events) if events is not None else None,
        "kinds": kinds,
        "against": against,
        "strongest_reranker": strongest,
        **summaries,
        "intervals": bounds,
        "comparisons": comparisons(values, yardstick.main, baselines, resampling),
        "buckets": measure_slate_buckets(slates, labels, orders, values, yardstick, counts, resampling),
        "end_to_end": coverage.end_to_end(summaries["systems"], bounds, yardstick.main, ceiling),
        "coverage": coverage.catalogue_coverage(slates["candidates"], orders, yardstick.ks[-1], catalogue),
        "ties": measure_ties(rankings, orders, labels, yardstick.ks[-1]),
        "robustness": measure_robustness(files, rankings, slates, resampling),
        "costs": costs,
        "frontier": cost.find_frontier(headlines, costs, headlines["input_order"]),
        **agreement,
    }
    if "propensities" in slates.columns:
        logged = slates, unclicked, labels, orders, yardstick.ks[-1]
        results["counterfactual"] = counterfactual.estimate(*logged, config.least_propensity, resampling)
    # write
    changes = {name: [one["rank_change"] for one in seeds[name]] for name in rankings}
    leader = find_leader(results, yardstick.headline)
    examples = describe_examples(slates, rankings, changes, leader, background.titles, background.sids)
    page = report.render(results, yardstick, changes, examples, background)
    write_json(Path(config.output_dir) / "metrics.json", results)
    write_text(Path(config.output_dir) / "report.html", page)
    report.print_table(results, yardstick)

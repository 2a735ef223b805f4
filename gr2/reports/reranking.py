"""The report of a reranking evaluation: `report.html` (one file, no scripts), and the table on the terminal."""

from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from gr2.evaluation.systems import COMPUTED
from gr2.metrics import Yardstick
from gr2.reports import figures
from gr2.reports.cost_picture import cost_picture
from gr2.reports.render import fixed, render_page, signed
from gr2.reports.slate_counts import tabulate_counts
from gr2.reports.terminal import print_counterfactual, print_sentences, print_systems
from gr2.reports.verdict import additions, headline

LETTERS = {"recall": "R", "ndcg": "N", "precision": "P", "map": "MAP", "f1": "F1", "hr": "HR"}


@dataclass(frozen=True)
class ReportContext:
    """What a report can show besides metrics; every part may be empty."""

    titles: dict[str, str]  # by item id
    sids: dict[str, str]  # by item id
    slates_report: dict | None
    training_logs: dict[str, list[dict]]  # by name
    traces: list[dict]  # rows of `trace_table.trace_table`
    prepared: dict | None  # summary.json of gr2 prepare
    stages: list[dict]  # of `origin.find_stages`


def render(
    results: dict,
    yardstick: Yardstick,
    changes: dict[str, list[np.ndarray]],
    examples: dict,
    background: ReportContext,
) -> str:
    """The page. `results`: the content of metrics.json; `changes`: rank change [n] by system, one a seed; `examples`:
    of `describe_examples`.
    """
    names, main = list(results["systems"]), yardstick.main
    shown_metrics = [f"{name}@{k}" for name in ("recall", "ndcg", "precision", "map", "f1") for k in yardstick.ks]
    if "agreement" in results:
        shown_metrics.append("hr@10%")
    only_models = {name: cost for name, cost in results["costs"].items() if results["kinds"][name] == "language model"}
    pictures = {
        "bars": figures.metric_bars(results["systems"], results["intervals"], main, results["kinds"]),
        "changes": figures.rank_change_histograms({name: np.concatenate(seeds) for name, seeds in changes.items()}),
        "costs": cost_picture(results, yardstick.headline),
        "curves": figures.training_curves(background.training_logs),
    }
    return render_page(
        "reranking.html.j2",
        results=results,
        computed=COMPUTED,
        bucket_heads=bucket_heads,
        headline=headline(results, yardstick.headline),
        additions=additions(results, yardstick.headline),
        untimed=[name for name, cost in results["costs"].items() if cost["ms"] is None],
        machines=names_by(results["costs"], "hardware"),
        batches=names_by(only_models, "batch_size"),
        left_out=left_out(results),
        yardstick=yardstick,
        main=main,
        more=[metric for metric in shown_metrics if metric not in main] + ["auc"],
        best={metric: max(results["systems"][name][metric] for name in names if name != "oracle") for metric in main},
        baselines=list(dict.fromkeys(row["baseline"] for row in results["comparisons"])),
        seeds=seed_rows(results, main),
        compared={(row["system"], row["baseline"], row["metric"]): row for row in results["comparisons"]},
        pictures=pictures,
        examples=examples,
        background=background,
        slate_counts=tabulate_counts(background.slates_report),
    )


def names_by(costs: dict[str, dict], key: str) -> dict[object, list[str]]:
    """The systems with each value of `key`; not those without one."""
    values = dict.fromkeys(cost[key] for cost in costs.values() if cost[key] is not None)
    return {value: [name for name, cost in costs.items() if cost[key] == value] for value in values}


def bucket_heads(buckets: dict[str, dict], sized: str, counted: str) -> list[Markup]:
    """Column heads such as `1-5 items / 3 slates`."""
    return [Markup(f"{size} {sized}<br>{bucket['count']} {counted}") for size, bucket in buckets.items()]


def seed_rows(results: dict, main: tuple[str, ...]) -> list[dict]:
    """For each system of several seeds and each main metric: mean, sample standard deviation and each seed's figure."""
    return [
        {"system": name, "metrics": {metric: measure_spread(values[metric]) for metric in (*main, "identity_rate")}}
        for name, values in results["seeds"].items()
    ]


def measure_spread(values: list[float | None]) -> dict:
    """Mean and standard deviation; None where a seed has no value, such as an identity rate without a valid answer."""
    if None in values:
        return {"mean": None, "sd": None, "values": values}
    return {"mean": float(np.mean(values)), "sd": float(np.std(values, ddof=1)), "values": values}


def print_table(results: dict, yardstick: Yardstick) -> None:
    """The main metrics, of the NDCGs one, and the gain over the input order, at most 80 columns wide."""
    metrics = [metric for metric in yardstick.main if not metric.startswith("ndcg")] + [yardstick.headline]
    ndcg = abbreviate(yardstick.headline)
    gains = {
        row["system"]: f"{signed(row['delta'])} [{signed(row['ci_low'])}, {signed(row['ci_high'])}]"
        for row in results["comparisons"]
        if row["baseline"] == "input_order" and row["metric"] == yardstick.headline
    }
    rows = {}
    for name, system in results["systems"].items():
        shares = fixed(system["identity_rate"], 2), fixed(system["invalid_rate"], 2)
        rows[name] = [*(fixed(system[metric]) for metric in metrics), *shares, gains.get(name, "")]
    title = f"{results['slates']} {results['split']} slates of {results['users']} users"
    print_systems(title, [*map(abbreviate, metrics), "copied", "invalid", f"{ndcg} gain [95 %]"], rows)
    sentences = []
    for row in seed_rows(results, yardstick.main):
        spread = row["metrics"][yardstick.headline]
        mean, values = f"{fixed(spread['mean'])} ± {fixed(spread['sd'])}", ", ".join(map(fixed, spread["values"]))
        sentences.append(f"{row['system']}: {ndcg} {mean} over seeds ({values})")
    first, added = headline(results, yardstick.headline), additions(results, yardstick.headline)
    verdicts = [first["text"], first["more"], added["text"] if added else ""]
    print_sentences([*sentences, *left_out(results), *filter(None, verdicts)])
    if "counterfactual" in results:
        print_counterfactual(results["counterfactual"])


def left_out(results: dict) -> list[str]:
    """Sentences on the slates that the figures leave out."""
    sentences = []
    if results["slates_without_relevant_item"]:
        sentences.append(
            f"{results['slates_without_relevant_item']} more slates have no relevant candidate and are left out: no "
            "order of theirs is better than another."
        )
    if results["slates_left_out"]:
        missing = ", ".join(f"{count} by {name}" for name, count in results["missing"].items())
        sentences.append(
            f"{results['slates_left_out']} more slates are left out, as some rankings have no answer to them "
            f"({missing}); those that are left may be easier or harder."
        )
    return sentences


def abbreviate(metric: str) -> str:
    """`recall@5` -> `R@5`."""
    name, k = metric.split("@")
    return f"{LETTERS[name]}@{k}"

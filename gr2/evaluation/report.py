"""What a reader sees of an evaluation: `report.html` (one file, no scripts) and the table on the terminal."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from gr2.evaluation import figures
from gr2.evaluation.metrics import KS, MAIN
from gr2.page.render import fixed, p_value, render_page, signed
from gr2.semantic_ids.tokens import BEGIN, END

HEADLINE = "ndcg@5"
# Not learned to rerank, so never the system that the headline is about.
REFERENCES = ("input_order", "random", "oracle", "blend", "popularity")
TRACE_COLUMNS = ("slate_id", "mode", "accepted", "reason", "completion_tokens", "teacher")


@dataclass(frozen=True)
class Background:
    """What a report can show besides metrics; each part may be empty."""

    titles: dict[str, str]  # by item id
    sids: dict[str, str]  # by item id
    slates_report: dict | None
    training_log: list[dict]
    traces: list[dict]  # rows of `trace_table`


def render(results: dict, changes: dict[str, np.ndarray], shown: dict | None, background: Background) -> str:
    """The page. `results`: the content of metrics.json; `changes`: rank change [n] by system; `shown`: an `example`."""
    names = list(results["systems"])
    pictures = {
        "bars": figures.metric_bars(results["systems"], results["intervals"]),
        "changes": figures.rank_change_histograms(changes),
        "curves": figures.training_curves(background.training_log),
    }
    return render_page(
        Path(__file__).with_name("report.html.j2"),
        results=results,
        headlines=headlines(results),
        main=MAIN,
        more=[f"{name}@{k}" for name in ("precision", "map", "f1") for k in KS] + ["auc"],
        best={metric: max(results["systems"][name][metric] for name in names if name != "oracle") for metric in MAIN},
        baselines=[name for name in ("input_order", "blend") if name in names],
        compared={(row["system"], row["baseline"], row["metric"]): row for row in results["comparisons"]},
        pictures=pictures,
        example=shown,
        background=background,
    )


def headlines(results: dict) -> list[dict[str, str]]:
    """The verdict against the input order and, where it is there, against the blend."""
    return [headline(results, baseline) for baseline in ("input_order", "blend") if baseline in results["systems"]]


def headline(results: dict, baseline: str) -> dict[str, str]:
    """Whether the best learned system beats `baseline` on NDCG@5: a `tone` (good, bad, open) and the `text`."""
    systems = results["systems"]
    given = [name for name in systems if name not in ("input_order", "random", "oracle", baseline)]
    learned = [name for name in given if name not in REFERENCES] or given
    if not learned:
        return {"tone": "open", "text": f"No system was given to compare with {baseline}."}
    best = max(learned, key=lambda name: systems[name][HEADLINE])
    row = next(
        row
        for row in results["comparisons"]
        if (row["system"], row["baseline"], row["metric"]) == (best, baseline, HEADLINE)
    )
    against = "the input order" if baseline == "input_order" else baseline
    if row["ci_low"] is None:
        tone, verdict = "open", f"cannot be judged against {against}: all slates are one user's"
    elif row["ci_low"] > 0:
        tone, verdict = "good", f"beats {against}"
    elif row["ci_high"] < 0:
        tone, verdict = "bad", f"is worse than {against}"
    else:
        tone, verdict = "open", f"does not beat {against}: the difference cannot be told from chance"
    text = (
        f"{best} {verdict}. NDCG@5 {fixed(systems[best][HEADLINE])} against {fixed(systems[baseline][HEADLINE])}: "
        f"{signed(row['delta'])}{gain(row['delta'], systems[baseline][HEADLINE])}"
    )
    if row["ci_low"] is not None:
        text += f", 95 % interval {signed(row['ci_low'])} to {signed(row['ci_high'])}, {p_value(row['p_value'])}"
    invalid = systems[best]["invalid_rate"]
    if invalid > 0 and baseline == "input_order":
        text += f". {100 * invalid:.0f} % of its answers were unusable; there the input order stands"
    if len(learned) > 1 and baseline == "input_order":
        text += f". It is the best of {len(learned)} systems on these very slates, which flatters it a little"
    return {"tone": tone, "text": text + "."}


def trace_table(lines: Iterable[dict]) -> list[dict]:
    """Rows by (mode, teacher) of trace lines: how many samples, slates, accepted ones, mean tokens, reasons why not."""
    groups: dict[tuple[str, str], list[dict]] = {}
    for line in lines:
        key = (str(line["mode"]), str(line["teacher"]))
        groups.setdefault(key, []).append({name: line[name] for name in TRACE_COLUMNS})
    return [
        {
            "mode": mode,
            "teacher": teacher,
            "samples": len(group),
            "slates": len({line["slate_id"] for line in group}),
            "accepted": sum(bool(line["accepted"]) for line in group),
            "slates_accepted": len({line["slate_id"] for line in group if line["accepted"]}),
            "tokens": float(np.mean([line["completion_tokens"] or 0 for line in group])),
            "reasons": Counter(str(line["reason"]) for line in group if not line["accepted"]).most_common(),
        }
        for (mode, teacher), group in sorted(groups.items())
    ]


def example(
    slates: pl.DataFrame, rankings: dict[str, pl.DataFrame], changes: dict[str, np.ndarray], background: Background
) -> dict | None:
    """The slate whose relevant item the last system with `reasoning` promoted most (the first of equals)."""
    reasoned = [name for name, frame in rankings.items() if "reasoning" in frame.columns]
    if not reasoned:
        return None
    name = reasoned[-1]
    told = (rankings[name]["valid"] & (rankings[name]["reasoning"].cast(pl.String).fill_null("") != "")).to_numpy()
    if not told.any():
        return None
    row = int(np.argmax(np.where(told, changes[name], -np.inf)))
    slate, answer = slates.row(row, named=True), rankings[name].row(row, named=True)
    label = dict(zip(slate["candidates"], slate["labels"], strict=True))
    history = slate["history"][-10:]

    def item(item_id: str) -> dict[str, str]:
        sid = background.sids.get(item_id, "")
        return {"title": background.titles.get(item_id) or item_id, "sid": sid.removeprefix(BEGIN).removesuffix(END)}

    return {
        "system": name,
        "slate_id": slate["slate_id"],
        "change": int(changes[name][row]),
        "history": [item(item_id) for item_id in history],
        "earlier": len(slate["history"]) - len(history),
        "candidates": [
            {**item(item_id), "before": slate["candidates"].index(item_id) + 1, "after": after, "label": label[item_id]}
            for after, item_id in enumerate(answer["ranking"], start=1)
        ],
        "reasoning": answer["reasoning"],
    }


def print_table(results: dict) -> None:
    """The main metrics and the gain over the input order, at most 80 columns wide."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(
        title=f"{results['slates']} {results['split']} slates of {results['users']} users",
        box=None,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    table.add_column("system", overflow="ellipsis", max_width=16)
    for column in ("R@1", "R@3", "R@5", "N@5", "copied", "invalid", "N@5 gain [95 %]"):
        table.add_column(column, justify="right", no_wrap=True)
    gains = {
        row["system"]: f"{signed(row['delta'])} [{signed(row['ci_low'])}, {signed(row['ci_high'])}]"
        for row in results["comparisons"]
        if row["baseline"] == "input_order" and row["metric"] == HEADLINE
    }
    for name, system in results["systems"].items():
        shown = [fixed(system[metric]) for metric in ("recall@1", "recall@3", "recall@5", HEADLINE)]
        shares = [fixed(system[metric], 2) for metric in ("identity_rate", "invalid_rate")]
        table.add_row(escape(name), *shown, *shares, escape(gains.get(name, "")))
    console = Console(highlight=False)
    console.print(table)
    for line in headlines(results):
        console.print(escape(line["text"]))


def gain(delta: float, base: float) -> str:
    """` (+2.6 %)`, nothing where the baseline is 0."""
    return f" ({signed(100 * delta / base, 1)} %)" if base else ""

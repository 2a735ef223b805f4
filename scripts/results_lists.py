"""Rows and table of an evaluation of lists (`gr2 evaluate --list_size`), with what fitting and answering cost."""

import json
from pathlib import Path

NAMES = ("precision", "ndcg", "map", "f1", "hr")
COSTS = {"fit_seconds": "training_seconds", "ms_a_slate": "ms"}  # by the names in metrics.json, see evaluation/cost.py
COUNTED = (
    "Fit: all stages that made the reranker, except those that all systems share, such as data and slates. "
    "Ms a slate: in batches, without loading. Both are means over seeds."
)
COUNTED_BEFORE = (  # of rows without `whole`
    "Fit: the last stage alone. Ms a slate: the whole stage's time, with loading and all else that it asked, over the "
    "test slates."
)


def measured(folder: Path) -> tuple[list[dict], int]:
    """Rows of an evaluation, and its slates. A row of costs has `whole`: whether every stage's record was found."""
    metrics, rows = json.loads((folder / "metrics.json").read_text()), []
    for system, values in metrics["systems"].items():
        for metric, value in values.items():
            low, high = metrics["intervals"][system].get(metric, (None, None))
            rows.append(
                {"system": system, "metric": metric, "value": value, "ci_low": low, "ci_high": high, "baseline": None}
            )
        costs = metrics["costs"].get(system, {})
        for metric, name in COSTS.items():
            if costs.get(name) is not None:
                rows.append(
                    {
                        "system": system,
                        "metric": metric,
                        "value": round(costs[name], 3),
                        "ci_low": None,
                        "ci_high": None,
                        "baseline": None,
                        "whole": costs["whole"],
                    }
                )
    for entry in metrics["comparisons"]:
        found = {name: entry[name] for name in ("system", "metric", "ci_low", "ci_high", "baseline", "p_value")}
        rows.append(found | {"value": entry["delta"]})
    for name in ("evaluator_auc", "evaluator_calibration_error"):
        if "agreement" in metrics:
            rows.append(
                {
                    "system": "evaluator",
                    "metric": name,
                    "value": round(metrics["agreement"][name], 4),
                    "ci_low": None,
                    "ci_high": None,
                    "baseline": None,
                }
            )
    return rows, metrics["slates"]


def table(rows: list[dict]) -> str:
    """Systems x metrics with intervals, the difference to the input order on the first, and costs."""
    value = {(row["system"], row["metric"], row["baseline"]): row for row in rows}
    known = dict.fromkeys(row["metric"] for row in rows if row["ci_low"] is not None)
    main = [metric for name in NAMES for metric in known if metric.split("@")[0] == name]
    systems = [system for system in dict.fromkeys(row["system"] for row in rows) if system != "evaluator"]
    lines = [
        "| system | "
        + " | ".join(short(metric) for metric in main)
        + f" | {short(main[0])} against the input order | fit, s | ms a slate |",
        "|---" * (len(main) + 4) + "|",
    ]
    for system in systems:
        found = [value[system, metric, None] for metric in main]
        cells = [f"{row['value']:.3f} [{row['ci_low']:.3f}, {row['ci_high']:.3f}]" for row in found]
        gain = value.get((system, main[0], "input_order"))
        cells.append(f"{gain['value']:+.3f} [{gain['ci_low']:+.3f}, {gain['ci_high']:+.3f}]" if gain else "")
        for metric, digits in zip(COSTS, (0, 2), strict=True):
            cost = value.get((system, metric, None))
            cells.append(f"{cost['value']:.{digits}f}" if cost else "")
        lines.append(f"| {system} | " + " | ".join(cells) + " |")
    first, quality = rows[0], value.get(("evaluator", "evaluator_auc", None))
    about = (
        f" Evaluator: AUC {quality['value']:.3f}, calibration error "
        f"{value['evaluator', 'evaluator_calibration_error', None]['value']:.3f}."
        if quality
        else ""
    )
    lines += [
        "",
        f"{first['dataset']}, {first['n']} test slates, seeds {first['seeds']}; `{first['command']}` at "
        f"{str(first['commit'])[:12]} on {first['hardware']}, {first['date']}. "
        f"{COUNTED if any('whole' in row for row in rows) else COUNTED_BEFORE}{about}",
    ]
    return "\n".join(lines)


def short(metric: str) -> str:
    return (
        {"precision": "P", "ndcg": "N", "map": "MAP", "f1": "F1", "hr": "HR"}[metric.split("@")[0]]
        + "@"
        + metric.split("@")[1]
    )

"""Rows and table of an evaluation of lists (`gr2 evaluate --list_size`), with what fitting and answering cost."""

import json
from pathlib import Path

import polars as pl

NAMES = ("precision", "ndcg", "map", "f1", "hr")
COSTS = ("fit_seconds", "ms_a_slate")


def measured(folder: Path) -> tuple[list[dict], int]:
    """Rows of an evaluation, and its slates. The costs are what the manifests of the rankings and of their rerankers'
    folders say: means over seeds, loading included.
    """
    metrics, making = (json.loads((folder / name).read_text()) for name in ("metrics.json", "manifest.json"))
    answers: dict[str, list[dict]] = {}
    for entry in making["config"]["rankings"]:
        name, file = entry.split("=", 1)
        manifest = json.loads(Path(file).with_name("manifest.json").read_text())
        answers.setdefault(name, []).append(manifest | {"slates": pl.read_parquet(file, columns=["slate_id"]).height})
    rows = []
    for system, values in metrics["systems"].items():
        for metric, value in values.items():
            low, high = metrics["intervals"][system].get(metric, (None, None))
            rows.append(
                {"system": system, "metric": metric, "value": value, "ci_low": low, "ci_high": high, "baseline": None}
            )
        for metric, cost in zip(COSTS, costs(answers.get(system, [])), strict=True):
            if cost is not None:
                rows.append(
                    {
                        "system": system,
                        "metric": metric,
                        "value": round(cost, 2),
                        "ci_low": None,
                        "ci_high": None,
                        "baseline": None,
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


def costs(answers: list[dict]) -> tuple[float | None, float | None]:
    """Seconds of fitting and milliseconds a slate, means over a system's manifests; None: not fitted, or computed."""
    if not answers:
        return None, None
    fits = [Path(answer["config"]["reranker"]) / "manifest.json" for answer in answers]
    fitted = [json.loads(file.read_text())["seconds"] for file in fits if file.exists()]
    answered = [1000 * answer["seconds"] / answer["slates"] for answer in answers]
    return sum(fitted) / len(fitted) if fitted else None, sum(answered) / len(answered)


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
        for metric, digits in zip(COSTS, (0, 1), strict=True):
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
        f"{str(first['commit'])[:12]} on {first['hardware']}, {first['date']}. Fit and answer as the manifests have "
        f"them, loading included.{about}",
    ]
    return "\n".join(lines)


def short(metric: str) -> str:
    return (
        {"precision": "P", "ndcg": "N", "map": "MAP", "f1": "F1", "hr": "HR"}[metric.split("@")[0]]
        + "@"
        + metric.split("@")[1]
    )

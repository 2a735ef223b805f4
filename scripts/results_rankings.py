"""Rows and tables of an evaluation of rerankers (`gr2 evaluate`), with what each system cost."""

import json
from pathlib import Path

from gr2.reports.render import fixed

METRICS = ("recall@1", "recall@3", "recall@5", "ndcg@5", "identity_rate", "kendall_tau", "invalid_rate")
COSTS = ("parameters", "training_seconds", "ms", "p50_ms")


def measured(folder: Path) -> tuple[list[dict], dict]:
    """One row per system and metric or cost, and one per comparison; with what `metrics.json` says of all of them."""
    metrics = json.loads((folder / "metrics.json").read_text())
    rows = []
    for system, values in metrics["systems"].items():
        for metric in METRICS:
            low, high = metrics["intervals"][system].get(metric, (None, None))
            rows.append(row(system, metric, values[metric], low, high))
        costs = metrics["costs"].get(system, {})
        rows += [row(system, name, round(costs[name], 3), None, None) for name in COSTS if costs.get(name) is not None]
    for entry in metrics["comparisons"]:
        found = {name: entry[name] for name in ("system", "metric", "ci_low", "ci_high", "baseline", "p_value")}
        rows.append(found | {"value": entry["delta"]})
    return rows, metrics


def row(system: str, metric: str, value: float, low: float | None, high: float | None) -> dict:
    return {"system": system, "metric": metric, "value": value, "ci_low": low, "ci_high": high, "baseline": None}


def table(rows: list[dict]) -> str:
    """Systems x metrics, and the paired difference from the input order in NDCG@5."""
    value = find_values(rows)
    lines = [
        "| system | R@1 | R@3 | R@5 | N@5 [95 % interval] | N@5 against the input order | copied | invalid |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for system in list_systems(rows):
        cells = [f"{value[system, metric, None]['value']:.3f}" for metric in METRICS[:3]]
        cells += write_quality(value, system)
        cells += [fixed(value[system, metric, None]["value"], 2) for metric in ("identity_rate", "invalid_rate")]
        lines.append(f"| {system} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", write_provenance(rows[0])])


def cost_table(rows: list[dict]) -> str:
    """Systems x NDCG@5 and costs, best first."""
    value = find_values(rows)
    lines = [
        "| system | NDCG@5 [95 % interval] | against the input order | parameters | training, s | ms a slate |",
        "|---|---|---|---|---|---|",
    ]
    for system in sorted(list_systems(rows), key=lambda system: -value[system, "ndcg@5", None]["value"]):
        costs = {name: value[system, name, None]["value"] for name in COSTS if (system, name, None) in value}
        shown = [f"{costs[name]:,.0f}" if name in costs else "" for name in ("parameters", "training_seconds")]
        time = costs.get("p50_ms", costs.get("ms"))
        cells = [*write_quality(value, system), *shown, "" if time is None else f"{time:.1f}"]
        lines.append(f"| {system} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", write_provenance(rows[0])])


def find_values(rows: list[dict]) -> dict[tuple, dict]:
    return {(row["system"], row["metric"], row["baseline"]): row for row in rows}


def list_systems(rows: list[dict]) -> list[str]:
    return list(dict.fromkeys(row["system"] for row in rows))


def write_quality(value: dict[tuple, dict], system: str) -> list[str]:
    ndcg, gain = value[system, "ndcg@5", None], value.get((system, "ndcg@5", "input_order"))
    against = f"{gain['value']:+.3f} [{gain['ci_low']:+.3f}, {gain['ci_high']:+.3f}]" if gain else ""
    return [f"{ndcg['value']:.3f} [{ndcg['ci_low']:.3f}, {ndcg['ci_high']:.3f}]", against]


def write_provenance(first: dict) -> str:
    return (
        f"{first['dataset']}, {first['n']} {first.get('split', 'test')} slates, seeds {first['seeds']}; "
        f"`{first['command']}` at {str(first['commit'])[:12]} on {first['hardware']}, {first['date']}."
    )

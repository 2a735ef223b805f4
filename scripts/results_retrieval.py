"""The rows and tables of results.py that are about full-catalogue retrieval."""

import json
from pathlib import Path

SHOWN = ("recall@1", "recall@5", "recall@10", "recall@50", "ndcg@5", "ndcg@10")


def measured(folder: Path) -> tuple[list[dict], int]:
    """Rows of a `gr2 evaluate-retrieval` folder: figures with intervals, differences to its first system; positions."""
    found = json.loads((folder / "metrics.json").read_text())
    rows = []
    for system, values in found["systems"].items():
        for metric, value in values.items():
            low, high = found["intervals"][system][metric]
            rows.append(
                {"system": system, "metric": metric, "value": value, "ci_low": low, "ci_high": high, "baseline": None}
            )
    for entry in found["comparisons"]:
        same = {name: entry[name] for name in ("system", "metric", "ci_low", "ci_high", "baseline", "p_value")}
        rows.append(same | {"value": entry["delta"]})
    return rows, found["positions"]


def table(rows: list[dict]) -> str:
    """A row per system; the last columns have NDCG@10's interval and its difference to the first system."""
    value = {(row["system"], row["metric"], row["baseline"]): row for row in rows}
    systems = list(dict.fromkeys(row["system"] for row in rows))
    titles = [metric.replace("recall", "R").replace("ndcg", "N") for metric in SHOWN]
    lines = [f"| system | {' | '.join(titles)} | N@10, 95 % | against {systems[0]} |", "|---" * (len(titles) + 3) + "|"]
    for system in systems:
        cells = [f"{value[system, metric, None]['value']:.4f}" for metric in SHOWN]
        last, gap = value[system, "ndcg@10", None], value.get((system, "ndcg@10", systems[0]))
        cells.append(f"{last['ci_low']:.4f} to {last['ci_high']:.4f}")
        cells.append(f"{gap['value']:+.4f} [{gap['ci_low']:+.4f}, {gap['ci_high']:+.4f}]" if gap else "")
        lines.append(f"| {system} | " + " | ".join(cells) + " |")
    first = rows[0]
    source = f"`{first['command']}` at {str(first['commit'])[:12]} on {first['hardware']}, {first['date']}."
    return "\n".join(
        [*lines, "", f"{first['dataset']}, {first['n']:,} test positions, seeds {first['seeds']}; {source}"]
    )

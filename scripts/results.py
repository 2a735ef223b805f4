"""Keeps docs/results/results.jsonl, and renders the tables of README.md and docs/results/README.md from it.

python scripts/results.py record --experiment demo --dataset movielens-latest-small --run runs/demo/evaluate \\
    --command "make demo" --date 2026-11-22      # adds an evaluation's figures; a row = value with interval
python scripts/results.py render                 # writes the tables between the marker lines
"""

import argparse
import json
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs/results/results.jsonl"
METRICS = ("recall@1", "recall@3", "recall@5", "ndcg@5", "identity_rate", "kendall_tau", "invalid_rate")


def record(options: argparse.Namespace) -> None:
    """One row per system and metric, and one per comparison with the input order or the blend."""
    folder = Path(options.run)
    metrics = json.loads((folder / "metrics.json").read_text())
    manifest = json.loads((folder / "manifest.json").read_text())
    machine = manifest["hardware"]
    common = {
        "seeds": options.seeds,
        "n": metrics["slates"],
        "hardware": ", ".join(machine["gpus"])
        or f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB",
        "commit": manifest["git_commit"],
        "command": options.command,
        "date": options.date,
    }
    rows = []
    for system, values in metrics["systems"].items():
        for metric in METRICS:
            low, high = metrics["intervals"][system].get(metric, (None, None))
            rows.append({"system": system, "metric": metric, "value": values[metric], "ci_low": low, "ci_high": high,
                         "baseline": None})  # fmt: skip
    for entry in metrics["comparisons"]:
        found = {name: entry[name] for name in ("system", "metric", "ci_low", "ci_high", "baseline")}
        rows.append(found | {"value": entry["delta"], "p_value": entry["p_value"]})
    kept = [row for row in read() if row["experiment"] != options.experiment]
    new = [{"experiment": options.experiment, "dataset": options.dataset, **row, **common} for row in rows]
    RESULTS.write_text("".join(json.dumps(row) + "\n" for row in kept + new))


def read() -> list[dict]:
    return [json.loads(line) for line in RESULTS.read_text().splitlines()] if RESULTS.exists() else []


def table(rows: list[dict]) -> str:
    """An experiment's rows as Markdown: systems x metrics, and the paired difference to the input order on NDCG@5."""
    if not rows:
        return "Not measured yet."
    value = {(row["system"], row["metric"], row["baseline"]): row for row in rows}
    systems = list(dict.fromkeys(row["system"] for row in rows))
    lines = ["| system | R@1 | R@3 | R@5 | N@5 [95 % interval] | N@5 against the input order | copied | invalid |",
             "|---|---|---|---|---|---|---|---|"]  # fmt: skip
    for system in systems:
        cells = [f"{value[system, metric, None]['value']:.3f}" for metric in METRICS[:3]]
        ndcg = value[system, "ndcg@5", None]
        cells.append(f"{ndcg['value']:.3f} [{ndcg['ci_low']:.3f}, {ndcg['ci_high']:.3f}]")
        gain = value.get((system, "ndcg@5", "input_order"))
        cells.append(f"{gain['value']:+.3f} [{gain['ci_low']:+.3f}, {gain['ci_high']:+.3f}]" if gain else "")
        cells += [f"{value[system, metric, None]['value']:.2f}" for metric in ("identity_rate", "invalid_rate")]
        lines.append(f"| {system} | " + " | ".join(cells) + " |")
    first = rows[0]
    lines += ["", f"{first['dataset']}, {first['n']} test slates, seeds {first['seeds']}; `{first['command']}` at "
              f"{str(first['commit'])[:12]} on {first['hardware']}, {first['date']}."]  # fmt: skip
    return "\n".join(lines)


def render(options: argparse.Namespace) -> None:
    """Replaces what stands between `<!-- results: EXPERIMENT -->` and `<!-- end -->`."""
    for file in (ROOT / "README.md", ROOT / "docs/results/README.md"):
        before, *rest = file.read_text().split("<!-- results: ")
        parts = [before]
        for part in rest:
            experiment, after = part.split(" -->", 1)[0], part.split("<!-- end -->", 1)[1]
            rows = [row for row in read() if row["experiment"] == experiment]
            parts.append(f"<!-- results: {experiment} -->\n{table(rows)}\n<!-- end -->{after}")
        file.write_text("".join(parts))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    add = commands.add_parser("record")
    for name in ("experiment", "dataset", "run", "command", "date"):
        add.add_argument(f"--{name}", required=True)
    add.add_argument("--seeds", type=int, nargs="+", default=[0])
    add.set_defaults(call=record)
    commands.add_parser("render").set_defaults(call=render)
    options = parser.parse_args()
    options.call(options)


if __name__ == "__main__":
    main()

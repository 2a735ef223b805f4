"""The rows and tables of results.py that are about semantic IDs."""

import json
from pathlib import Path
from statistics import mean

# A figure of a run: where it stands, and how a table writes it.
COLUMNS = {
    "uniqueness_before_assignment": ("unique before", "{:.2%}"),
    "uniqueness": ("unique", "{:.2%}"),
    "reconstruction_error_before_assignment": ("error before", "{:.4f}"),
    "reconstruction_error": ("relative error", "{:.4f}"),
    "added_distortion_saved": ("distortion saved", "{:.1%}"),
    "purity@1": ("purity@1", "{:.3f}"),
    "neighbours@1": ("neighbours@1", "{:.3f}"),
    "neighbours@2": ("neighbours@2", "{:.3f}"),
    "seconds": ("seconds", "{:.0f}"),
}


def measured(folders: list[Path]) -> tuple[list[dict], list[int], int]:
    """Rows of one system from its runs' folders, one a seed; the seeds; the number of items."""
    runs, seeds = [], []
    for folder in folders:
        facts = json.loads((folder / "quality.json").read_text())
        manifest = json.loads((folder / "manifest.json").read_text())
        seeds.append(manifest["seed"])
        values = {name: facts[name] for name in COLUMNS if name in facts}
        random = facts["added_distortion_of_random"]
        values["added_distortion_saved"] = 1 - facts["added_distortion"] / random if random else 0.0
        values["purity@1"] = facts["category_purity"][0]["share"]
        values |= {f"neighbours@{row['prefix']}": row["share"] for row in facts["neighbour_preservation"][:2]}
        runs.append(values | {"seconds": manifest["seconds"]})
    rows = []
    for metric in COLUMNS:
        found = [values[metric] for values in runs]
        rows.append(
            {"metric": metric, "value": mean(found), "ci_low": min(found), "ci_high": max(found), "baseline": None}
        )
    return rows, seeds, facts["items"]


def ablation(folder: Path) -> tuple[list[dict], list[int], int]:
    """Rows with and without each switch of a `gr2 sids-ablate` folder, and differences; seeds; number of trainings."""
    lines = [json.loads(line) for line in (folder / "ablation.jsonl").read_text().splitlines()]
    rows = []
    for switch, metrics in json.loads((folder / "ablation.json").read_text()).items():
        for metric, found in metrics.items():
            for word in ("with", "without"):
                rows.append(
                    {
                        "system": f"{word} {switch}",
                        "metric": metric,
                        "value": found[word],
                        "ci_low": None,
                        "ci_high": None,
                        "baseline": None,
                    }
                )
            rows.append(
                {
                    "system": f"with {switch}",
                    "metric": metric,
                    "value": found["difference"],
                    "ci_low": found["lowest"],
                    "ci_high": found["highest"],
                    "baseline": f"without {switch}",
                }
            )
    return rows, sorted({line["seed"] for line in lines}), len(lines)


def table(rows: list[dict]) -> str:
    return ablation_table(rows) if any(row["baseline"] for row in rows) else systems_table(rows)


def systems_table(rows: list[dict]) -> str:
    """A row per system; where its seeds differ in what is shown, mean [lowest, highest]."""
    value = {(row["system"], row["metric"]): row for row in rows}
    titles = ["", "seeds", *(title for title, _ in COLUMNS.values())]
    lines = ["| " + " | ".join(titles) + " |", "|---" * len(titles) + "|"]
    for system in dict.fromkeys(row["system"] for row in rows):
        cells = [" ".join(map(str, value[system, "uniqueness"]["seeds"]))]
        for metric, (_, form) in COLUMNS.items():
            row = value[system, metric]
            middle, low, high = (form.format(row[key]) for key in ("value", "ci_low", "ci_high"))
            cells.append(middle if low == high else f"{middle} [{low}, {high}]")
        lines.append(f"| {system} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", f"{source(rows[0])} {rows[0]['n']:,} items."])


def ablation_table(rows: list[dict]) -> str:
    """A row per switch: its means with and without, and the difference with the lowest and highest of the seeds."""
    value = {(row["system"], row["metric"], row["baseline"]): row for row in rows}
    metrics = [metric for metric in dict.fromkeys(row["metric"] for row in rows) if metric != "mean_usage"]
    cells = [f"{metric}: with | without | difference" for metric in metrics]
    lines = ["| switch | " + " | ".join(cells) + " |", "|---" * (1 + 3 * len(metrics)) + "|"]
    for switch in dict.fromkeys(row["system"].split()[-1] for row in rows):
        cells = []
        for metric in metrics:
            cells += [f"{value[f'{word} {switch}', metric, None]['value']:.3f}" for word in ("with", "without")]
            gap = value[f"with {switch}", metric, f"without {switch}"]
            cells.append(f"{gap['value']:+.3f} [{gap['ci_low']:+.3f}, {gap['ci_high']:+.3f}]")
        lines.append(f"| {switch} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", f"{source(rows[0])} {rows[0]['n']} settings, seeds {rows[0]['seeds']}."])


def source(row: dict) -> str:
    return f"{row['dataset']}; `{row['command']}` at {str(row['commit'])[:12]} on {row['hardware']}, {row['date']}."

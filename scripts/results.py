"""Keeps docs/results/results.jsonl, and renders the tables of README.md and docs/results/*.md from it.

python scripts/results.py record --experiment demo --dataset movielens-latest-small --run runs/demo/evaluate \\
    --command "make demo" --date 2026-11-22      # adds an evaluation's figures; a row = value with interval
python scripts/results.py record-sids --experiment beauty-sids --dataset beauty --date 2026-11-22 \\
    --command "gr2 run beauty_ids --until sids_gr2" \\
    --runs gr2=runs/beauty_ids/sids_gr2 additive=runs/beauty_ids/sids   # a system = a name, its runs = seeds
python scripts/results.py record-ablation --experiment beauty-sids-ablation --dataset beauty \\
    --run runs/beauty_ids/sids_ablate ...
python scripts/results.py record-retrieval --experiment beauty-retrieval --dataset beauty \\
    --run runs/beauty_retrieval/evaluate_retrieval ...
python scripts/results.py record-lists --experiment lists --dataset movielens-latest-small --run runs/lists/evaluate ...
python scripts/results.py curves --logs naive=runs/hack/rl_naive_0/training_log.jsonl ... --file docs/results/hack.svg
python scripts/results.py render                 # writes the tables between the marker lines
"""

import argparse
import json
import re
import sys
from pathlib import Path

import results_lists
import results_rankings
import results_retrieval
import results_sids

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs/results/results.jsonl"


def record(options: argparse.Namespace) -> None:
    """One row per system and metric or cost, and one per comparison with the input order or another baseline."""
    folder = Path(options.run)
    rows, metrics = results_rankings.measured(folder)
    check_seeds(folder, options.seeds)
    common = {"split": metrics["split"], **provenance(options, folder, metrics["slates"], options.seeds)}
    replace(options, [row | common for row in rows])


def record_sids(options: argparse.Namespace) -> None:
    """One row per system and figure of quality.json: mean, lowest and highest over its runs, one run a seed."""
    rows = []
    for name in dict.fromkeys(run.partition("=")[0] for run in options.runs):
        folders = [Path(run.partition("=")[2]) for run in options.runs if run.partition("=")[0] == name]
        found, seeds, items = results_sids.measured(folders)
        rows += [{"system": name, **row, **provenance(options, folders[0], items, seeds)} for row in found]
    replace(options, rows)


def record_ablation(options: argparse.Namespace) -> None:
    """The means with and without each switch, and their difference with the lowest and highest of any seed."""
    folder = Path(options.run)
    rows, seeds, items = results_sids.ablation(folder)
    replace(options, [row | provenance(options, folder, items, seeds) for row in rows])


def record_retrieval(options: argparse.Namespace) -> None:
    """One row per system and metric of a full-catalogue evaluation, and one per comparison with its first system."""
    folder = Path(options.run)
    rows, positions = results_retrieval.measured(folder)
    replace(options, [row | provenance(options, folder, positions, options.seeds) for row in rows])


def record_lists(options: argparse.Namespace) -> None:
    """One row per system and metric of an evaluation of lists, with costs, and one per comparison."""
    folder = Path(options.run)
    rows, slates = results_lists.measured(folder)
    check_seeds(folder, options.seeds)
    replace(options, [row | provenance(options, folder, slates, options.seeds) for row in rows])


def curves(options: argparse.Namespace) -> None:
    """The report's picture of several training logs, as a file."""
    from gr2.evaluation.inputs import read_logs
    from gr2.reports.figures import training_curves

    Path(options.file).write_text(training_curves(read_logs(options.logs)) + "\n")


def check_seeds(folder: Path, given: list[int]) -> None:
    """Exits unless as many seeds are given as the system with the most of them has rankings."""
    several = json.loads((folder / "metrics.json").read_text())["seeds"].values()  # of systems with more than one
    most = max((len(next(iter(values.values()))) for values in several), default=1)
    if len(given) != most:
        sys.exit(f"--seeds {' '.join(map(str, given))}: expected {most}, as a system of {folder} has")


def provenance(options: argparse.Namespace, folder: Path, n: int, seeds: list[int]) -> dict:
    """What a row says about its making, from the run's manifest; --hardware and --commit stand for one that is lost."""
    if options.hardware:
        made = {"hardware": options.hardware, "commit": options.commit}
        return {"seeds": seeds, "n": n, **made, "command": options.command, "date": options.date}
    manifest = json.loads((folder / "manifest.json").read_text())
    machine = manifest["hardware"]
    cpu = f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB"
    return {
        "seeds": seeds,
        "n": n,
        "hardware": ", ".join(machine["gpus"]) or cpu,
        "commit": manifest["git_commit"],
        "command": options.command,
        "date": options.date,
    }


def replace(options: argparse.Namespace, rows: list[dict]) -> None:
    """Replaces an experiment's earlier rows."""
    kept = [row for row in read() if row["experiment"] != options.experiment]
    new = [{"experiment": options.experiment, "dataset": options.dataset, **row} for row in rows]
    RESULTS.write_text("".join(json.dumps(row) + "\n" for row in kept + new))


def read() -> list[dict]:
    return [json.loads(line) for line in RESULTS.read_text().splitlines()] if RESULTS.exists() else []


def table(rows: list[dict], costs: bool) -> str:
    """An experiment's rows as Markdown, by their kind."""
    if not rows:
        return "Not measured yet."
    if any(row["metric"] == "uniqueness" for row in rows):
        return results_sids.table(rows)
    if any(row["metric"] == "recall@50" for row in rows):
        return results_retrieval.table(rows)
    if any(row["metric"].startswith("precision@") for row in rows):
        return results_lists.table(rows)
    return results_rankings.cost_table(rows) if costs else results_rankings.table(rows)


def render(options: argparse.Namespace) -> None:
    """Replaces what stands between a marker and `<!-- end -->`. Markers are `<!-- results: EXPERIMENT -->`,
    `<!-- results: EXPERIMENT: SYSTEM SYSTEM ... -->` for some of its systems, `<!-- costs: ... -->` for their costs.
    """
    marked = re.compile(r"<!-- (results|costs): (.*?) -->.*?<!-- end -->", re.DOTALL)
    for file in (ROOT / "README.md", *sorted(RESULTS.parent.glob("*.md"))):
        file.write_text(marked.sub(lambda found: fill(*found.groups()), file.read_text()))


def fill(kind: str, marker: str) -> str:
    experiment, _, systems = marker.partition(": ")
    rows = [row for row in read() if row["experiment"] == experiment]
    rows = [row for row in rows if not systems or row["system"] in systems.split()]
    return f"<!-- {kind}: {marker} -->\n{table(rows, kind == 'costs')}\n<!-- end -->"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    common = argparse.ArgumentParser(add_help=False)
    for name in ("experiment", "dataset", "command", "date"):
        common.add_argument(f"--{name}", required=True)
    common.add_argument("--hardware", help="of a run whose manifest is lost; then also --commit")
    common.add_argument("--commit")
    add = commands.add_parser("record", parents=[common])
    add.add_argument("--run", required=True)
    add.add_argument("--seeds", type=int, nargs="+", default=[0])
    add.set_defaults(call=record)
    add = commands.add_parser("record-sids", parents=[common])
    add.add_argument("--runs", required=True, nargs="+", metavar="NAME=FOLDER")
    add.set_defaults(call=record_sids)
    add = commands.add_parser("record-ablation", parents=[common])
    add.add_argument("--run", required=True)
    add.set_defaults(call=record_ablation)
    add = commands.add_parser("record-retrieval", parents=[common])
    add.add_argument("--run", required=True)
    add.add_argument("--seeds", type=int, nargs="+", default=[0])
    add.set_defaults(call=record_retrieval)
    add = commands.add_parser("record-lists", parents=[common])
    add.add_argument("--run", required=True)
    add.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    add.set_defaults(call=record_lists)
    add = commands.add_parser("curves")
    add.add_argument("--logs", required=True, nargs="+", metavar="NAME=FILE")
    add.add_argument("--file", required=True)
    add.set_defaults(call=curves)
    commands.add_parser("render").set_defaults(call=render)
    options = parser.parse_args()
    options.call(options)


if __name__ == "__main__":
    main()

"""`gr2 update RECIPE`: runs a recipe once for every new day of data, in order. docs/updates.md describes it.

The recipe has five variables. `data` is a folder of days (`2026-11-29/`, ...). `runs` is the folder in which each day
gets a folder of its name. This command sets the other three: `day` is the day, `yesterday` the folder of the last day
that was decided, and `old` the reranker that serves. If a day's data or training is refused, the log says so, and what
serves stays; the day is tried again until a later one is decided. After a kill, run the same command: it continues.
"""

import argparse
import re
import subprocess
import sys
from datetime import date
from pathlib import Path

from gr2.errors import InputError
from gr2.files.decisions import find_latest_decision, write_decision
from gr2.rerankers.rules import NAMES
from gr2.runner.lock import hold_lock
from gr2.runner.recipe import find_recipe, read_recipe, set_variables

REFUSED = 2  # the exit code
OURS = ("day", "yesterday", "old")
VARIABLES = ("data", "runs", *OURS)


def main(words: list[str]) -> None:
    options, changes = parser().parse_known_args(words)
    for name in (word.partition("=")[0] for word in options.set):
        if name in OURS:
            raise InputError(f"--set {name}: expected none of {', '.join(OURS)}, which gr2 update sets itself")
    variables = set_variables(read_recipe(find_recipe(options.recipe))["variables"], options.set, options.recipe)
    if missing := [name for name in VARIABLES if name not in variables]:
        raise InputError(f"{options.recipe}: variables: expected {', '.join(missing)}, as the recipe daily has them")
    days, data = Path(variables["runs"]), Path(variables["data"])
    with hold_lock(days):
        new = find_new_days(data, days)
        if not new:
            print(f"gr2 update: no folder for a new day in {data}")
        refused = [day for day in new if not run_day(options, day, days, changes)]
    if refused:
        raise InputError(f"{', '.join(refused)} refused; the reranker that served before still serves")


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("gr2 update", description=__doc__, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("recipe", help="daily, or a recipe's file; further words (--ID.OPTION VALUE) are as in gr2 run")
    sets = "values of the recipe's other variables, `data` and `runs` among them"
    parser.add_argument("--set", nargs="+", action="extend", default=[], metavar="NAME=VALUE", help=sets)
    return parser


def find_new_days(data: Path, days: Path) -> list[str]:
    """The names of the folders of `data` that are dates later than the last decided one, in order."""
    if not data.is_dir():
        raise InputError(f"{data}: expected a folder with one folder for each day, such as 2026-11-29")
    names = sorted(folder.name for folder in data.iterdir() if folder.is_dir() and is_date(folder.name))
    last = find_latest_decision(days)
    return [name for name in names if last is None or name > last["day"]]


def is_date(name: str) -> bool:
    try:
        return re.fullmatch(r"\d{4}-\d\d-\d\d", name) is not None and bool(date.fromisoformat(name))
    except ValueError:
        return False


def run_day(options: argparse.Namespace, day: str, days: Path, changes: list[str]) -> bool:
    """Runs the recipe for a day. False where it was refused, which the log then says; any other failure ends here."""
    sets, last = [*options.set, f"day={day}"], find_latest_decision(days)
    if last:
        serving = last["serving"] if last["serving"] in NAMES else days / last["serving"]
        sets += [f"yesterday={days / last['day']}", f"old={serving}"]
    command = [sys.executable, "-m", "gr2", "run", options.recipe, "--set", *sets, *changes]
    complaint = ""
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, errors="replace") as process:
        for line in process.stderr:
            print(line, end="", file=sys.stderr, flush=True)
            complaint = line.strip() if line.startswith("gr2: ") else complaint
    if process.returncode == REFUSED:
        write_decision(days, {"day": day, "decision": "refused", "reason": complaint.removeprefix("gr2: ")})
    elif process.returncode:
        sys.exit(process.returncode if process.returncode > 0 else 1)
    return process.returncode == 0

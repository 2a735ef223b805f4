"""decisions.jsonl: a line for every day, and `current`, a link to the day whose reranker serves.

Both lie in the folder of the days and are replaced whole, so that they are right at every moment, also after a kill.
"""

import json
import os
from pathlib import Path

from gr2.files.artifacts import read_lines, write_text

LOG, CURRENT = "decisions.jsonl", "current"
DECIDED = ("promoted", "kept")  # a day that was refused can be run again


def read_decisions(days: Path) -> list[dict]:
    """The lines, oldest day first."""
    return read_lines(days / LOG, ("day", "decision")) if (days / LOG).exists() else []


def write_decision(days: Path, decision: dict) -> None:
    """Adds the line of a day, or replaces its earlier one."""
    others = [line for line in read_decisions(days) if line["day"] != decision["day"]]
    lines = sorted([*others, decision], key=lambda line: line["day"])
    write_text(days / LOG, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))


def find_latest_decision(days: Path) -> dict | None:
    """The line of the latest day on which a reranker was promoted or kept; None where there is none."""
    decided = [line for line in read_decisions(days) if line["decision"] in DECIDED]
    return decided[-1] if decided else None


def point_current(days: Path, day: str) -> None:
    """Points `current` at a day, in one rename; not where a later day is decided, so that this one was run again."""
    latest = find_latest_decision(days)
    if latest is None or latest["day"] <= day:
        aside = days / f".{CURRENT}.partial"
        aside.unlink(missing_ok=True)
        aside.symlink_to(day)
        os.replace(aside, days / CURRENT)

"""The content of the page: slates, items, systems and traces as columns of numbers and texts; page.js reads it.

An item is a number, its row in `items`; a ranking is the numbers, from 0, of its slate's candidates, best first. Scores
and facts are texts, `0.5 0.25`, which the page takes apart when a slate is shown, so that it opens faster.
"""

import random
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import polars as pl

from gr2.browse.find import Files
from gr2.errors import InputError
from gr2.evaluation.systems import input_positions
from gr2.files.columns import cast_ids, read_table, require_columns
from gr2.files.items import read_items
from gr2.files.rankings import read_rankings
from gr2.files.semantic_ids import read_semantic_ids
from gr2.files.slates import read_slate_table
from gr2.traces.store import each_trace

TRACED = ("slate_id", "mode", "sample", "reasoning", "ranking", "accepted", "reason", "teacher")
DIGITS = 4  # of a score on the page


def collect(files: Files, split: str, most: int) -> dict:
    """Everything that the page shows of the slates of a split, of at most `most`; lists are JSON values."""
    table = read_slate_table(files.slates).filter(pl.col("split") == split)
    if table.is_empty():
        raise InputError(f"{files.slates}: column 'split': expected slates of '{split}', found none")
    traces = read_page_traces(files.traces, set(table["slate_id"]))
    explained = {slate_id for slate_id, rows in traces.items() if any(row["mode"] != "template" for row in rows)}
    slates = draw(table, most, explained)
    items = collect_items(slates, files.items, files.semantic_ids)
    places = {item_id: place for place, item_id in enumerate(items["id"])}
    systems = [collect_system(name, file, slates) for name, file in files.rankings.items()]
    notes = []
    if len(slates) < len(table):
        first = f"first the {len(explained):,} that a teacher explained, then others" if explained else "drawn"
        notes.append(f"{len(slates):,} of {len(table):,} {split} slates: {first} at random (--max_slates).")
    return {
        "split": split,
        "notes": notes,
        "items": items,
        "slates": collect_slates(slates, places),
        "systems": [system for system in systems if system],
        "traces": [collect_traces(traces[row["slate_id"]], row["candidates"]) for row in slates.iter_rows(named=True)],
    }


def draw(table: pl.DataFrame, most: int, first: set[str], seed: int = 0) -> pl.DataFrame:
    """At most `most` slates in file order: those whose ids are in `first`, then others, drawn at random."""
    if len(table) <= most:
        return table
    rows = random.Random(seed).sample(range(len(table)), len(table))
    explained = table["slate_id"].is_in(first).to_list()
    return table[sorted(sorted(rows, key=lambda row: not explained[row])[:most])]


def collect_items(slates: pl.DataFrame, items: Path | None, semantic_ids: Path | None) -> dict[str, list]:
    """Columns `id`, `title`, `categories` (may be empty lists) and `sid` of the items that stand in a slate."""
    seen = pl.concat([slates["history"].explode(), slates["candidates"].explode()]).unique(maintain_order=True)
    frame = pl.DataFrame({"item_id": seen})
    if items:
        known = read_items(items)
        shown = known.select(name for name in ("item_id", "title", "categories") if name in known.columns)
        frame = frame.join(shown, on="item_id", how="left", maintain_order="left")
    if semantic_ids:
        spelled = read_semantic_ids(semantic_ids, None).select("item_id", "sid")
        frame = frame.join(spelled, on="item_id", how="left", maintain_order="left")
    blank = {"title": "", "categories": [], "sid": ""}
    columns = {name: frame[name].to_list() if name in frame.columns else [None] * len(frame) for name in blank}
    filled = {name: [value or empty for value in columns[name]] for name, empty in blank.items()}
    return {"id": frame["item_id"].to_list(), **filled}


def collect_slates(slates: pl.DataFrame, places: dict[str, int]) -> dict[str, list]:
    """Columns of the slates: items by their places; `facts` has the candidates' levels, with `;` between candidates."""
    lists = {
        name: [[places[item_id] for item_id in ids] for ids in slates[name].to_list()]
        for name in ("history", "candidates")
    }
    facts = slates["facts"].to_list() if "facts" in slates.columns else []
    names = list(facts[0][0]) if facts else []
    sources = slates["sources"].to_list() if "sources" in slates.columns else []
    return {
        "id": slates["slate_id"].to_list(),
        "user": slates["user_id"].to_list(),
        **lists,
        "labels": [[int(label) if label.is_integer() else label for label in row] for row in slates["labels"]],
        "scores": write_lists(slates["scores"]) if "scores" in slates.columns else [""] * len(slates),
        "factNames": names,
        "facts": [";".join(write_levels(fact.values()) for fact in row) for row in facts],
        "sources": [[describe_sources(candidate) for candidate in row or ()] for row in sources],
    }


def describe_sources(candidate: dict | None) -> str:
    """`item_knn 3, bm25 2`: the rank that each retriever gave."""
    found = (candidate or {}).items()
    return ", ".join(f"{name} {source['rank']}" for name, source in found if source and source["rank"] is not None)


def collect_system(name: str, file: Path, slates: pl.DataFrame) -> dict | None:
    """One system's columns, with null for a slate that it did not rank; None where it ranked none of these."""
    ranked = read_table(file)
    require_columns(ranked, file, ("slate_id",))
    answered = slates["slate_id"].is_in(cast_ids(ranked, file, "slate_id").implode())
    if not answered.any():
        return None
    shown = slates.filter(answered)
    frame = read_rankings(file, shown)
    orders = [[place for place in order if place >= 0] for order in input_positions(shown, frame).tolist()]
    columns = {"order": orders, "valid": frame["valid"].to_list()}
    numbers = next((column for column in ("scores", "choice_log_probs") if column in frame.columns), None)
    if numbers:
        columns["score"] = write_lists(frame[numbers])
    for column in ("reason", "reasoning"):
        if column in frame.columns and frame[column].count():
            columns[column] = frame[column].to_list()
    rows = answered.cum_sum().to_list()
    spread = {
        column: [values[row - 1] if known else None for row, known in zip(rows, answered, strict=True)]
        for column, values in columns.items()
    }
    return {"name": name, "scored": numbers, **spread}


def write_levels(levels: Iterable[int | None]) -> str:
    """`8 0  9`: nothing between the spaces where a level is missing."""
    return " ".join("" if level is None else str(level) for level in levels)


def write_lists(values: pl.Series) -> list[str]:
    """Each row's numbers to DIGITS digits, with a space between them."""
    return [" ".join(f"{value:.{DIGITS}g}" for value in row or ()) for row in values.to_list()]


def read_page_traces(files: dict[str, Path], slate_ids: set[str]) -> dict[str, list[dict]]:
    """By slate, what the page shows of its traces, with the `stage` that made each."""
    found = defaultdict(list)
    for stage, file in files.items():
        for row in each_trace(file, TRACED):
            if row["slate_id"] in slate_ids:
                found[row["slate_id"]].append({"stage": stage} | {name: row[name] for name in TRACED})
    return found


def collect_traces(rows: list[dict], candidates: list[str]) -> list[dict]:
    """A slate's traces, with `order` in place of `ranking`: null where that is no order of the candidates."""
    shown = []
    for row in rows:
        ranking = row["ranking"] or []
        whole = sorted(ranking) == sorted(candidates)
        rest = {name: value for name, value in row.items() if name not in ("slate_id", "ranking")}
        shown.append(rest | {"order": [candidates.index(item_id) for item_id in ranking] if whole else None})
    return shown

"""What `gr2 evaluate` is given: files by name, labelled slates, and what a report shows beside the metrics."""

import polars as pl

from gr2.artifacts import read_json, read_lines
from gr2.data.columns import as_id, refuse_rows
from gr2.data.tables import read_slates
from gr2.errors import InputError
from gr2.evaluation.verdict import COMPUTED


def ranking_files(entries: list[str]) -> dict[str, list[str]]:
    """["NAME=FILE", ...] -> {name: files}: a name that comes again is another seed of the same system."""
    files: dict[str, list[str]] = {}
    for entry in entries:
        name, file = named_file("rankings", entry)
        if name in COMPUTED:
            raise InputError(f"--rankings {entry}: '{name}' is always computed from the slates; choose another name")
        if file in files.get(name, []):
            raise InputError(f"--rankings {entry}: '{name}' has this file twice; expected one file for each seed")
        files.setdefault(name, []).append(file)
    return files


def named_files(option: str, entries: list[str]) -> dict[str, str]:
    """["NAME=FILE", ...] -> {name: file}; InputError on another form or a repeated name."""
    files: dict[str, str] = {}
    for entry in entries:
        name, file = named_file(option, entry)
        if name in files:
            raise InputError(f"--{option} {entry}: the name '{name}' is given twice")
        files[name] = file
    return files


def named_file(option: str, entry: str) -> tuple[str, str]:
    name, equals, file = entry.partition("=")
    if not (name and equals and file):
        raise InputError(f"--{option} {entry}: expected NAME=FILE")
    return name, file


def log_files(entries: list[str]) -> dict[str, str]:
    """[FILE] or ["NAME=FILE", ...] -> {name: file}; the name of a FILE alone is empty."""
    alone = len(entries) == 1 and "=" not in entries[0]
    return {"": entries[0]} if alone else named_files("training_log", entries)


def read_logs(entries: list[str]) -> dict[str, list[dict]]:
    return {name: read_lines(file, ("step",)) for name, file in log_files(entries).items()}


def read_split(path: str, split: str, item_ids: pl.Series | None) -> tuple[pl.DataFrame, int]:
    """The labelled slates of a split, and how many more were left out because nothing in them is relevant."""
    slates = read_slates(path, item_ids)
    slates = slates.with_columns(as_id(slates, path, "user_id").alias("user_id"))
    labels, chosen = slates["labels"], slates["split"] == split
    refuse_rows(chosen & (labels.list.len() == 0), path, "labels", "labels, without which nothing is measured", labels)
    good = labels.list.eval(pl.element().is_finite() & (pl.element() >= 0)).list.all()
    refuse_rows(chosen & ~good.fill_null(False), path, "labels", "finite labels, 0 or more", labels)
    if not chosen.any():
        raise InputError(f"{path}: column 'split': expected slates of '{split}', found none")
    usable = slates.filter(chosen & (labels.list.max() > 0))
    if usable.is_empty():
        raise InputError(f"{path}: column 'labels': expected a relevant item in some slate of '{split}', found none")
    return usable, int(chosen.sum()) - len(usable)


def read_slates_report(path: str) -> dict:
    """The slates stage's report; `splits` must have `positions`, `missed` and `slates` for each split."""
    content = read_json(path)
    splits = content.get("splits") if isinstance(content, dict) else None
    if not isinstance(splits, dict):
        raise InputError(f"{path}: expected an object with 'splits'")
    for split, counts in splits.items():
        for name in ("positions", "missed", "slates"):
            if not isinstance(counts, dict) or not isinstance(counts.get(name), int):
                raise InputError(f"{path}: splits.{split}.{name}: expected a whole number")
    return content

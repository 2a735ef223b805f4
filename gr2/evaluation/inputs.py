"""The inputs of the evaluations: files by name, labelled slates, and what a report shows beside the metrics."""

import polars as pl

from gr2.errors import InputError
from gr2.evaluation.systems import COMPUTED
from gr2.files.artifacts import read_json, read_lines
from gr2.files.columns import cast_ids, read_table, refuse_rows, require_columns
from gr2.files.interactions import read_interactions
from gr2.files.slates import PROTOCOLS, read_slate_table
from gr2.traces.store import read_traces

TRACES = ("slate_id", "mode", "accepted", "reason", "completion_tokens", "teacher")  # columns that the report shows


def ranking_files(entries: list[str]) -> dict[str, list[str]]:
    """["NAME=FILE", ...] -> {name: files}: a repeated name is another seed of the same system."""
    files: dict[str, list[str]] = {}
    for entry in entries:
        name, file = name_file("rankings", entry)
        if name in COMPUTED:
            raise InputError(f"--rankings {entry}: '{name}' is always computed from the slates; choose another name")
        if file in files.get(name, []):
            raise InputError(f"--rankings {entry}: '{name}' has this file twice; expected one file for each seed")
        files.setdefault(name, []).append(file)
    return files


def name_files(option: str, entries: list[str]) -> dict[str, str]:
    """["NAME=FILE", ...] -> {name: file}; InputError on another form or a repeated name."""
    files: dict[str, str] = {}
    for entry in entries:
        name, file = name_file(option, entry)
        if name in files:
            raise InputError(f"--{option} {entry}: the name '{name}' is given twice")
        files[name] = file
    return files


def name_file(option: str, entry: str) -> tuple[str, str]:
    name, equals, file = entry.partition("=")
    if not (name and equals and file):
        raise InputError(f"--{option} {entry}: expected NAME=FILE")
    if not name.isprintable():
        raise InputError(f"--{option} {name!r}: expected a name of printable characters")
    return name, file


def log_files(entries: list[str]) -> dict[str, str]:
    """[FILE] or ["NAME=FILE", ...] -> {name: file}; the name of a FILE alone is empty."""
    nameless = len(entries) == 1 and "=" not in entries[0]
    return {"": entries[0]} if nameless else name_files("training_log", entries)


def read_logs(entries: list[str]) -> dict[str, list[dict]]:
    return {name: read_lines(file, ("step",)) for name, file in log_files(entries).items()}


def read_shown_traces(paths: list[str]) -> list[dict]:
    """The lines of traces.jsonl files; of each only what the report shows."""
    return [{name: line[name] for name in TRACES} for path in paths for line in read_traces(path, TRACES)]


def select_answered(slates: pl.DataFrame, files: dict[str, list[str]]) -> tuple[pl.DataFrame, dict[str, int]]:
    """The slates that every file ranks, and by system how many of `slates` it does not; InputError for no slate."""
    answered, missing = slates["slate_id"], {}
    for name, paths in files.items():
        for path in paths:
            frame = read_table(path)
            require_columns(frame, path, ("slate_id",))
            ranked = cast_ids(frame, path, "slate_id").implode()
            missing[name] = max(missing.get(name, 0), int((~slates["slate_id"].is_in(ranked)).sum()))
            answered = answered.filter(answered.is_in(ranked))
    if answered.is_empty():
        raise InputError("--allow_missing true: expected a slate that all rankings have, found none")
    return slates.filter(pl.col("slate_id").is_in(answered.implode())), {name: n for name, n in missing.items() if n}


def keep_answered(slates: pl.DataFrame, files: dict[str, list[str]]) -> pl.DataFrame:
    """The slates that every file ranks."""
    for path in (path for paths in files.values() for path in paths):
        ranked = cast_ids(read_table(path), path, "slate_id").implode()
        slates = slates.filter(pl.col("slate_id").is_in(ranked))
    return slates


def read_split_events(path: str) -> pl.DataFrame:
    """The events of `gr2 prepare`; InputError where they have no splits."""
    events = read_interactions(path)
    require_columns(events, path, ("split",))
    return events


def read_split(path: str, split: str, item_ids: pl.Series | None) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The labelled slates of a split, and those that are left out because nothing in them is relevant."""
    slates = read_slate_table(path, item_ids)
    slates = slates.with_columns(cast_ids(slates, path, "user_id").alias("user_id"))
    labels, mask = slates["labels"], slates["split"] == split
    refuse_rows(mask & (labels.list.len() == 0), path, "labels", "labels, without which nothing is measured", labels)
    if not mask.any():
        raise InputError(f"{path}: column 'split': expected slates of '{split}', found none")
    usable, others = slates.filter(mask & (labels.list.max() > 0)), slates.filter(mask & ~(labels.list.max() > 0))
    if usable.is_empty():
        raise InputError(f"{path}: column 'labels': expected a relevant item in some slate of '{split}', found none")
    return usable, others


def read_slates_report(path: str, split: str, labelled: int) -> dict:
    """The slates stage's report: `protocol`; each of `splits` has `positions`, `missed`, `slates`, and maybe
    `short` and `unclicked`.

    InputError for that of other slates: of another number with a relevant item than these, `labelled`.
    """
    content = read_json(path)
    splits = content.get("splits") if isinstance(content, dict) else None
    if not isinstance(splits, dict):
        raise InputError(f"{path}: expected an object with 'splits'")
    for key, counts in splits.items():
        counts = {"short": 0, "unclicked": 0} | (counts if isinstance(counts, dict) else {})
        for name in ("positions", "missed", "slates", "short", "unclicked"):
            if type(counts.get(name)) is not int or counts[name] < 0:
                raise InputError(f"{path}: splits.{key}.{name}: expected a whole number of at least 0")
    if (protocol := content.get("protocol")) not in PROTOCOLS:
        expected = f"protocol: expected one of {', '.join(PROTOCOLS)}, found {protocol!r}"
        raise InputError(f"{path}: {expected}; an earlier gr2 left it out: make the slates again")
    of_split = [counts for name, counts in splits.items() if name.replace("pretrain", "train") == split]
    if (counted := sum(counts["slates"] - counts.get("unclicked", 0) for counts in of_split)) != labelled:
        found = f"it counts {counted} {split} slates with a relevant item, the file has {labelled}"
        raise InputError(f"{path}: expected the report of the same slates; {found}")
    return content

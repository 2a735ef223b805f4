"""Broken input: the command ends with 2, says file, row, column and expectation, and writes nothing."""

from pathlib import Path

import polars as pl
import pytest

from gr2.cli import main
from tests.helpers import gr2


def changed(source, path, row, column, value):
    """A copy of a table with one value replaced."""
    frame = pl.read_csv(source) if str(source).endswith(".csv") else pl.read_parquet(source)
    values = frame[column].to_list()
    values[row] = value
    frame = frame.with_columns(pl.Series(column, values, strict=False))
    frame.write_csv(path) if path.suffix == ".csv" else frame.write_parquet(path)
    return path


def prepare(world, **files):
    return [
        "prepare",
        files
        | {
            "items": files.get("items", world.raw_items),
            "interactions": files.get("interactions", world.raw_interactions),
        },
    ]


def rerank(world, slates):
    return ["rerank", {"items": world.items, "slates": slates, "reranker": "input_order", "split": "train"}]


def missing_column(world, folder):
    pl.read_csv(world.raw_interactions).drop("timestamp").write_csv(folder / "events.csv")
    return prepare(world, interactions=folder / "events.csv")


def missing_title(world, folder):
    pl.read_csv(world.raw_items).drop("title").write_parquet(folder / "films.parquet")
    return prepare(world, items=folder / "films.parquet")


def duplicate_item(world, folder):
    text = Path(world.raw_items).read_text()
    (folder / "films.csv").write_text(text + text.splitlines()[4] + "\n")
    return prepare(world, items=folder / "films.csv")


def unknown_item(world, folder):
    return prepare(world, interactions=changed(world.raw_interactions, folder / "events.csv", 11, "item_id", "film99"))


def nan_timestamp(world, folder):
    path = changed(world.raw_interactions, folder / "events.parquet", 5, "timestamp", float("nan"))
    return prepare(world, interactions=path)


def nan_timestamp_csv(world, folder):
    lines = Path(world.raw_interactions).read_text().splitlines()
    lines[6] = lines[6].rpartition(",")[0] + ",NaN"
    (folder / "events.csv").write_text("\n".join(lines) + "\n")
    return prepare(world, interactions=folder / "events.csv")


def empty_history(world, folder):
    return rerank(world, changed(world.slates, folder / "slates.parquet", 2, "history", []))


def duplicate_candidate(world, folder):
    return rerank(world, changed(world.slates, folder / "slates.parquet", 3, "candidates", ["film01", "film02"] * 5))


def unknown_candidate(world, folder):
    candidates = [f"film{number:02d}" for number in range(9)] + ["film99"]
    return rerank(world, changed(world.slates, folder / "slates.parquet", 4, "candidates", candidates))


def labels_of_wrong_length(world, folder):
    return rerank(world, changed(world.slates, folder / "slates.parquet", 1, "labels", [1.0, 0.0]))


def unknown_key(world, folder):
    (folder / "prepare.yaml").write_text("min_user_event: 5\n")
    stage, options = prepare(world)
    return [stage, {"config": folder / "prepare.yaml"} | options]


def truncated_parquet(world, folder):
    whole = Path(world.slates).read_bytes()
    (folder / "slates.parquet").write_bytes(whole[: len(whole) // 2])
    return rerank(world, folder / "slates.parquet")


def corrupted_manifest_hash(world, folder):
    raw = ["--items", world.raw_items, "--interactions", world.raw_interactions]
    gr2("prepare", *raw, "--output_dir", folder / "prepare")
    items = folder / "prepare" / "items.parquet"
    changed(items, items, 0, "title", "Another title")
    return ["slates", {"items": items, "interactions": world.interactions, "pre_ranker": "popularity"}]


CASES = [
    (missing_column, "events.csv: expected a column 'timestamp' or 'position'; it has user_id, item_id"),
    (missing_title, "films.parquet: column 'title' is missing; it has item_id, categories"),
    (duplicate_item, "films.csv: line 50, column 'item_id': expected unique item ids, found 'film03'"),
    (unknown_item, "events.csv: line 13, column 'item_id': expected an item of the items file, found 'film99'"),
    (
        nan_timestamp,
        "events.parquet: row 5, column 'timestamp': expected seconds since 1970, as the other times are, found nan",
    ),
    (
        nan_timestamp_csv,
        "events.csv: line 7, column 'timestamp': expected seconds since 1970, as the other times are, found nan",
    ),
    (empty_history, "slates.parquet: row 2, column 'history': expected at least one item, found []"),
    (
        duplicate_candidate,
        "slates.parquet: row 3, column 'candidates': expected no item twice, found ['film01', 'film02'",
    ),
    (
        unknown_candidate,
        "slates.parquet: row 4, column 'candidates': expected items of the items file, found ['film00'",
    ),
    (
        labels_of_wrong_length,
        "slates.parquet: row 1, column 'labels': expected one label per candidate, or none, found [1.0, 0.0]",
    ),
    (unknown_key, "prepare: unknown key 'min_user_event'; did you mean 'min_user_events'?"),
    (truncated_parquet, "slates.parquet: not a readable parquet file"),
    (corrupted_manifest_hash, "items.parquet: its sha256 is "),
]
IN_A_PROCESS = (duplicate_item, labels_of_wrong_length, truncated_parquet, corrupted_manifest_hash)


@pytest.mark.parametrize(("case", "complaint"), CASES, ids=lambda value: getattr(value, "__name__", ""))
def test_it_is_refused_by_name_and_nothing_is_written(world, tmp_path, capsys, case, complaint):
    stage, options = case(world, tmp_path)
    before = sorted(tmp_path.rglob("*"))
    words = [str(word) for key, value in options.items() for word in (f"--{key}", value)]
    words += ["--output_dir", str(tmp_path / "out")]
    if case in IN_A_PROCESS:
        error = gr2(stage, *words, expect=2).stderr
    else:
        with pytest.raises(SystemExit) as stop:
            main([stage, *words])
        assert stop.value.code == 2
        error = capsys.readouterr().err
    assert complaint in error
    assert error.startswith("gr2: ") and "Traceback" not in error and len(error.splitlines()) == 1
    assert sorted(tmp_path.rglob("*")) == before

"""`pre_ranker: file`: lists of a ranker that the user already has."""

import polars as pl
import pytest

from gr2.errors import InputError
from gr2.files.artifacts import read_json
from gr2.stages import slates
from tests.helpers import refused


@pytest.fixture
def lists(world):
    """For each user's last two positions, the target second of 12."""
    latest = (
        pl.read_parquet(world.interactions).sort("user_id", "position").group_by("user_id", maintain_order=True).tail(2)
    )
    items = pl.read_parquet(world.items)["item_id"].to_list()
    rows = []
    for row in latest.iter_rows(named=True):
        others = [item for item in items if item != row["item_id"]][:11]
        candidates = [others[0], row["item_id"], *others[1:]]
        rows.append({"user_id": row["user_id"], "position": row["position"], "candidates": candidates})
    return pl.DataFrame(rows)


def made(world, folder, table, **options):
    table.write_parquet(folder / "top.parquet")
    return from_file(world, folder, folder / "top.parquet", **options)


def from_file(world, folder, file, **options):
    slates.run(
        slates.Config(
            items=world.items,
            interactions=world.interactions,
            output_dir=str(folder / "out"),
            pre_ranker=["file"],
            top_k=str(file),
            **options,
        )
    )
    return pl.read_parquet(folder / "out" / "slates.parquet")


def test_own_lists_become_slates_and_positions_without_one_are_short(world, tmp_path, lists):
    frame = made(world, tmp_path, lists)
    assert len(frame) == 80 and set(frame["split"]) == {"test"}
    report = read_json(tmp_path / "out" / "slates_report.json")["splits"]
    counts = {"positions": 160, "missed": 0, "short": 80, "slates": 80}
    chance = {"recall": 1.0, "chance": 10 / 48, "p_chance": 0.0}  # the lists hold items that were seen
    assert report["test"] == pytest.approx(counts | chance, abs=1e-6)
    assert report["train"] == {"positions": 200, "missed": 0, "short": 200, "slates": 0}
    first = frame.row(0, named=True)
    expected = lists.row(0, named=True)
    assert first["slate_id"] == f"{expected['user_id']}-{expected['position']}"
    assert first["candidates"] == expected["candidates"][:10]  # the first K of a longer list
    assert first["labels"] == [0.0, 1.0] + [0.0] * 8
    assert first["scores"] == [-float(rank) for rank in range(10)]
    assert read_json(tmp_path / "out" / "slates_report.json")["exclude_seen"] is None  # nobody but its maker knows


def test_own_scores_are_kept(world, tmp_path, lists):
    frame = made(world, tmp_path, lists.with_columns(pl.lit([12.5 - rank for rank in range(12)]).alias("scores")))
    assert frame["scores"][0].to_list() == [12.5 - rank for rank in range(10)]


def test_lists_are_found_whatever_the_order_of_the_file(world, tmp_path, lists):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    shuffled = lists.sample(fraction=1, shuffle=True, seed=0)
    assert not shuffled.equals(lists)
    assert made(world, tmp_path / "a", lists).equals(made(world, tmp_path / "b", shuffled))


@pytest.mark.parametrize("ending", [".parquet", ".csv"])
def test_lists_of_a_time_are_for_the_first_event_from_then_on(world, tmp_path, lists, ending, capsys):
    """As a log of a service has them: at a time, under other names, several before an event, some without one."""
    (tmp_path / "known").mkdir()
    expected = made(world, tmp_path / "known", lists)
    times = pl.read_parquet(world.interactions).select("user_id", "position", "timestamp")
    shown = lists.join(times, on=["user_id", "position"]).with_columns(pl.col("timestamp") - 30)
    stale = shown.with_columns(pl.col("timestamp") - 10, pl.col("candidates").list.reverse())
    late = shown.head(3).with_columns(pl.col("timestamp") + 1_000_000)
    log = pl.concat([shown, stale, late]).sample(fraction=1, shuffle=True, seed=0)
    log = log.select(customer="user_id", skus="candidates", served_at=pl.from_epoch("timestamp"))
    names = ["user_id=customer", "candidates=skus", "timestamp=served_at"]
    if ending == ".csv":
        log.with_columns(pl.col("skus").list.join("|")).write_csv(tmp_path / "log.csv", separator=";")
    else:
        log.write_parquet(tmp_path / "log.parquet")
    assert from_file(world, tmp_path, tmp_path / f"log{ending}", columns=names).equals(expected)
    said = f"log{ending}: lists without a later event of their user: 3; followed by another list before the event: 80;"
    assert said in capsys.readouterr().out
    words = ["--items", world.items, "--interactions", world.interactions, "--output_dir", tmp_path / "no"]
    words += ["--pre_ranker", "file", "--top_k", tmp_path / f"log{ending}", "--columns"]
    complaint = refused("slates", *words, "user_id=customer", "candidates=sku")
    assert "--columns candidates=sku: expected a column of" in complaint and "did you mean 'skus'?" in complaint
    assert "--columns basket=...: expected --pre_ranker file and one of user_id," in refused(
        "slates", *words, "basket=x"
    )


def test_short_and_empty_lists_are_no_slates(world, tmp_path, lists):
    """The first list has its target, but nine items; the second none."""
    rows = lists["candidates"].to_list()
    rows[0], rows[1] = rows[0][:9], []
    frame = made(world, tmp_path, lists.with_columns(pl.Series("candidates", rows)))
    expected = lists.select(pl.format("{}-{}", "user_id", "position")).to_series().to_list()[2:]
    assert frame["slate_id"].to_list() == expected
    report = read_json(tmp_path / "out" / "slates_report.json")["splits"]
    assert report["test"].items() >= {"positions": 160, "missed": 0, "short": 82, "slates": 78}.items()


def replaced(lists, row, column, value):
    values = lists[column].to_list()
    values[row] = value
    return lists.with_columns(pl.Series(column, values, dtype=lists.schema[column]))


@pytest.mark.parametrize(("row", "column", "value", "expectation"), [
    (3, "candidates", ["film01", "film01"], "distinct items of the items file, found ['film01', 'film01']"),
    (4, "candidates", ["film01", "zz"], "distinct items of the items file"),
    (5, "candidates", ["film01", None], "distinct items of the items file"),
    (6, "candidates", None, "distinct items of the items file, found None"),
    (7, "user_id", None, "an id, found None"),
    (8, "position", None, "a whole number, found None"),
    (9, "scores", [1.0, 2.0], "a finite score per candidate, found [1.0, 2.0]"),
    (9, "scores", [float("nan")] * 12, "a finite score per candidate"),
    (2, "scores", [float(rank) for rank in range(12)], "scores that do not rise: the best candidate comes first"),
])  # fmt: skip
def test_a_bad_row_is_named_and_nothing_written(world, tmp_path, lists, row, column, value, expectation):
    table = lists.with_columns(pl.lit([float(-rank) for rank in range(12)]).alias("scores"))
    with pytest.raises(InputError) as refusal:
        made(world, tmp_path, replaced(table, row, column, value))
    assert f"top.parquet: row {row}, column '{column}': expected {expectation}" in str(refusal.value)
    assert not (tmp_path / "out").exists()


def test_two_lists_for_one_position_are_refused(world, tmp_path, lists):
    with pytest.raises(
        InputError, match=r"top\.parquet: row 80, column 'position': expected one list per user and position"
    ):
        made(world, tmp_path, pl.concat([lists, lists.head(1)]))


def test_other_tables_are_refused(world, tmp_path, lists):
    with pytest.raises(InputError, match=r"top\.parquet: column 'position' is missing"):
        made(world, tmp_path, lists.drop("position"))
    with pytest.raises(InputError, match=r"top\.parquet: column 'candidates': expected lists"):
        made(world, tmp_path, lists.with_columns(pl.lit("film01|film02").alias("candidates")))
    assert not (tmp_path / "out").exists()


def test_llmranks_candidates_are_lists_for_each_users_last_position(world, tmp_path, lists):
    last = lists.unique("user_id", keep="last", maintain_order=True)
    lines = [f"{user}\t{' '.join(candidates)}" for user, candidates in last.select("user_id", "candidates").iter_rows()]
    (tmp_path / "world.bm25").write_text("\n".join([*lines, "a stranger\tfilm01 film02"]) + "\n")
    frame = from_file(world, tmp_path, tmp_path / "world.bm25")
    last.write_parquet(tmp_path / "last.parquet")
    assert frame.equals(from_file(world, tmp_path, tmp_path / "last.parquet")) and len(frame) == 40
    (tmp_path / "world.bm25").write_text(lines[0] + "\nuser01 film01\n")
    with pytest.raises(InputError, match=r"world\.bm25: row 1: expected a user, a tab and items"):
        from_file(world, tmp_path, tmp_path / "world.bm25")


def test_rows_of_llmranks_file_are_counted_as_in_the_file_with_its_strangers(world, tmp_path):
    """A stranger's items may be unknown; other wrong lines are named."""
    file = tmp_path / "world.random"
    for lines, complaint in (
        (
            ["stranger\tzz", "user00\tfilm01 film02", "user00\tfilm03"],
            "row 2, column 'position': expected one list per user",
        ),
        (["stranger\tzz", "stranger\tzz", "user00\tfilm01 zz"], "row 2, column 'candidates': expected distinct items"),
        (["user00\tfilm01", "user01\t "], "row 1: expected a user, a tab and items"),
        (["user00\tfilm01", "", "user01\tfilm01"], "row 1: expected a user, a tab and items"),
    ):
        file.write_text("\n".join(lines) + "\n")
        with pytest.raises(InputError, match=complaint):
            from_file(world, tmp_path, file)
    file.write_bytes(b"user00\t\xff\xfe")
    with pytest.raises(InputError, match=r"world\.random: expected a table, or text"):
        from_file(world, tmp_path, file)
    assert not (tmp_path / "out").exists()


def test_lists_that_nobody_asked_for_are_counted(world, tmp_path, lists, capsys):
    stranger = lists.head(3).with_columns(pl.lit("stranger").alias("user_id"), pl.Series("position", [1, 2, 3]))
    early = lists.head(1).with_columns(pl.lit(0).cast(pl.Int64).alias("position"))  # a first event has no past
    made(world, tmp_path, pl.concat([lists, stranger.cast(lists.schema), early]))
    assert "top.parquet: 4 of 84 lists are for users or positions that were not asked for" in capsys.readouterr().out
    made(world, tmp_path, lists)
    assert "not asked for" not in capsys.readouterr().out

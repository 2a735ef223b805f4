import polars as pl
import pytest

from gr2.data.facts import Facts, find_bounds, find_levels, write_levels
from gr2.data.features import load_features
from gr2.errors import InputError
from gr2.files.artifacts import write_json
from gr2.files.slates import read_slate_table, slates_of
from gr2.stages import facts

SOURCES = [{"knn": {"rank": rank, "score": 9.0 / rank}} if rank % 3 else {"knn": None} for rank in range(1, 11)]


@pytest.mark.parametrize("logged", [False, True])
def test_slates_without_facts_get_those_that_the_stage_wrote(world, tmp_path, logged):
    """Also those of a pre-ranker, and no rank where the slates are those of a log."""
    frame = read_slate_table(world.slates)
    frame = frame.with_columns(sources=pl.lit(pl.Series([SOURCES])).list.head(pl.col("candidates").list.len()))
    if logged:
        frame = frame.with_columns(positions=pl.int_ranges(1, pl.col("candidates").list.len() + 1))
    frame.write_parquet(tmp_path / "slates.parquet")
    files = {name: getattr(world, name) for name in ("items", "interactions", "embeddings")}
    facts.run(facts.Config(**files, slates=str(tmp_path / "slates.parquet"), output_dir=str(tmp_path / "facts")))
    wrote = slates_of(read_slate_table(tmp_path / "facts/slates.parquet"))
    bare = slates_of(read_slate_table(tmp_path / "slates.parquet"))
    add = Facts(tmp_path / "facts/levels.json", load_features(*files.values())).add
    assert [slate.facts for slate in add(bare)] == [slate.facts for slate in wrote]
    assert "rank_knn" in wrote[0].facts[0] and ("rank" in wrote[0].facts[0]) != logged
    assert add(wrote) == list(wrote)


def test_a_level_is_the_number_of_bounds_below(tmp_path):
    values = pl.Series(range(100)).cast(float).to_numpy()
    assert find_levels(values[[0, 9, 10, 99]], find_bounds(values)).tolist() == [0, 0, 1, 9]


@pytest.mark.parametrize("content", [
    {}, {"rank": True}, {"rank": True, "bounds": {"score": [1, 2]}}, {"rank": True, "bounds": {"score": "high"}},
    {"rank": True, "bounds": [1]},
])  # fmt: skip
def test_another_file_is_refused(tmp_path, content):
    write_json(tmp_path / "levels.json", content)
    with pytest.raises(InputError, match=r"levels\.json: expected `rank` and `bounds` of features, as `gr2 facts`"):
        Facts(tmp_path / "levels.json", None)
    write_levels(tmp_path / "levels.json", True, {"score": find_bounds(pl.Series([0.1, 0.7]).to_numpy())})
    assert Facts(tmp_path / "levels.json", None).bounds["score"][0] == find_bounds(pl.Series([0.1, 0.7]).to_numpy())[0]

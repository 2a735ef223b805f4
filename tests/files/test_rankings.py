import polars as pl

from gr2.files.rankings import Ranking, write_rankings
from gr2.files.tables import read_rankings

SLATES = pl.DataFrame({"slate_id": ["s", "t"], "candidates": [["a", "b"], ["c"]]})


def test_rankings_come_back_with_the_columns_that_the_reranker_gives(tmp_path):
    path = tmp_path / "rankings.parquet"
    plain = [Ranking("s", ["b", "a"]), Ranking("t", ["c"])]
    scored = [Ranking("s", ["b", "a"], scores=[2.0, 1.0]), Ranking("t", ["c"], scores=[0.0])]
    written = [
        Ranking("s", ["a", "b"], False, reason="truncated", reasoning="", completion_tokens=9, latency_ms=0.5),
        Ranking("t", ["c"], reasoning="It fits.", completion_tokens=3, latency_ms=0.5),
    ]
    for rankings, more in ((plain, []), (scored, ["scores"]),
                           (written, ["reason", "reasoning", "completion_tokens", "latency_ms"])):  # fmt: skip
        write_rankings(rankings, path)
        frame = read_rankings(path, SLATES)
        assert frame.columns == ["slate_id", "ranking", "valid", *more]
        assert [Ranking(**row) for row in frame.iter_rows(named=True)] == rankings


def test_a_column_of_nothing_has_its_type(tmp_path):
    write_rankings([Ranking("s", ["a", "b"], completion_tokens=3)], tmp_path / "rankings.parquet")
    frame = pl.read_parquet(tmp_path / "rankings.parquet")
    assert frame["reason"].dtype == pl.String and frame["latency_ms"].dtype == pl.Float64

import json

import polars as pl
import pytest

from gr2.errors import InputError
from gr2.files.slates import Slate, read_slates, write_slates
from gr2.files.sources import check_sources
from tests.files.examples import IDS

GIVEN = [{"bm25": {"rank": 1, "score": 0.5}, "knn": None}, {"bm25": None, "knn": {"rank": 7, "score": -2.0}}]
SLATE = Slate("s", ["a"], ["b", "c"], [0.0, 1.0], sources=GIVEN, user_id="u")


def test_they_are_written_and_read_again_and_move_with_their_candidate(tmp_path):
    write_slates([SLATE], tmp_path / "slates.parquet", IDS)
    assert read_slates(tmp_path / "slates.parquet", IDS) == [SLATE]
    assert SLATE.reordered([1, 0]).sources == GIVEN[::-1]


def test_slates_of_json_lines_may_have_them(tmp_path):
    row = {name: value for name, value in vars(SLATE).items() if name not in ("scores", "facts", "grades")}
    (tmp_path / "slates.jsonl").write_text(json.dumps(row))
    assert read_slates(tmp_path / "slates.jsonl", IDS)[0].sources == GIVEN


@pytest.mark.parametrize(("sources", "complaint"), [
    (GIVEN[:1], "expected one mapping per candidate"),
    ([GIVEN[0], {"bm25": {"rank": 0, "score": 1.0}, "knn": None}], "expected a rank from 1 and a finite score of bm25"),
    ([GIVEN[0], {"bm25": None, "knn": {"rank": 1, "score": float("nan")}}], "a finite score of knn, or null"),
    ([{"knn": {"rank": 2, "score": 0.0}}, {"knn": {"rank": 1, "score": None}}], "a finite score of knn, or null"),
    ([{"knn": {"rank": 2, "score": 0.0}}, {"knn": {"rank": None, "score": None}}], "a finite score of knn, or null"),
    ([{"knn": {"rank": 2, "score": 0.0}}, None], "expected one mapping per candidate"),
    (["best", "worst"], "expected a list of mappings from retrievers to rank and score"),
    ([{"bm25": 1.0}, {"bm25": 2.0}], "expected a list of mappings from retrievers to rank and score"),
    ([{"bm25": {"rank": 1}}, {"bm25": {"rank": 2}}], "expected a list of mappings from retrievers to rank and score"),
])  # fmt: skip
def test_wrong_ones_are_refused(sources, complaint):
    frame = pl.DataFrame({"candidates": [["b", "c"]], "sources": [sources]}, strict=False)
    with pytest.raises(InputError, match=f"slates.parquet: .*column 'sources'.*{complaint}"):
        check_sources(frame, "slates.parquet")


def test_a_retriever_may_have_returned_none_of_the_candidates():
    nothing = [{"bm25": {"rank": 1, "score": 0.5}, "knn": None}, {"bm25": None, "knn": None}]
    check_sources(pl.DataFrame({"candidates": [["b", "c"]], "sources": [nothing]}), "slates.parquet")

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gr2.errors import InputError
from gr2.files.slates import Slate, Slates, read_slate_table, read_slates, sample_slates, slates_of, write_slates
from tests.files.examples import IDS, SLATES, write_table

FACTS = [{"rank": 1}, {"rank": 2}, {"rank": 3}]
SLATE = Slate("s", ["a"], ["b", "c", "a"], [0.0, 1.0, 2.0], [3.0, 2.0, 1.0], FACTS, user_id="u")


def test_slates_are_the_tables_rows_and_may_be_of_one_split(tmp_path):
    path = write_table(tmp_path, SLATES)
    train, test = read_slates(path, IDS)
    assert train == Slate("s0", ["a"], ["b", "c"], [0.0, 1.0], [2.0, 1.0], user_id="u", split="train")
    assert test.labels == [] and test.relevant == [] and test.split == "test"
    assert read_slates(path, IDS, "test") == [test] and read_slates(path, split="valid") == []


def test_slates_that_are_made_when_asked_for_are_the_same(tmp_path):
    table = read_slate_table(write_table(tmp_path, SLATES))
    lazy, whole = Slates(table), slates_of(table)
    assert list(lazy) == list(lazy) == whole == lazy[:] and len(lazy) == len(whole) == 2
    assert (lazy[1], lazy[-1], lazy[1:], lazy[5:]) == (whole[1], whole[1], whole[1:], [])
    with pytest.raises(IndexError):
        lazy[2]


@pytest.mark.parametrize("slates", [
    [SLATE], [Slate("s", ["a"], ["b"], user_id="u", split="train")],
    [SLATE, Slate("t", ["a", "b"], ["a"], [1.0], facts=[{"rank": 4}], user_id="v", split="valid")],
    [Slate("s", ["a"], ["b", "c"], [0.0, 1.0], positions=[2, 4], propensities=[0.5, 0.25], user_id="u")],
])  # fmt: skip
def test_written_slates_are_read_again(tmp_path, slates):
    write_slates(slates, tmp_path / "slates.parquet", IDS)
    assert read_slates(tmp_path / "slates.parquet", IDS) == slates
    columns = read_slate_table(tmp_path / "slates.parquet").columns
    assert ("scores" in columns) == any(slate.scores for slate in slates)
    assert ("facts" in columns) == any(slate.facts for slate in slates)


@pytest.mark.parametrize(("slate", "complaint"), [
    (Slate("s", [], ["b"], user_id="u"), "column 'history': expected at least one item"),
    (Slate("s", ["a"], ["b", "b"], user_id="u"), "column 'candidates': expected no item twice"),
    (Slate("s", ["a"], ["moon"], user_id="u"), "column 'candidates': expected items of the items file"),
    (Slate("s", ["a"], ["b"], [1.0, 0.0], user_id="u"), "column 'labels': expected one label per candidate"),
])  # fmt: skip
def test_wrong_slates_are_not_written(tmp_path, slate, complaint):
    with pytest.raises(InputError, match=complaint):
        write_slates([slate], tmp_path / "slates.parquet", IDS)
    assert not (tmp_path / "slates.parquet").exists()


@given(st.integers(1, 12), st.integers(0, 5), st.integers(0, 5))
def test_what_belongs_to_a_candidate_moves_with_it(count, seed, draw):
    names = [f"i{n}" for n in range(count)]
    slate = Slate("a", ["h"], names, labels=[float(n) for n in range(count)], facts=[{"rank": n} for n in range(count)])
    moved = slate.shuffled(seed, draw)
    assert moved == slate.shuffled(seed, draw) and sorted(moved.candidates) == sorted(names)
    for name, label, facts in zip(moved.candidates, moved.labels, moved.facts, strict=True):
        assert name == f"i{facts['rank']}" and label == facts["rank"]
    assert moved.scores == [] and moved.history == ["h"]
    assert slate.reordered(range(count)) == slate


def test_each_draw_is_another_order():
    slate = Slate("a", [], [str(n) for n in range(10)], labels=[0.0] * 10)
    assert len({tuple(slate.shuffled(0, draw).candidates) for draw in range(20)}) == 20


def test_relevant_items_and_the_first_of_them():
    assert SLATE.relevant == ["c", "a"]
    assert SLATE.first_relevant(["b", "a", "c"]) == 1 and SLATE.first_relevant(["c", "b"]) == 0
    with pytest.raises(ValueError, match="slate_id 's': no candidate is relevant"):
        SLATE.first_relevant(["b"])


def test_the_latest_items_of_a_history():
    slate = Slate("s", ["a", "b", "c"], ["b"])
    assert slate.with_latest(2).history == ["b", "c"]
    assert slate.with_latest(0).history == [] and slate.with_latest(9) == slate


def test_sampled_slates_stay_in_order_and_depend_on_the_seed():
    slates = [Slate(f"s{index}", ["a"], ["b"]) for index in range(30)]
    drawn = sample_slates(slates, 10, seed=0)
    assert len(drawn) == 10 and drawn == [slate for slate in slates if slate in drawn]
    assert drawn == sample_slates(slates, 10, seed=0) != sample_slates(slates, 10, seed=1)
    assert sample_slates(slates, None, seed=0) == sample_slates(slates, 30, seed=0) == slates

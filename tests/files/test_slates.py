from hypothesis import given
from hypothesis import strategies as st

from gr2.files.slates import Slate


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

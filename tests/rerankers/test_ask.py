import numpy as np
import pytest

from gr2.errors import InputError
from gr2.files.rankings import Ranking, tabulate
from gr2.files.slates import Slate
from gr2.rerankers.ask import in_blocks, rank_blocks, time_alone
from gr2.rerankers.protocol import Scorer
from gr2.rerankers.rules import Rule

SLATES = [Slate(f"s{at}", ["x"], ["a", "b", "c"][: 1 + at % 3]) for at in range(10)]


class Alphabetical(Scorer):
    def scores(self, slates):
        return [-np.arange(len(slate.candidates), dtype=float) for slate in slates]


def test_blocks_of_any_size_are_ranked_as_all_at_once():
    whole = tabulate(Alphabetical().rank(SLATES))
    for size in (1, 3, 10, 50):
        found, seconds = rank_blocks(Alphabetical(), in_blocks(iter(SLATES), size), "mine")
        assert found.equals(whole) and seconds > 0
    assert [len(block) for block in in_blocks(SLATES, 4)] == [4, 4, 2]


def test_a_ranking_of_other_items_or_of_another_slate_is_refused():
    class BrokenLine(Rule):
        def rank(self, slates):
            return [Ranking(slate.slate_id, slate.candidates[:1] * len(slate.candidates)) for slate in slates]

    with pytest.raises(InputError, match=r"^reranker mine: slate_id 's1': expected an order of its candidates"):
        rank_blocks(BrokenLine("input_order", {}), [SLATES], "mine")


def test_every_slate_is_asked_alone_after_one_that_warms_up(monkeypatch):
    rule = Rule("reversed", {})
    assert len(time_alone(rule, SLATES)) == 10
    monkeypatch.setattr("gr2.rerankers.ask.ALONE_SECONDS", -1)
    assert time_alone(rule, SLATES) == []

import time
from dataclasses import dataclass, replace

import pytest

from gr2.files.rankings import Ranking
from gr2.files.slates import Slate
from gr2.rerankers.fusion.answers import ask
from gr2.rerankers.rules import Rule

LOADING = 0.1  # seconds
SLATES = [Slate(f"s{number}", ["a"], ["b", "c"]) for number in range(3)]


@dataclass
class LoadsWithTheFirst:
    """As a language model does; `known`: whether it says what a slate takes."""

    known: bool

    def rank(self, slates: list[Slate]) -> list[Ranking]:
        time.sleep(LOADING)
        rankings = Rule("input_order", {}).rank(slates)
        return [replace(one, latency_ms=float(at)) for at, one in enumerate(rankings)] if self.known else rankings


@pytest.mark.parametrize("known", [True, False])
def test_a_members_time_is_without_loading_where_its_rankings_say_so(known):
    rankings, milliseconds = ask(lambda member: LoadsWithTheFirst(known), "model", SLATES)
    assert [one.slate_id for one in rankings] == ["s0", "s1", "s2"]
    assert milliseconds == 1.0 if known else milliseconds >= 1000 * LOADING / len(SLATES)

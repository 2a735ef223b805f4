import pytest
from hypothesis import given
from hypothesis import strategies as st

from gr2.errors import InputError
from gr2.files.slates import Slate
from gr2.rerankers.rules import NAMES, Rule

SLATES = [
    Slate("s0", [], ["a", "b", "c", "d"], [0.0, 1.0, 0.0, 2.0]),
    Slate("s1", [], ["d", "c", "b"], [0.0, 0.0, 1.0]),
]
COUNTS = {"a": 1, "b": 3, "c": 3}


def rank(name, slates, popularity, seed):
    return [ranking.ranking for ranking in Rule(name, popularity, seed).rank(slates)]


def test_rules_by_hand():
    assert rank("input_order", SLATES, {}, 0) == [["a", "b", "c", "d"], ["d", "c", "b"]]
    assert rank("reversed", SLATES, {}, 0) == [["d", "c", "b", "a"], ["b", "c", "d"]]
    assert rank("oracle", SLATES, {}, 0) == [["d", "b", "a", "c"], ["b", "d", "c"]]  # ties in input order
    assert rank("popularity", SLATES, COUNTS, 0) == [["b", "c", "a", "d"], ["c", "b", "d"]]
    assert rank("rarest", SLATES, COUNTS, 0) == [["d", "a", "b", "c"], ["d", "c", "b"]]


slates = st.lists(st.integers(1, 8), min_size=1, max_size=5).map(
    lambda sizes: [
        Slate(f"s{at}", [], [f"i{number}" for number in range(size)], [1.0] + [0.0] * (size - 1))
        for at, size in enumerate(sizes)
    ]
)


@given(slates, st.sampled_from(NAMES), st.integers(0, 5))
def test_every_rule_gives_permutations_and_leaves_slates_alone(made, name, seed):
    before = [list(slate.candidates) for slate in made]
    rankings = rank(name, made, {"i1": 2}, seed)
    assert [sorted(ranking) for ranking in rankings] == [sorted(candidates) for candidates in before]
    assert [slate.candidates for slate in made] == before


def test_random_depends_on_the_seed_and_the_slate_alone():
    many = [Slate(f"s{at}", [], list("abcdef")) for at in range(600)]
    rankings = rank("random", many, {}, 0)
    assert rankings == rank("random", many, {}, 0)
    assert rankings != rank("random", many, {}, 1)
    assert rank("random", many[300:], {}, 0) == rankings[300:]  # answering fewer slates changes none
    firsts = [ranking[0] for ranking in rankings]
    assert all(60 < firsts.count(item) < 140 for item in "abcdef")  # 100 expected


def test_the_oracle_needs_labels():
    with pytest.raises(InputError, match="--reranker oracle: expected labels, slate_id 's9' has none"):
        rank("oracle", [Slate("s9", [], ["a"])], {}, 0)

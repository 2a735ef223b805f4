import pytest
from hypothesis import given
from hypothesis import strategies as st

from gr2.errors import InputError
from gr2.rerankers.rules import NAMES, rank

SLATES = [
    {"slate_id": "s0", "candidates": ["a", "b", "c", "d"], "labels": [0.0, 1.0, 0.0, 2.0]},
    {"slate_id": "s1", "candidates": ["d", "c", "b"], "labels": [0.0, 0.0, 1.0]},
]
COUNTS = {"a": 1, "b": 3, "c": 3}


def test_rules_by_hand():
    assert rank("input_order", SLATES, {}, 0) == [["a", "b", "c", "d"], ["d", "c", "b"]]
    assert rank("reversed", SLATES, {}, 0) == [["d", "c", "b", "a"], ["b", "c", "d"]]
    assert rank("oracle", SLATES, {}, 0) == [["d", "b", "a", "c"], ["b", "d", "c"]]  # ties in input order
    assert rank("popularity", SLATES, COUNTS, 0) == [["b", "c", "a", "d"], ["c", "b", "d"]]
    assert rank("rarest", SLATES, COUNTS, 0) == [["d", "a", "b", "c"], ["d", "c", "b"]]


slates = st.lists(st.integers(1, 8), min_size=1, max_size=5).map(
    lambda sizes: [
        {
            "slate_id": f"s{at}",
            "candidates": [f"i{number}" for number in range(size)],
            "labels": [1.0] + [0.0] * (size - 1),
        }
        for at, size in enumerate(sizes)
    ]
)


@given(slates, st.sampled_from(NAMES), st.integers(0, 5))
def test_every_rule_gives_permutations_and_leaves_slates_alone(made, name, seed):
    before = [list(slate["candidates"]) for slate in made]
    rankings = rank(name, made, {"i1": 2}, seed)
    assert [sorted(ranking) for ranking in rankings] == [sorted(candidates) for candidates in before]
    assert [slate["candidates"] for slate in made] == before


def test_random_depends_on_the_seed_and_the_slate_alone():
    many = [{"slate_id": f"s{at}", "candidates": list("abcdef"), "labels": []} for at in range(600)]
    rankings = rank("random", many, {}, 0)
    assert rankings == rank("random", many, {}, 0)
    assert rankings != rank("random", many, {}, 1)
    assert rank("random", many[300:], {}, 0) == rankings[300:]  # answering fewer slates changes none
    firsts = [ranking[0] for ranking in rankings]
    assert all(60 < firsts.count(item) < 140 for item in "abcdef")  # 100 expected


def test_the_oracle_needs_labels():
    with pytest.raises(InputError, match="slate 's9' has no labels"):
        rank("oracle", [{"slate_id": "s9", "candidates": ["a"], "labels": []}], {}, 0)

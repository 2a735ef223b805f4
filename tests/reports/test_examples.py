import re

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from gr2 import metrics
from gr2.files.sid_tokens import sid_string
from gr2.reports.examples import COUNT, OF_A_RULE, choose_rows, describe_examples
from gr2.reports.render import render_page

THIRD, OTHER = sid_string([3]), sid_string([4])
RULES = ("typical", "best gain", "worst loss", "disagreement", "random")


@given(st.lists(st.tuples(*[st.integers(-5, 5)] * 2), min_size=1, max_size=40))
def test_the_rules_choose_ten_slates_each_once(rows):
    own, other = np.array(rows).T
    chosen = list(choose_rows({"own": own, "other": other}, "own"))
    taken = [row for row, _ in chosen]
    assert len(set(taken)) == len(taken) == min(COUNT, len(rows))
    by_rule = {rule: [row for row, found in chosen if found == rule] for rule in RULES}
    assert [rule for _, rule in chosen] == sorted([rule for _, rule in chosen], key=RULES.index)
    left = np.ones(len(rows), bool)

    def take(rule):
        left[by_rule[rule]] = False
        return by_rule[rule]

    from_median = abs(own - sorted(own)[len(own) // 2])
    assert from_median[take("typical")].tolist() == sorted(from_median)[:OF_A_RULE]
    lifted, dropped, spread = own[left & (own > 0)], own[left & (own < 0)], abs(own - other)
    assert own[take("best gain")].tolist() == sorted(lifted, reverse=True)[:OF_A_RULE]
    assert own[take("worst loss")].tolist() == sorted(dropped)[:OF_A_RULE]
    differing = sorted(filter(None, spread[left]), reverse=True)
    assert spread[take("disagreement")].tolist() == differing[:OF_A_RULE]


def test_the_random_ones_are_not_the_first():
    chosen = list(choose_rows({"own": np.zeros(1000, int)}, "own"))
    assert {rule for _, rule in chosen} == {"typical", "random"} and min(row for row, _ in chosen) > 0
    assert chosen == list(choose_rows({"own": np.zeros(1000, int)}, "own"))


def test_an_example_holds_every_systems_places_and_what_was_written():
    slates = pl.DataFrame(
        {
            "slate_id": ["s"], "user_id": ["u"], "history": [[f"h{n}" for n in range(12)]],
            "candidates": [["a", "b", "c"]], "labels": [[0.0, 0.0, 1.0]], "split": ["test"],
        }
    )  # fmt: skip
    frames = {
        "best": pl.DataFrame({"ranking": [["c", "a", "b"]], "valid": [True], "reasoning": [f"{THIRD} like {OTHER}"]}),
        "other": pl.DataFrame({"ranking": [["a", "b", "c"]], "valid": [False]}),
    }
    changes = {"best": [np.array([2])], "other": [np.array([0])]}
    found = describe_examples(
        slates, {n: [f] for n, f in frames.items()}, changes, "best", {"c": "Cream"}, {"c": THIRD}
    )
    assert (found["leader"], found["systems"]) == ("best", ["other"])
    (slate,) = found["slates"]
    assert (slate["rule"], slate["change"], slate["earlier"]) == ("typical", 2, 2)
    assert slate["unusable"] == ["other"] and list(slate["reasoning"]) == ["best"]
    assert [(part["text"], part["kind"]) for part in slate["reasoning"]["best"] if part["text"]] == [
        ("Cream", "candidate"), (" like ", ""), (OTHER, "stranger"),
    ]  # fmt: skip
    assert slate["candidates"][0] == {
        "title": "Cream", "sid": "<s_a_3>", "label": 1, "before": 3, "after": 1, "elsewhere": [3],
    }  # fmt: skip


def test_of_several_relevant_items_the_first_place_of_any_is_told():
    """The second and the fifth are relevant, and the system puts the fifth first."""
    slates = pl.DataFrame(
        {
            "slate_id": ["s"], "user_id": ["u"], "history": [["h"]], "candidates": [list("abcde")],
            "labels": [[0.0, 1.0, 0.0, 0.0, 1.0]], "split": ["test"],
        }
    )  # fmt: skip
    frames = {"best": [pl.DataFrame({"ranking": [list("eabcd")], "valid": [True]})]}
    change = metrics.rank_change(np.array([[0.0, 1, 0, 0, 1]]), np.array([[4, 0, 1, 2, 3]])).astype(int)
    page = render_page(
        "reranking_examples.html.j2", examples=describe_examples(slates, frames, {"best": [change]}, "best", {}, {})
    )
    assert re.search(r"place\s+2 → 1 <span class=\"good\">\(\+1\)</span>", page)

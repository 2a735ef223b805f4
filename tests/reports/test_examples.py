import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from gr2.files.sid_tokens import sid_string
from gr2.reports.examples import COUNT, DISAGREEMENTS, GAINS, LOSSES, choose_rows, describe_examples

THIRD, OTHER = sid_string([3]), sid_string([4])
SHARED = {"best gain": GAINS, "worst loss": LOSSES, "disagreement": DISAGREEMENTS}


@given(st.lists(st.tuples(*[st.integers(-5, 5)] * 2), min_size=1, max_size=40))
def test_the_rules_choose_ten_slates_each_once(rows):
    own, other = np.array(rows).T
    chosen = list(choose_rows({"own": own, "other": other}, "own"))
    taken = [row for row, _ in chosen]
    assert len(set(taken)) == len(taken) == min(COUNT, len(rows))
    by_rule = {rule: [row for row, found in chosen if found == rule] for rule in (*SHARED, "random")}
    gains, losses = by_rule["best gain"], by_rule["worst loss"]
    assert len(gains) == min(GAINS, (own > 0).sum()) and len(losses) == min(LOSSES, (own < 0).sum())
    assert own[gains].tolist() == sorted(own[own > 0], reverse=True)[:GAINS]
    assert own[losses].tolist() == sorted(own[own < 0])[:LOSSES]
    spread = abs(own - other)
    rest = [row for row in range(len(rows)) if row not in gains + losses]
    assert spread[by_rule["disagreement"]].tolist() == sorted(filter(None, spread[rest]), reverse=True)[:DISAGREEMENTS]


def test_the_random_ones_are_not_the_first():
    chosen = list(choose_rows({"own": np.zeros(1000, int)}, "own"))
    assert {rule for _, rule in chosen} == {"random"} and min(row for row, _ in chosen) > 0
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
    assert (slate["rule"], slate["change"], slate["earlier"]) == ("best gain", 2, 2)
    assert slate["unusable"] == ["other"] and list(slate["reasoning"]) == ["best"]
    assert [(part["text"], part["kind"]) for part in slate["reasoning"]["best"] if part["text"]] == [
        ("Cream", "candidate"), (" like ", ""), (OTHER, "stranger"),
    ]  # fmt: skip
    assert slate["candidates"][0] == {
        "title": "Cream", "sid": "<s_a_3>", "label": 1, "before": 3, "after": 1, "elsewhere": [3],
    }  # fmt: skip

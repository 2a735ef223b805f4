import dataclasses

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gr2.data.catalogue import Catalogue
from gr2.files.sid_tokens import SID, sid_string
from gr2.files.slates import Slate
from gr2.prompts.answer import Answer
from gr2.prompts.explanation import category_weights, explain
from gr2.traces.accept import judge

CATEGORIES = {
    "a": "Books > Novels", "b": "Books > Novels > Crime", "c": "Books > Cooking", "d": "Books > Novels > Crime",
    "e": "Books > Travel", "f": "Books", "g": "",
}  # fmt: skip
CATALOGUE = Catalogue(
    item_ids=pl.Series("item_id", list(CATEGORIES)),
    title=dict.fromkeys(CATEGORIES, "A title"),
    category=CATEGORIES,
    description=dict.fromkeys(CATEGORIES, ""),
    sid={item_id: sid_string([number, 0, 1]) for number, item_id in enumerate(CATEGORIES)},
    codes={item_id: (number, 0, 1) for number, item_id in enumerate(CATEGORIES)},
)
WEIGHTS = category_weights(CATALOGUE)
SIDS = CATALOGUE.sid


def write(history: str, target: str) -> str:
    return explain(list(history), target, CATALOGUE, WEIGHTS)


def test_three_steps():
    assert write("cabba", "d") == (
        f"The history leans to Novels and Crime, lately {SIDS['a']} and {SIDS['b']}. "
        "The next item is likely Novels or Crime. "
        f"{SIDS['d']} is Novels and Crime, like {SIDS['a']}, so it comes first."
    )


def test_a_category_that_says_little_is_not_named_where_others_say_more():
    assert "Books" not in write("abcc", "d")


def test_the_latest_items_that_are_like_the_target_are_cited():
    text = write("acbc", "d")
    assert [match[0] for match in SID.finditer(text)][:2] == [SIDS["b"], SIDS["a"]]
    assert SIDS["c"] not in text


def test_a_target_of_a_new_category():
    lone = dataclasses.replace(CATALOGUE, category=CATEGORIES | {"e": "Maps"})
    text = explain(["a", "b"], "e", lone, category_weights(lone))
    assert "something new: Maps" in text and "like" not in text.split("something new")[1]


@pytest.mark.parametrize("history", ["g", "gg", "ga"])
def test_items_without_categories(history):
    assert write(history, "g").startswith(f"The history ends with {SIDS[history[-1]]}.")


@given(st.lists(st.sampled_from(sorted(CATEGORIES)), min_size=1, max_size=12), st.sampled_from(sorted(CATEGORIES)))
def test_it_is_short_and_would_be_accepted(history, target):
    text = explain(history, target, CATALOGUE, WEIGHTS)
    assert text == explain(history, target, CATALOGUE, WEIGHTS)
    assert 15 <= len(SID.sub("id", text).split()) <= 45
    others = [item_id for item_id in CATEGORIES if item_id not in {target, *history}]
    slate = Slate("s", history, [*others, target], labels=[*[0] * len(others), 1])
    assert judge(Answer(text, [target, *others]), "", slate, SIDS) is None

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gr2.choices.drawing import Drawing
from gr2.choices.spelling import Spelling
from gr2.choices.walk import ListWriter
from gr2.sft.teacher import plan_lessons

BETWEEN, CLOSING = [90, 91], [92, 93]


@st.composite
def lists(draw):
    """(spelling, order, shares) of 1 to 6 candidates of three tokens, many of which share the start of their IDs."""
    ids = draw(st.lists(st.tuples(*[st.integers(0, 2)] * 3), min_size=1, max_size=6, unique=True))
    spelling = Spelling([80], [list(tokens) for tokens in ids], BETWEEN, CLOSING)
    order = draw(st.permutations(range(len(ids))))
    weights = draw(st.lists(st.floats(0.01, 1), min_size=len(ids), max_size=len(ids)))
    return spelling, order, [weight / sum(weights) for weight in weights]


def write_in_order(spelling, order):
    """A writer that was made to write this order, choice by choice."""
    writer = ListWriter(spelling, [80], Drawing())
    while not writer.done:
        writer.plan()
        tokens = spelling.items[order[len(writer.order)]] + BETWEEN
        scores = [
            [0.0 if way.token == tokens[node.depth] else -9.0 for way in node.ways()] for node in writer.branching
        ]
        writer.choose(scores)
    return writer


@given(lists())
def test_lessons_are_the_choices_of_the_list(given_list):
    spelling, order, shares = given_list
    lessons, writer = plan_lessons(spelling, order, shares), write_in_order(spelling, order)
    assert writer.order == list(order)
    assert [(one.place, set(one.among)) for one in lessons] == [(one.place, set(one.among)) for one in writer.choices]
    assert all(spelling.write(order)[lesson.place] in lesson.among for lesson in lessons)


@given(lists())
def test_shares_of_an_order_multiply_to_its_plackett_luce_probability(given_list):
    spelling, order, shares = given_list
    tokens = spelling.write(order)
    found = math.prod(
        lesson.shares[lesson.among.index(tokens[lesson.place])] for lesson in plan_lessons(spelling, order, shares)
    )
    expected = math.prod(shares[index] / sum(shares[other] for other in order[at:]) for at, index in enumerate(order))
    assert found == pytest.approx(expected, rel=1e-4)


@given(lists())
def test_shares_sum_to_one_and_weights_fall_with_the_rank(given_list):
    lessons = plan_lessons(*given_list)
    assert all(sum(lesson.shares) == pytest.approx(1) for lesson in lessons)
    weights = [lesson.weight for lesson in lessons]
    assert weights == sorted(weights, reverse=True)
    assert not weights or weights[0] == 1

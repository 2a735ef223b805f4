import pytest
from hypothesis import given
from hypothesis import strategies as st

from gr2.files.slates import Slate
from gr2.rl.blind_orders import COPY, NEARLY, ORDERS, describe, find_hack, mean_rewards
from gr2.rl.rewards import gr2_conditional, gr2_naive, ndcg

ROTATED = "the first moved to the end"
ITEMS = list("abcdefghij")


def slates_with_first_right(right: int, others: list[int]) -> list[Slate]:
    """Slates of ten whose target is first in `right` of them, and at the indices `others` in the rest."""
    targets = [0] * right + others
    return [Slate("s", [], ITEMS, labels=[float(index == target) for index in range(10)]) for target in targets]


@given(st.lists(st.text(max_size=2), unique=True, max_size=12))
def test_every_order_is_a_permutation(candidates):
    for order in ORDERS.values():
        assert sorted(order(candidates)) == sorted(candidates)


def test_the_orders_by_hand():
    orders = {name: "".join(order(list("abcd"))) for name, order in ORDERS.items()}
    assert orders == {COPY: "abcd", ROTATED: "bcda", NEARLY: "bacd", "the reverse": "dcba"}


@given(st.integers(0, 60), st.lists(st.integers(1, 9), min_size=1, max_size=40), st.floats(0, 1))
def test_moving_the_first_to_the_end_pays_as_derived(right, others, alpha):
    slates = slates_with_first_right(right, others)
    means, p = mean_rewards(gr2_conditional, slates, alpha), right / len(slates)
    assert means[COPY] == pytest.approx(p * alpha)
    assert means[ROTATED] == pytest.approx((1 - p) * (0.1 + alpha) - p * 0.9)


def test_at_the_bound_the_conditional_reward_turns():
    others = [1, 2, 3, 4, 5, 6, 7, 8] * 10
    below, above = (
        slates_with_first_right(n, others) for n in (20, 23)
    )  # .2 and .223 of the slates; the bound is .214
    assert find_hack(mean_rewards(gr2_conditional, below, 0.2)) == ROTATED
    assert find_hack(mean_rewards(gr2_conditional, above, 0.2)) is None
    assert find_hack(mean_rewards(gr2_conditional, below, 0.0)) is None, "without a bonus it does not pay"
    assert find_hack(mean_rewards(gr2_naive, below, 0.2)) is None, "the naive reward pays for the copy"
    assert find_hack(mean_rewards(ndcg, below, 0.2)) is None


def test_the_sentence_names_every_order():
    means = dict.fromkeys(ORDERS, 0.25)
    assert all(f"{name} 0.250" in describe(means) for name in ORDERS)

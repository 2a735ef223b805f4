from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gr2.files.slates import Slate
from gr2.prompts.answer import REASONS, Answer, parse
from gr2.rl.rewards import (
    INVALID,
    NEEDS,
    REWARDS,
    gr2_conditional,
    gr2_naive,
    has_pairs,
    rank_gain,
    reward_functions,
    target_rank,
)

ALPHA = 0.2


@st.composite
def slates(draw, smallest=1, largest=6):
    """A slate with one to all of the candidates relevant."""
    size = draw(st.integers(smallest, largest))
    candidates = draw(st.permutations([f"item{number}" for number in range(size)]))
    labels = draw(st.lists(st.sampled_from([0.0, 1.0, 2.0]), min_size=size, max_size=size).filter(any))
    return Slate("s", [], candidates, labels=labels)


paired = slates(smallest=2, largest=5).filter(lambda slate: has_pairs(slate.labels))
RANKED_BY_TARGET = sorted(set(REWARDS) - set(NEEDS))


@given(slates(), st.sampled_from(RANKED_BY_TARGET))
def test_only_the_best_order_gets_the_most(slate, name):
    """The target first is the maximum over every permutation, and every other place gets less."""
    values = {order: REWARDS[name](list(order), slate, ALPHA) for order in permutations(slate.candidates)}
    best = max(values.values())
    target = slate.relevant[0]
    for order, value in values.items():
        assert (value == best) == (order[0] == target)


@given(slates(smallest=2))
def test_copying_never_earns_the_bonus_unless_it_is_right(slate):
    reward = gr2_conditional(slate.candidates, slate, ALPHA)
    assert reward == (ALPHA if slate.labels[0] > 0 else 0.0)
    assert gr2_naive(slate.candidates, slate, ALPHA) == ALPHA


@given(slates(), st.randoms(use_true_random=False), st.floats(0, 1))
def test_bounds_and_what_the_condition_takes_away(slate, rng, alpha):
    ranking = rng.sample(slate.candidates, len(slate.candidates))
    gain = rank_gain(ranking, slate)
    conditional, naive = (reward(ranking, slate, alpha) for reward in (gr2_conditional, gr2_naive))
    assert -1 < gain < 1
    assert gain <= conditional <= naive == gain + alpha
    before, after = target_rank(slate.candidates, slate), target_rank(ranking, slate)
    assert gain == (before - after) / len(slate.candidates)
    promoted = after < before or after == before == 1
    assert conditional == (gain + alpha if promoted else gain)


@given(paired, st.sampled_from(sorted(REWARDS)), st.randoms(use_true_random=False))
def test_an_unusable_answer_is_worse_than_any_usable_one(slate, name, rng):
    assert REWARDS[name](None, slate, ALPHA) == INVALID == -1.0
    assert REWARDS[name](rng.sample(slate.candidates, len(slate.candidates)), slate, ALPHA) > INVALID


# Third to first, third to second, other candidates change ranks, the copy, third to last.
@pytest.mark.parametrize(
    ("ranking", "conditional", "naive"),
    [("cabd", 0.7, 0.7), ("acbd", 0.45, 0.45), ("bacd", 0.0, 0.2), ("abcd", 0.0, 0.2), ("abdc", -0.25, -0.05)],
)
def test_by_hand_with_the_target_third(ranking, conditional, naive):
    slate = Slate("s", [], list("abcd"), labels=[0.0, 0.0, 1.0, 0.0])
    assert gr2_conditional(list(ranking), slate) == pytest.approx(conditional)
    assert gr2_naive(list(ranking), slate) == pytest.approx(naive)


def test_by_hand_with_the_target_first():
    slate = Slate("s", [], list("abcd"), labels=[1.0, 0.0, 0.0, 0.0])
    assert gr2_conditional(list("abcd"), slate) == gr2_conditional(list("adcb"), slate) == pytest.approx(0.2)
    assert gr2_conditional(list("bacd"), slate) == pytest.approx(-0.25)
    assert gr2_naive(list("bacd"), slate) == pytest.approx(-0.05)


def test_of_several_relevant_items_the_first_in_the_input_is_the_target():
    slate = Slate("s", [], list("abcd"), labels=[0.0, 1.0, 3.0, 0.0])
    assert target_rank(list("cbad"), slate) == 2
    assert rank_gain(list("cabd"), slate) == pytest.approx(-0.25)


def test_a_slate_without_a_relevant_item_cannot_be_rewarded():
    with pytest.raises(ValueError, match="no candidate is relevant"):
        gr2_conditional(["a", "b"], Slate("s", [], ["a", "b"], labels=[0.0, 0.0]))


@given(paired)
def test_of_all_orders_those_without_a_wrong_pair_get_the_most_auc(slate):
    values = {order: REWARDS["auc"](list(order), slate, ALPHA) for order in permutations(slate.candidates)}
    for order, value in values.items():
        relevant = [slate.grades[item] > 0 for item in order]
        assert (value == max(values.values())) == (relevant == sorted(relevant, reverse=True))
    assert max(values.values()) == pytest.approx(1 + ALPHA)


@given(paired)
def test_of_all_orders_those_by_grade_get_the_most_ndcg(slate):
    values = {order: REWARDS["ndcg"](list(order), slate, ALPHA) for order in permutations(slate.candidates)}
    for order, value in values.items():
        grades = [slate.grades[item] for item in order]
        assert (value == pytest.approx(1 + ALPHA)) == (grades == sorted(grades, reverse=True))
    assert max(values.values()) == pytest.approx(1 + ALPHA)


@given(paired, st.sampled_from(sorted(NEEDS)))
def test_a_copy_of_an_input_with_a_wrong_pair_earns_no_more_than_the_worst_order(slate, name):
    copy = REWARDS[name](slate.candidates, slate, ALPHA)
    values = slate.labels if name == "ndcg" else [label > 0 for label in slate.labels]
    if values == sorted(values, reverse=True):
        assert copy > ALPHA
    else:
        assert copy == ALPHA
        others = [order for order in permutations(slate.candidates) if list(order) != slate.candidates]
        assert copy <= min(REWARDS[name](list(order), slate, ALPHA) for order in others)


def test_several_positives_by_hand():
    slate = Slate("s", [], list("abcd"), labels=[0.0, 1.0, 0.0, 2.0])
    assert REWARDS["auc"](list("abcd"), slate) == 0.2  # the copy, whose AUC would be 1 of 4
    assert REWARDS["auc"](list("bacd"), slate) == pytest.approx(2 / 4 + 0.2)
    assert REWARDS["auc"](list("bdac"), slate) == REWARDS["auc"](list("dbca"), slate) == pytest.approx(1.2)
    assert REWARDS["ndcg"](list("dbac"), slate) == pytest.approx(1.2)
    assert REWARDS["ndcg"](list("bdac"), slate) == pytest.approx((1 + 2 / 1.584963) / (2 + 1 / 1.584963) + 0.2)


def test_with_grades_an_order_may_have_an_auc_of_1_and_still_a_better_ndcg():
    slate = Slate("s", [], list("abc"), labels=[1.0, 3.0, 0.0])
    assert REWARDS["auc"](list("abc"), slate) == pytest.approx(1.2)
    assert REWARDS["ndcg"](list("abc"), slate) == 0.2
    assert REWARDS["ndcg"](list("bac"), slate) == pytest.approx(1.2)
    slate = Slate("s", [], list("abc"), labels=[1.0, 3.0, 2.0])  # all are relevant
    assert REWARDS["ndcg"](list("abc"), slate) == 0.2 < REWARDS["ndcg"](list("cba"), slate)
    assert REWARDS["ndcg"](list("bca"), slate) == pytest.approx(1.2)


@given(st.lists(st.sampled_from([0.0, 1.0]), min_size=2, max_size=50).filter(has_pairs))
def test_of_binary_labels_both_measures_say_the_same_of_a_copy(labels):
    candidates = [f"item{number}" for number in range(len(labels))]
    slate = Slate("s", [], candidates, labels=labels)
    copies = {REWARDS[name](candidates, slate, ALPHA) == ALPHA for name in ("auc", "ndcg")}
    assert copies == {labels != sorted(labels, reverse=True)}


@pytest.mark.parametrize(("name", "labels"), [
    ("auc", [0.0, 0.0]), ("auc", [1.0, 2.0]), ("ndcg", [0.0, 0.0]), ("ndcg", [2.0, 2.0]),
])  # fmt: skip
def test_a_slate_without_a_pair_has_no_pairwise_reward(labels, name):
    with pytest.raises(ValueError, match="no pair"):
        REWARDS[name](["a", "b"], Slate("s", [], ["a", "b"], labels=labels))


MALFORMED = {
    "no_json": "best: <b>",
    "truncated": '{"recommendations": ["<a>"',
    "wrong_fields": '{"recommendations": 3}',
    "empty_explanation": '{"recommendations": ["<a>", "<b>"]}',
    "unknown_id": '{"explanation": "x", "recommendations": ["<c>"]}',
    "duplicate_id": '{"explanation": "x", "recommendations": ["<a>", "<a>"]}',
    "wrong_length": '{"explanation": "x", "recommendations": ["<a>"]}',
}


@pytest.mark.parametrize("reason", REASONS)
@pytest.mark.parametrize("name", sorted(REWARDS))
def test_every_malformed_answer_gets_the_invalid_reward(reason, name):
    slate = Slate("s", [], ["a", "b"], labels=[0.0, 1.0])
    answer = parse(MALFORMED[reason], slate.candidates, {"a": "<a>", "b": "<b>"})
    assert answer.reason == reason
    assert REWARDS[name](answer.ranking, slate, ALPHA) == INVALID


@given(st.integers(0, 60), st.integers(1, 20))
def test_overlong_answers_lose_up_to_one_over_the_last_tokens(length, cache):
    """TRL's function is DAPO's equation 13: nothing up to the cache, then a line down to -1 at the limit."""
    from trl.rewards import get_soft_overlong_punishment

    (punishment,) = get_soft_overlong_punishment(40, cache)(completion_ids=[[1] * length])
    assert punishment == pytest.approx(-min(1, max(0, length - (40 - cache)) / cache))


def test_an_answer_with_a_token_that_the_tokenizer_lacks_is_unusable():
    def read(_, candidates) -> Answer:
        return Answer(ranking=list(candidates))

    (reward,) = reward_functions("ndcg", 0.2, read, known={1, 2, 3}, max_tokens=8, overlong_cache=0)
    logged, answers = {}, {"completions": [[{"content": "x"}]] * 2, "completion_ids": [[1, 2], [1, 99]]}
    slates = {"slate_id": ["s", "t"], "candidates": [["a", "b"]] * 2, "labels": [[1.0, 0.0]] * 2}
    rewards = reward(**answers, **slates, shown=[["a", "b"]] * 2, log_metric=logged.__setitem__)
    assert rewards == [1.2, -1.0] and logged["valid"] == logged["invalid/unknown_id"] == 0.5

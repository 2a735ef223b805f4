import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau

from gr2.prompts.answer import REASONS, Answer
from gr2.rl.diagnostics import diagnose

SLATE = list("abcd"), [0.0, 1.0, 0.0, 0.0]


def facts_of(*answers, slate=SLATE, shown=None):
    given_answers = [Answer(reason=answer) if answer in REASONS else Answer(ranking=list(answer)) for answer in answers]
    count = len(answers)
    return diagnose(given_answers, [slate[0]] * count, [slate[1]] * count, [list(shown or slate[0])] * count)


def test_copies_are_seen_as_copies():
    facts = facts_of("abcd", "abcd")
    assert facts["identity_rate"] == facts["kendall_tau"] == facts["kept"] == facts["valid"] == 1.0
    assert facts["promoted"] == facts["demoted"] == facts["first"] == facts["rank_change"] == 0.0


def test_a_mixed_batch_by_hand():
    facts = facts_of("bacd", "abcd", "acbd", "dcba")  # to first, copied, to third, reversed: second from the end
    assert facts["promoted"] == 0.25 and facts["kept"] == 0.25 and facts["demoted"] == 0.5
    assert facts["first"] == facts["identity_rate"] == facts["first_sunk"] == 0.25
    assert facts["rank_change"] == pytest.approx((1 + 0 - 1 - 1) / 4)
    assert facts["kendall_tau"] == pytest.approx((2 / 3 + 1 + 2 / 3 - 1) / 4)


def test_unusable_answers_count_by_kind_and_nowhere_else():
    facts = facts_of("bacd", "no_json", "no_json", "duplicate_id")
    assert facts["valid"] == 0.25
    assert facts["invalid/no_json"] == 0.5 and facts["invalid/duplicate_id"] == 0.25
    assert sum(facts[f"invalid/{kind}"] for kind in REASONS) + facts["valid"] == 1.0
    assert facts["promoted"] == facts["first"] == 1.0  # of the one usable answer


def test_a_batch_without_a_usable_answer_has_no_order_to_speak_of():
    facts = facts_of("truncated", "wrong_length")
    assert facts["valid"] == 0.0 and facts["invalid/truncated"] == 0.5
    assert "identity_rate" not in facts and "kendall_tau" not in facts


def test_lists_of_one_item_have_a_tau():
    facts = facts_of("a", slate=(["a"], [1.0]))
    assert facts["kendall_tau"] == 1.0 and facts["first_sunk"] == 0.0


def test_the_trace_is_measured_in_words_of_usable_answers():
    answers = [
        Answer("three words here", list("abcd")),
        Answer("one", list("bacd")),
        Answer("does not count", reason="unknown_id"),
    ]
    assert diagnose(answers, [SLATE[0]] * 3, [SLATE[1]] * 3, [SLATE[0]] * 3)["trace_words"] == 2.0


def test_copies_of_what_was_shown_and_of_the_pre_rankers_order_are_told_apart():
    facts = facts_of("dcba", "dcba", "abcd", "bacd", shown="dcba")
    assert facts["copied_shown"] == 0.5 and facts["identity_rate"] == 0.25
    assert facts["kendall_tau_shown"] == pytest.approx((1 + 1 - 1 - 2 / 3) / 4)
    assert facts["kendall_tau"] == pytest.approx((-1 - 1 + 1 + 2 / 3) / 4)


def test_an_unusable_answer_is_no_copy():
    facts = facts_of("abcd", "no_json", "wrong_length", "bacd")
    assert facts["valid"] == facts["identity_rate"] == facts["copied_shown"] == 0.5  # of the two that are usable


def test_with_several_relevant_items_the_best_placed_one_counts():
    slate = list("abc"), [1.0, 0.0, 1.0]
    facts = facts_of("cba", slate=slate)  # another relevant item is first than in the input
    assert facts["first"] == facts["kept"] == 1 and facts["demoted"] == facts["rank_change"] == 0
    facts = facts_of("bac", slate=slate)
    assert facts["first"] == 0 and facts["demoted"] == 1 and facts["rank_change"] == -1
    facts = facts_of("cab", slate=(list("abc"), [0.0, 1.0, 2.0]))
    assert facts["first"] == facts["promoted"] == facts["rank_change"] == 1


@given(st.lists(st.permutations("abcde"), min_size=1, max_size=5), st.permutations("abcde"), st.integers(0, 4))
def test_shares_add_up_and_tau_agrees_with_scipy(rankings, candidates, target):
    labels = [float(at == target) for at in range(5)]
    facts = facts_of(*rankings, slate=(candidates, labels))
    assert facts["promoted"] + facts["kept"] + facts["demoted"] == pytest.approx(1)
    expected = [kendalltau([candidates.index(item) for item in ranking], range(5)).statistic for ranking in rankings]
    assert facts["kendall_tau"] == pytest.approx(sum(expected) / len(expected))
    moves = [candidates.index(candidates[target]) - ranking.index(candidates[target]) for ranking in rankings]
    assert facts["rank_change"] == pytest.approx(sum(moves) / len(moves))

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau

from gr2.files.slates import Slate
from gr2.prompts.answer import REASONS, Answer
from gr2.rl.diagnostics import diagnose

SLATE = Slate("s", [], list("abcd"), labels=[0.0, 1.0, 0.0, 0.0])


def metrics_of(*answers, slate=SLATE, shown=None):
    parsed = [Answer(reason=answer) if answer in REASONS else Answer(ranking=list(answer)) for answer in answers]
    return diagnose(parsed, [slate] * len(parsed), [list(shown or slate.candidates)] * len(parsed))


def test_copies_are_seen_as_copies():
    metrics = metrics_of("abcd", "abcd")
    assert metrics["identity_rate"] == metrics["kendall_tau"] == metrics["kept"] == metrics["valid"] == 1.0
    assert metrics["promoted"] == metrics["demoted"] == metrics["first"] == metrics["rank_change"] == 0.0


def test_a_mixed_batch_by_hand():
    metrics = metrics_of("bacd", "abcd", "acbd", "dcba")  # to first, copied, to third, reversed: second from the end
    assert metrics["promoted"] == 0.25 and metrics["kept"] == 0.25 and metrics["demoted"] == 0.5
    assert metrics["first"] == metrics["identity_rate"] == metrics["first_sunk"] == 0.25
    assert metrics["rank_change"] == pytest.approx((1 + 0 - 1 - 1) / 4)
    assert metrics["kendall_tau"] == pytest.approx((2 / 3 + 1 + 2 / 3 - 1) / 4)


def test_unusable_answers_count_by_kind_and_nowhere_else():
    metrics = metrics_of("bacd", "no_json", "no_json", "duplicate_id")
    assert metrics["valid"] == 0.25
    assert metrics["invalid/no_json"] == 0.5 and metrics["invalid/duplicate_id"] == 0.25
    assert sum(metrics[f"invalid/{kind}"] for kind in REASONS) + metrics["valid"] == 1.0
    assert metrics["promoted"] == metrics["first"] == 1.0  # of the one usable answer


def test_a_batch_without_a_usable_answer_has_no_order_to_speak_of():
    metrics = metrics_of("truncated", "wrong_length")
    assert metrics["valid"] == 0.0 and metrics["invalid/truncated"] == 0.5
    assert "identity_rate" not in metrics and "kendall_tau" not in metrics


def test_lists_of_one_item_have_a_tau():
    metrics = metrics_of("a", slate=Slate("s", [], ["a"], labels=[1.0]))
    assert metrics["kendall_tau"] == 1.0 and metrics["first_sunk"] == 0.0


def test_the_trace_is_measured_in_words_of_usable_answers():
    answers = [
        Answer("three words here", list("abcd")),
        Answer("one", list("bacd")),
        Answer("does not count", reason="unknown_id"),
    ]
    assert diagnose(answers, [SLATE] * 3, [SLATE.candidates] * 3)["trace_words"] == 2.0


def test_copies_of_what_was_shown_and_of_the_pre_rankers_order_are_told_apart():
    metrics = metrics_of("dcba", "dcba", "abcd", "bacd", shown="dcba")
    assert metrics["copied_shown"] == 0.5 and metrics["identity_rate"] == 0.25
    assert metrics["kendall_tau_shown"] == pytest.approx((1 + 1 - 1 - 2 / 3) / 4)
    assert metrics["kendall_tau"] == pytest.approx((-1 - 1 + 1 + 2 / 3) / 4)


def test_an_unusable_answer_is_no_copy():
    metrics = metrics_of("abcd", "no_json", "wrong_length", "bacd")
    assert metrics["valid"] == metrics["identity_rate"] == metrics["copied_shown"] == 0.5  # of the two that are usable


def test_with_several_relevant_items_the_best_placed_one_counts():
    slate = Slate("s", [], list("abc"), labels=[1.0, 0.0, 1.0])
    metrics = metrics_of("cba", slate=slate)  # another relevant item is first than in the input
    assert metrics["first"] == metrics["kept"] == 1 and metrics["demoted"] == metrics["rank_change"] == 0
    metrics = metrics_of("bac", slate=slate)
    assert metrics["first"] == 0 and metrics["demoted"] == 1 and metrics["rank_change"] == -1
    metrics = metrics_of("cab", slate=Slate("s", [], list("abc"), labels=[0.0, 1.0, 2.0]))
    assert metrics["first"] == metrics["promoted"] == metrics["rank_change"] == 1


@given(st.lists(st.permutations("abcde"), min_size=1, max_size=5), st.permutations("abcde"), st.integers(0, 4))
def test_shares_add_up_and_tau_agrees_with_scipy(rankings, candidates, target):
    labels = [float(index == target) for index in range(5)]
    metrics = metrics_of(*rankings, slate=Slate("s", [], candidates, labels=labels))
    assert metrics["promoted"] + metrics["kept"] + metrics["demoted"] == pytest.approx(1)
    expected = [kendalltau([candidates.index(item) for item in ranking], range(5)).statistic for ranking in rankings]
    assert metrics["kendall_tau"] == pytest.approx(sum(expected) / len(expected))
    moves = [candidates.index(candidates[target]) - ranking.index(candidates[target]) for ranking in rankings]
    assert metrics["rank_change"] == pytest.approx(sum(moves) / len(moves))

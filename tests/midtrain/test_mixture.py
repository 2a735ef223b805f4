import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gr2.errors import InputError
from gr2.midtrain.mixture import TASKS, mix, read_weights


def endless(task):
    """One pass of a task: documents of different lengths that say whose they are."""
    return lambda: ((([TASKS.index(task)] * length), []) for length in (3, 1, 7))


weights = st.lists(st.floats(0.01, 1.0), min_size=4, max_size=4).map(
    lambda values: dict(zip(TASKS, values, strict=True))
)


@given(weights, st.integers(1, 30))
def test_shares_of_tokens_are_the_weights_at_every_point(weights, passes):
    used = dict.fromkeys(TASKS, 0)
    for ids, _ in mix({task: endless(task) for task in TASKS}, weights, passes):
        used[TASKS[ids[0]]] += len(ids)
        ahead = {task: used[task] / weights[task] for task in TASKS}
        assert max(ahead.values()) - min(ahead.values()) <= 7.001 / min(weights.values())  # one document at most
    assert used["sequential"] == 11 * passes


def test_the_training_is_as_long_as_its_passes_over_the_histories():
    documents = list(mix({task: endless(task) for task in TASKS}, {"sequential": 1.0}, 4))
    assert [len(ids) for ids, _ in documents] == [3, 1, 7] * 4


def test_a_task_that_has_nothing_ends_the_mixture_instead_of_turning_for_ever():
    empty = {"sequential": endless("sequential"), "general": lambda: iter([])}
    assert len(list(itertools.islice(mix(empty, {"sequential": 1.0, "general": 1.0}, 4), 100))) <= 12


@pytest.mark.parametrize(("entries", "complaint"), [
    (["captions=1"], "expected sequential=WEIGHT above 0"),
    (["sequential=0"], "expected sequential=WEIGHT above 0"),
    (["sequential=1", "sequential=1"], "at most once"),
    (["sequential=1", "poems=1"], "mixture poems=1: expected TASK=WEIGHT"),
    (["sequential=-1"], "expected TASK=WEIGHT"),
    (["sequential=nan"], "expected TASK=WEIGHT"),
    (["sequential"], "expected TASK=WEIGHT"),
])  # fmt: skip
def test_weights_that_make_no_mixture_are_refused(entries, complaint):
    with pytest.raises(InputError, match=complaint):
        read_weights(entries)


def test_a_weight_of_zero_turns_a_task_off():
    assert read_weights(["sequential=0.7", "persona=0", "captions=0.3"]) == {"sequential": 0.7, "captions": 0.3}

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gr2.errors import InputError
from gr2.rerankers.fit import by_users


@given(st.integers(2, 40), st.integers(0, 3))
def test_without_valid_slates_whole_users_are_held_out(users, seed):
    made = [{"user_id": f"u{number % users}", "number": number} for number in range(3 * users)]
    learned, judged = by_users(made, seed)
    assert sorted(slate["number"] for slate in learned + judged) == list(range(3 * users))
    held = {slate["user_id"] for slate in judged}
    assert len(held) == max(1, users // 10) and not held & {slate["user_id"] for slate in learned}
    assert by_users(made, seed) == (learned, judged)


def test_one_user_and_no_valid_slate_is_refused():
    with pytest.raises(InputError, match="expected labelled slates of split valid, or train slates of two users"):
        by_users([{"user_id": "u"}] * 5, 0)

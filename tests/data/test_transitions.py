"""Look-ups by bisection, against the whole matrices."""

import numpy as np
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from gr2.data.transitions import Transitions

SIZE = 12
ROWS = st.lists(st.integers(0, SIZE - 1), min_size=1, max_size=8).map(np.array)


def matrices(seed: int) -> list[np.ndarray]:
    """Two, of which a half and a quarter are 0; some items have no entry at all."""
    rng = np.random.default_rng(seed)
    made = [rng.random((SIZE, SIZE)) * (rng.random((SIZE, SIZE)) < share) for share in (0.5, 0.25)]
    for matrix in made:
        matrix[rng.random(SIZE) < 0.3] = 0
    return made


@given(st.integers(0, 50), ROWS, ROWS)
def test_what_is_looked_up_is_what_the_matrices_hold(seed, past, rows):
    followed, together = matrices(seed)
    found = Transitions(sp.csr_array(followed), sp.csr_array(together)).look_up(past, rows)
    assert (found[0] == followed[past][:, rows].T).all() and (found[1] == together[past][:, rows].T).all()


@given(st.integers(0, 50), st.lists(st.integers(0, SIZE - 1), min_size=1, max_size=8, unique=True).map(np.array))
def test_some_items_keep_their_numbers_and_new_ones_have_none(seed, rows):
    followed, together = matrices(seed)
    part = Transitions(sp.csr_array(followed), sp.csr_array(together)).among(rows, 2)
    everything = np.arange(len(rows) + 2)
    for found, whole in zip(part.look_up(everything, everything), (followed, together), strict=True):
        assert (found[:-2, :-2] == whole[rows][:, rows].T).all() and not found[-2:].any() and not found[:, -2:].any()


def test_without_events_nothing_was_chosen():
    nothing = np.zeros(0, np.int64)
    found = Transitions.count(nothing, nothing, 3).look_up(np.array([0, 2]), np.array([1]))
    assert [part.tolist() for part in found] == [[[0, 0]], [[0, 0]]]

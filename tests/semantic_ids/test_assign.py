import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gr2.errors import InputError
from gr2.semantic_ids import rkmeans
from gr2.semantic_ids.assign import unique_codes


@st.composite
def problems(draw):
    """Vectors, codebooks and greedy codes with collisions, but never more items in a prefix than there are codes."""
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    levels, codes = draw(st.integers(2, 3)), draw(st.integers(4, 8))
    n = draw(st.integers(1, codes))
    vectors = rng.normal(size=(n, 3)).astype(np.float32)
    codebooks = rng.normal(size=(levels, codes, 3)).astype(np.float32) * np.array([2, 1, 0.5])[:levels, None, None]
    return vectors, rkmeans.encode(vectors, codebooks.astype(np.float32)), codebooks.astype(np.float32)


def distortion(vectors, assigned, codebooks):
    return float(((vectors - rkmeans.decode(assigned, codebooks)) ** 2).sum())


@given(problems())
def test_ids_are_unique_and_keep_their_prefix(problem):
    vectors, greedy, codebooks = problem
    final = unique_codes(vectors, greedy, codebooks)
    assert len(np.unique(final, axis=0)) == len(final)
    assert (final[:, :-1] == greedy[:, :-1]).all()
    assert ((final >= 0) & (final < codebooks.shape[1])).all()
    assert (unique_codes(vectors, greedy, codebooks) == final).all()


@given(problems())
def test_items_whose_prefix_has_no_collision_keep_their_codes(problem):
    vectors, greedy, codebooks = problem
    final = unique_codes(vectors, greedy, codebooks)
    for row, codes in enumerate(greedy):
        group = greedy[(greedy[:, :-1] == codes[:-1]).all(axis=1)]
        if len(np.unique(group, axis=0)) == len(group):
            assert (final[row] == codes).all()


@given(problems(), st.integers(0, 10_000))
def test_never_worse_than_random_unused_codes(problem, seed):
    """GR2's own way: an item that collides takes a random code that its prefix does not use yet."""
    vectors, greedy, codebooks = problem
    rng, random = np.random.default_rng(seed), greedy.copy()
    taken = set()
    for row in range(len(random)):
        if tuple(random[row]) in taken:
            prefix = (random[:, :-1] == random[row, :-1]).all(axis=1)
            unused = sorted(set(range(codebooks.shape[1])) - set(random[prefix, -1].tolist()))
            random[row, -1] = rng.choice(unused)
        taken.add(tuple(random[row]))
    assert len(np.unique(random, axis=0)) == len(random)
    ours = distortion(vectors, unique_codes(vectors, greedy, codebooks), codebooks)
    assert ours <= distortion(vectors, random, codebooks) * (1 + 1e-5)


def test_the_least_distortion_by_hand():
    codebooks = np.array([[[0.0], [100.0]], [[0.0], [10.0]]], np.float32)
    vectors = np.array([[1.0], [4.0], [100.0]], np.float32)  # both of the first two are nearest to 0 + 0
    final = unique_codes(vectors, rkmeans.encode(vectors, codebooks), codebooks)
    assert final.tolist() == [[0, 0], [0, 1], [1, 0]]  # 4 moves: 1 + 36 is less than 81 + 16


def test_more_items_in_a_prefix_than_codes_are_refused():
    codebooks = np.zeros((2, 3, 2), np.float32)
    with pytest.raises(InputError, match=r"4 items share the codes \[0\].*3 last codes.*more codes or levels"):
        unique_codes(np.ones((4, 2), np.float32), np.zeros((4, 2), np.int64), codebooks)

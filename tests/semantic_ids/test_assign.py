import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gr2.errors import InputError
from gr2.semantic_ids import residual
from gr2.semantic_ids.assign import add_level, assign, draw_unused, find_collisions, index_groups
from gr2.semantic_ids.quantizer import Quantizer

NONE = np.zeros((0, 2), np.int64)


@st.composite
def problems(draw):
    """A quantizer, vectors whose codes collide, and IDs taken earlier; no more items than last codes."""
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    levels, codes = draw(st.integers(2, 3)), draw(st.integers(4, 8))
    spread = np.array([4, 2, 0.5])[:levels, None, None]
    quantizer = Quantizer("rkmeans", (rng.normal(size=(levels, codes, 3)) * spread).astype(np.float32), beam=1)
    old = draw(st.integers(0, codes // 2))
    vectors = (rng.normal(size=(draw(st.integers(1, codes - old)), 3)) * 2).astype(np.float32)
    every = np.array(list(itertools.product(range(codes), repeat=levels)))
    return quantizer, vectors, quantizer.encode(vectors), every[rng.choice(len(every), old, replace=False)]


def error(quantizer, vectors, assigned):
    return float(((vectors - residual.decode(assigned, quantizer.codebooks)) ** 2).sum())


def tuples(codes):
    return [tuple(row) for row in codes.tolist()]


@pytest.mark.parametrize("kind", ["minimum", "random"])
@given(problems())
def test_ids_are_unique_not_taken_and_keep_their_prefix(kind, problem):
    quantizer, vectors, encoded, taken = problem
    final = assign(kind, quantizer, vectors, encoded, taken, seed=0)
    assert len(set(tuples(final))) == len(final) and not set(tuples(final)) & set(tuples(taken))
    assert (final[:, :-1] == encoded[:, :-1]).all()
    assert ((final >= 0) & (final < quantizer.codebooks.shape[1])).all()
    assert (assign(kind, quantizer, vectors, encoded, taken, seed=0) == final).all()


@pytest.mark.parametrize("kind", ["minimum", "random"])
@given(problems())
def test_items_whose_prefix_has_no_collision_keep_their_codes(kind, problem):
    quantizer, vectors, encoded, taken = problem
    final = assign(kind, quantizer, vectors, encoded, taken, seed=0)
    every = np.concatenate([encoded, taken])
    for row, codes in enumerate(encoded):
        group = every[(every[:, :-1] == codes[:-1]).all(axis=1)]
        if len(set(tuples(group))) == len(group):
            assert (final[row] == codes).all()


@given(problems())
def test_minimum_is_the_least_of_all_assignments(problem):
    quantizer, vectors, encoded, taken = problem
    final = assign("minimum", quantizer, vectors, encoded, taken, seed=0)
    for rows, used in find_collisions(encoded, taken):
        free = sorted(set(range(quantizer.codebooks.shape[1])) - set(used.tolist()))
        if len(rows) > 4:
            continue  # too many to try them all
        options = [np.column_stack([encoded[rows, :-1], last]) for last in itertools.permutations(free, len(rows))]
        least = min(error(quantizer, vectors[rows], option) for option in options)
        assert error(quantizer, vectors[rows], final[rows]) == pytest.approx(least, rel=1e-5)


@given(problems(), st.integers(0, 100))
def test_minimum_is_never_worse_than_random(problem, seed):
    quantizer, vectors, encoded, taken = problem
    ours = error(quantizer, vectors, assign("minimum", quantizer, vectors, encoded, taken, seed))
    assert ours <= error(quantizer, vectors, assign("random", quantizer, vectors, encoded, taken, seed)) * (1 + 1e-5)


def test_the_least_distortion_by_hand():
    quantizer = Quantizer("rkmeans", np.array([[[0.0], [100.0]], [[0.0], [10.0]]], np.float32), beam=1)
    vectors = np.array([[1.0], [4.0], [100.0]], np.float32)  # both of the first two are nearest to 0 + 0
    final = assign("minimum", quantizer, vectors, quantizer.encode(vectors), NONE, seed=0)
    assert final.tolist() == [[0, 0], [0, 1], [1, 0]]  # 4 moves: 1 + 36 is less than 81 + 16


def test_where_a_prefix_is_too_small_those_who_stay_are_chosen_so_that_the_whole_error_is_least():
    """Three items, two last codes under their prefix: the item at 30 has no good code there, and is not kept."""
    quantizer = Quantizer("rkmeans", np.array([[[0.0], [1e3]], [[1.0], [-50.0]]], np.float32), beam=1)
    vectors = np.array([[1.0], [1.2], [30.0]], np.float32)
    final = assign("minimum", quantizer, vectors, np.array([[0, 0]] * 3), NONE, seed=0)
    assert final[:2].tolist() == [[0, 1], [0, 0]] and final[2, 0] == 1  # 1 -> -50 and 1.2 -> 1


@pytest.mark.parametrize("seed", range(5))
def test_in_dense_catalogues_the_error_is_no_more_than_that_of_any_choice_of_who_stays(seed):
    """All prefixes hold more items than codes; the least error with who stays free is a sum over prefixes."""
    rng = np.random.default_rng(seed)
    books = np.stack([rng.normal(size=(6, 2)) * 4, rng.normal(size=(6, 2))]).astype(np.float32)
    quantizer = Quantizer("rkmeans", books, beam=1)
    vectors = (rng.normal(size=(30, 2)) * 4).astype(np.float32)
    encoded = quantizer.encode(vectors)
    final = assign("minimum", quantizer, vectors, encoded, NONE, seed=0)
    for prefix in np.unique(encoded[:, 0]):
        rows = np.flatnonzero(encoded[:, 0] == prefix)
        if not 6 < len(rows) <= 8:
            continue
        cost = ((vectors[rows, None] - books[0, prefix] - books[1]) ** 2).sum(-1)
        least = min(cost[list(stay), range(6)].sum() for stay in itertools.permutations(range(len(rows)), 6))
        stayed = rows[final[rows, 0] == prefix]
        assert len(stayed) == 6 and error(quantizer, vectors[stayed], final[stayed]) == pytest.approx(least, rel=1e-5)


@pytest.mark.parametrize("count", [300, 512])
def test_equal_vectors_have_an_id_each_as_long_as_there_are_ids(count):
    """16 prefixes hold 128 of the 512 IDs."""
    quantizer = Quantizer("rkmeans", np.random.default_rng(0).normal(size=(3, 8, 4)).astype(np.float32), beam=1)
    vectors = np.ones((count, 4), np.float32)
    final = assign("minimum", quantizer, vectors, quantizer.encode(vectors), np.zeros((0, 3), np.int64), seed=0)
    assert len(set(tuples(final))) == count


def test_random_leaves_the_first_of_equals_where_it_is_and_draws_under_the_seed():
    encoded = np.zeros((4, 2), np.int64)
    drawn = {tuple(draw_unused(encoded, NONE, 200, seed)[1:, 1].tolist()) for seed in range(5)}
    assert len(drawn) == 5 and all(0 not in row and len(set(row)) == 3 for row in drawn)
    assert draw_unused(encoded, NONE, 200, 3)[0].tolist() == [0, 0]


def test_without_room_random_keeps_collisions_and_minimum_takes_the_nearest_id_elsewhere():
    quantizer = Quantizer("rkmeans", np.array([[[0.0], [5.0], [50.0]], [[0.0], [1.0], [2.0]]], np.float32), beam=1)
    vectors = np.full((5, 1), 0.1, np.float32)
    encoded = quantizer.encode(vectors)
    assert len(set(tuples(draw_unused(encoded, NONE, 3, 0)))) == 3
    final = assign("minimum", quantizer, vectors, encoded, NONE, seed=0)
    assert sorted(tuples(final)) == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]
    full = np.array([[0, 0], [0, 1], [0, 2], [1, 0]])
    assert assign("minimum", quantizer, vectors[:1], encoded[:1], full, seed=0).tolist() == [[1, 1]]


def test_where_no_id_is_left_at_all_the_collision_stays():
    quantizer = Quantizer("rkmeans", np.array([[[0.0], [1.0]], [[0.0], [0.5]]], np.float32), beam=1)
    vectors = np.zeros((5, 1), np.float32)
    final = assign("minimum", quantizer, vectors, quantizer.encode(vectors), NONE, seed=0)
    assert len(set(tuples(final))) == 4


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=12), st.integers(0, 12))
def test_an_extra_level_counts_items_with_the_same_codes(rows, cut):
    encoded = np.array(rows)
    first = add_level(encoded[:cut], np.zeros((0, 3), np.int64), 12) if cut else np.zeros((0, 3), np.int64)
    assert (first[:, :2] == encoded[:cut]).all()
    if cut < len(encoded):  # the others come later: together they are as if they had come at once
        both = np.concatenate([first, add_level(encoded[cut:], first, 12)])
        assert both.tolist() == add_level(encoded, np.zeros((0, 3), np.int64), 12).tolist()
        assert [row[2] for row in tuples(both)] == [rows[:place].count(row) for place, row in enumerate(rows)]


def test_more_equal_items_than_an_extra_level_has_codes_are_refused():
    with pytest.raises(InputError, match=r"4 items share the codes \[1, 2\].*more than a level has \(3\)"):
        add_level(np.array([[1, 2]] * 4), np.zeros((0, 3), np.int64), 3)


def test_none_leaves_the_codes_alone():
    encoded = np.zeros((3, 2), np.int64)
    assert assign("none", None, None, encoded, NONE, seed=0) is encoded


@given(st.integers(1, 3), st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3)), min_size=1))
def test_group_numbers_agree_with_unique(columns, rows):
    array = np.array(rows)[:, :columns]
    assert index_groups(array).tolist() == np.unique(array, axis=0, return_inverse=True)[1].ravel().tolist()

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gr2.semantic_ids import residual


@st.composite
def problems(draw):
    """Vectors [n, 4] and codebooks [levels, codes, 4], small enough to try every ID."""
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    levels, codes = draw(st.integers(1, 3)), draw(st.integers(2, 5))
    vectors = rng.normal(size=(draw(st.integers(1, 12)), 4)).astype(np.float32)
    return vectors, rng.normal(size=(levels, codes, 4)).astype(np.float32)


def errors(vectors, assigned, codebooks):
    return ((vectors - residual.decode(assigned, codebooks)) ** 2).sum(axis=1)


@given(problems())
def test_beam_one_takes_the_nearest_code_of_every_residual(problem):
    vectors, codebooks = problem
    rest, expected = vectors.copy(), []
    for codebook in codebooks:
        expected.append(((rest[:, None] - codebook) ** 2).sum(axis=2).argmin(axis=1))
        rest = rest - codebook[expected[-1]]
    assert residual.encode(vectors, codebooks).tolist() == np.stack(expected, axis=1).tolist()


@given(problems())
def test_a_wide_beam_finds_the_best_ids_of_all_in_order(problem):
    vectors, codebooks = problem
    levels, codes = codebooks.shape[:2]
    every = np.array(list(itertools.product(range(codes), repeat=levels)))
    found, distance = residual.search(vectors, codebooks, beam=len(every), kept=len(every))
    assert found.shape == (len(vectors), len(every), levels)
    for row, vector in enumerate(vectors):
        brute = ((vector - residual.decode(every, codebooks)) ** 2).sum(axis=1)
        assert sorted(map(tuple, found[row].tolist())) == sorted(map(tuple, every.tolist()))
        np.testing.assert_allclose(distance[row] + (vector**2).sum(), np.sort(brute), atol=1e-4)
        np.testing.assert_allclose(errors(vector[None], found[row], codebooks), np.sort(brute), atol=1e-4)


@given(problems(), st.integers(2, 8))
def test_a_beam_of_any_width_decodes_no_worse_than_its_own_best(problem, beam):
    vectors, codebooks = problem
    kept, _ = residual.search(vectors, codebooks, beam, kept=beam)
    best = np.min([errors(vectors, kept[:, place], codebooks) for place in range(kept.shape[1])], axis=0)
    np.testing.assert_allclose(errors(vectors, residual.encode(vectors, codebooks, beam), codebooks), best, atol=1e-4)


def test_chunks_do_not_show(monkeypatch):
    rng = np.random.default_rng(0)
    vectors, codebooks = rng.normal(size=(50, 4)).astype(np.float32), rng.normal(size=(3, 8, 4)).astype(np.float32)
    whole = residual.encode(vectors, codebooks, beam=4)
    monkeypatch.setattr(residual, "CHUNK", 7)
    assert (residual.encode(vectors, codebooks, beam=4) == whole).all()


def test_decode_adds_the_codes_up():
    codebooks = np.array([[[1.0, 0.0], [2.0, 0.0]], [[0.0, 3.0], [0.0, 4.0]]], np.float32)
    assert residual.decode(np.array([[0, 1], [1, 0]]), codebooks).tolist() == [[1, 4], [2, 3]]
    with pytest.raises(IndexError):
        residual.decode(np.array([[0, 2]]), codebooks)

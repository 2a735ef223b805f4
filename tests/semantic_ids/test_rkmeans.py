import numpy as np
import pytest

from gr2.semantic_ids import additive, residual, rkmeans


@pytest.fixture(scope="module")
def vectors():
    """600 vectors of 12 numbers around 40 centres of unequal weight."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(40, 12))
    weight = rng.dirichlet(np.ones(40))
    return (centres[rng.choice(40, 600, p=weight)] + 0.4 * rng.normal(size=(600, 12))).astype(np.float32)


def error(vectors, codebooks, beam=1):
    decoded = residual.decode(residual.encode(vectors, codebooks, beam), codebooks)
    return float(((vectors - decoded) ** 2).sum() / (vectors**2).sum())


@pytest.mark.parametrize("train", [rkmeans.train, rkmeans.train_balanced, additive.train])
def test_the_seed_decides_and_every_level_helps(vectors, train):
    codebooks = train(vectors, 3, 16, 0)
    assert codebooks.shape == (3, 16, 12) and codebooks.dtype == np.float32
    assert (train(vectors, 3, 16, 0) == codebooks).all()
    assert (train(vectors, 3, 16, 1) != codebooks).any()
    assert error(vectors, codebooks) < error(vectors, train(vectors, 2, 16, 0)) < 0.5


def test_training_leaves_the_vectors_alone(vectors):
    before = vectors.copy()
    for train in (rkmeans.train, rkmeans.train_balanced, additive.train):
        train(vectors, 2, 8, 0)
    assert (vectors == before).all()


def test_refitting_all_levels_together_beats_residual_k_means(vectors):
    plain, refitted = rkmeans.train(vectors, 3, 16, 0), additive.train(vectors, 3, 16, 0)
    assert error(vectors, refitted, beam=8) < 0.95 * error(vectors, plain, beam=8)


def test_refit_is_the_least_squares_solution(vectors):
    codebooks = rkmeans.train(vectors, 2, 8, 0)
    codes = residual.encode(vectors, codebooks)
    refitted = additive.refit(vectors, codes, codebooks)

    def loss(books):  # what `refit` minimises: the squared error and the ridge to the old places
        return ((vectors - residual.decode(codes, books)) ** 2).sum() + additive.RIDGE * (
            (books - codebooks) ** 2
        ).sum()

    rng = np.random.default_rng(0)
    assert loss(refitted) < loss(codebooks)
    for _ in range(20):
        assert loss(refitted) < loss(refitted + 0.01 * rng.normal(size=refitted.shape))


def test_an_unused_code_keeps_its_vector(vectors):
    codebooks = rkmeans.train(vectors, 1, 4, 0)
    far = np.concatenate([codebooks, np.full((1, 1, 12), 99, np.float32)], axis=1)
    assert np.allclose(additive.refit(vectors, residual.encode(vectors, far), far)[0, 4], 99)


def test_no_code_holds_more_than_its_share(vectors):
    codebook = rkmeans.cluster(vectors, 16, 0)
    free, balanced = rkmeans.find_nearest(vectors, codebook), rkmeans.assign_balanced(vectors, codebook)
    assert np.bincount(free).max() > 38 >= np.bincount(balanced, minlength=16).max()  # 600 / 16 = 37.5
    assert (free == balanced).mean() > 0.4  # most may stay


def test_a_refused_vector_is_farther_than_those_that_its_code_keeps():
    """Deferred acceptance is stable: a code that a vector prefers to its own is full of vectors nearer to that code."""
    rng = np.random.default_rng(3)
    vectors, codebook = rng.normal(size=(60, 2)).astype(np.float32), rng.normal(size=(6, 2)).astype(np.float32)
    code = rkmeans.assign_balanced(vectors, codebook)
    distance = ((vectors[:, None] - codebook) ** 2).sum(axis=2)
    for row, own in enumerate(code):
        for other in np.flatnonzero(distance[row] < distance[row, own] - 1e-5):
            holders = np.flatnonzero(code == other)
            assert len(holders) == 10 and distance[holders, other].max() <= distance[row, other] + 1e-5


def test_balanced_codes_are_used_more_evenly(vectors):
    def largest(codebooks):
        return np.bincount(residual.encode(vectors, codebooks)[:, 0]).max()

    assert largest(rkmeans.train_balanced(vectors, 2, 16, 0)) < largest(rkmeans.train(vectors, 2, 16, 0))

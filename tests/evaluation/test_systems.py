import numpy as np
import polars as pl

from gr2.evaluation.systems import input_positions


def test_a_ranking_becomes_the_input_positions_of_its_items():
    candidates = [["b", "a", "c"], ["z"], ["10", "9", "é", "e"]]
    rankings = [["c", "b", "a"], ["z"], ["é", "10", "e", "9"]]
    found = input_positions(pl.DataFrame({"candidates": candidates}), pl.DataFrame({"ranking": rankings}))
    assert found.tolist() == [[2, 0, 1, -1], [0, -1, -1, -1], [2, 0, 3, 1]]


def test_of_many_random_lists_too():
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 30, 200)
    orders = [rng.permutation(size) for size in sizes]
    candidates = [[f"i{item}" for item in rng.choice(1000, size, replace=False)] for size in sizes]
    rankings = [[items[at] for at in order] for items, order in zip(candidates, orders, strict=True)]
    found = input_positions(pl.DataFrame({"candidates": candidates}), pl.DataFrame({"ranking": rankings}))
    assert [row[row >= 0].tolist() for row in found] == [order.tolist() for order in orders]
    assert ((found >= 0).sum(1) == sizes).all()

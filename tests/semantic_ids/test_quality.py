import numpy as np
import polars as pl
import pytest

from gr2.semantic_ids import quality
from gr2.semantic_ids.assign import Assignment
from gr2.semantic_ids.quantizer import Quantizer


def test_quality_by_hand():
    quantizer = Quantizer("rkmeans", np.array([[[0.0], [10.0]], [[0.0], [1.0]]], np.float32), beam=1)
    vectors = np.array([[0.1], [0.2], [10.0], [11.0]], np.float32)
    encoded, final = quantizer.encode(vectors), np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    assert encoded.tolist() == [[0, 0], [0, 0], [1, 0], [1, 1]]
    items = pl.DataFrame({"categories": [["a"], ["a"], ["a"], ["b"]]})
    facts = quality.measure_quality(Assignment(quantizer, encoded, final), vectors, items, seed=0)
    energy = 0.01 + 0.04 + 100 + 121
    assert facts["uniqueness"] == 1.0 and facts["uniqueness_before_assignment"] == 0.5
    assert facts["collisions"] == 0 and facts["items_moved_by_assignment"] == 1
    assert facts["collision_sizes"] == {} and facts["collision_sizes_before_assignment"] == {"2": 1}
    assert facts["usage"] == [1.0, 1.0] and facts["entropy"] == [1.0, 1.0] and facts["perplexity"] == [2.0, 2.0]
    assert facts["reconstruction_error_before_assignment"] == pytest.approx(0.05 / energy)
    assert facts["reconstruction_error"] == pytest.approx((0.01 + 0.64) / energy)
    assert facts["added_distortion"] == pytest.approx(0.6 / energy)
    assert facts["added_distortion_of_random"] == pytest.approx(0.6 / energy)  # one code was free, nothing to draw
    assert [row["share"] for row in facts["category_purity"]] == [0.75, 1.0]


def test_uniqueness_and_collision_sizes():
    codes = np.array([[1], [1], [2], [3], [3], [3], [4], [5], [5]])
    assert quality.uniqueness(codes) == pytest.approx(2 / 9)
    assert quality.collision_sizes(codes) == {"2": 2, "3": 1}


def test_entropy_of_codes_used_alike_and_of_one():
    assert quality.entropy(np.array([3, 3, 0, 3, 3])) == pytest.approx(2.0)
    assert quality.entropy(np.array([0, 7])) == 0.0


def test_purity_stands_beside_what_chance_gives():
    rng = np.random.default_rng(0)
    category = rng.integers(5, size=2000)
    codes = np.stack([category, rng.integers(5, size=2000)], axis=1)
    rows = quality.category_purity(codes, category.astype(str).tolist(), seed=0)
    assert [row["prefix"] for row in rows] == [1, 2] and rows[0]["share"] == 1.0
    assert 0.2 < rows[0]["by_chance"] < 0.24 < rows[1]["by_chance"] < 0.35  # smaller groups are purer by chance


def test_neighbours_of_clusters_share_their_first_code_and_nothing_by_chance():
    rng = np.random.default_rng(0)
    centre = np.arange(400) % 20  # 20 far clusters of 20 items
    vectors = (rng.normal(size=(20, 8))[centre] * 10 + rng.normal(size=(400, 8))).astype(np.float32)
    codes = np.stack([centre, rng.integers(4, size=400), rng.integers(4, size=400)], axis=1)
    rows = quality.neighbour_preservation(vectors, codes, seed=0)
    assert [row["prefix"] for row in rows] == [1, 2, 3]
    assert rows[0]["share"] > 0.99 and rows[0]["by_chance"] == pytest.approx(19 / 399)
    assert rows[1]["share"] == pytest.approx(0.25, abs=0.03)
    scattered = quality.neighbour_preservation(vectors, rng.permutation(codes), seed=0)
    assert scattered[0]["share"] == pytest.approx(scattered[0]["by_chance"], abs=0.03)


def test_a_catalogue_of_one_item_has_no_neighbours_and_does_not_fail():
    rows = quality.neighbour_preservation(np.ones((2, 3), np.float32), np.array([[0], [1]]), seed=0)
    assert rows == [{"prefix": 1, "share": 0.0, "by_chance": 0.0}]


def test_a_sample_of_queries_is_enough(monkeypatch):
    rng = np.random.default_rng(0)
    vectors, codes = rng.normal(size=(900, 4)).astype(np.float32), rng.integers(4, size=(900, 1))
    whole = quality.neighbour_preservation(vectors, codes, seed=0)[0]["share"]
    monkeypatch.setattr(quality, "QUERIES", 500)
    assert quality.neighbour_preservation(vectors, codes, seed=0)[0]["share"] == pytest.approx(whole, abs=0.03)

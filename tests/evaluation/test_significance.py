import numpy as np
import pytest

from gr2.evaluation import significance
from gr2.evaluation.significance import compare, level, mean_interval, sign_flip_p_value


def two_systems(rng, effect, n_users=60, per_user=3):
    """Scores of two systems; users differ a lot, slates of one user little."""
    users = np.repeat(np.arange(n_users), per_user)
    taste = rng.normal(size=n_users)[users]
    baseline = taste + 0.5 * rng.normal(size=len(users))
    shift = effect + 0.3 * rng.normal(size=n_users)[users]  # some users gain more
    return taste + shift + 0.5 * rng.normal(size=len(users)), baseline, users


def test_interval_covers_the_true_difference_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(100):
        system, baseline, users = two_systems(rng, effect=0.2)
        found = compare(system, baseline, users, resamples=300, seed=seed)
        covered += bool(found.ci_low <= 0.2 <= found.ci_high)
    assert 87 <= covered <= 99


def test_with_few_users_the_interval_covers_as_often_as_it_says_too():
    """Unexpanded, the intervals of 8 users cover the truth in 90 % of these worlds."""
    rng = np.random.default_rng(6)
    covered = 0
    for seed in range(300):
        low, high = mean_interval(rng.normal(size=8), np.arange(8), 400, seed)
        covered += bool(low <= 0 <= high)
    assert covered / 300 >= 0.92


def test_with_many_users_the_interval_is_of_the_plain_percentiles():
    assert level(201) == 0.95 and 0.9515 < level(200) < 0.953
    assert level(40) == pytest.approx(0.95942, abs=1e-4)  # 2 Phi(sqrt(40 / 39) * 2.0227) - 1


def test_no_difference_gives_spread_p_values():
    rng = np.random.default_rng(1)
    p = []
    for seed in range(100):
        system, baseline, users = two_systems(rng, effect=0)
        p.append(float(sign_flip_p_value(system - baseline, users, 300, seed)))
    assert np.mean(np.array(p) < 0.05) < 0.13
    assert 0.35 < np.mean(p) < 0.65 and max(p) > 0.9


def test_a_clear_difference_is_found():
    system, baseline, users = two_systems(np.random.default_rng(2), effect=0.5)
    found = compare(system, baseline, users, resamples=2000, seed=0)
    assert found.p_value < 0.005 and 0 < found.ci_low < found.delta < found.ci_high
    back = compare(baseline, system, users, resamples=2000, seed=0)
    assert back.ci_high < 0 and back.delta == pytest.approx(-found.delta)


def test_copies_of_a_users_slates_are_no_new_evidence():
    rng = np.random.default_rng(3)
    values, users = rng.normal(size=80), np.arange(80)
    copied, owners = np.tile(values, 4), np.tile(users, 4)
    width = [high - low for low, high in (mean_interval(copied, u, 1000, 0) for u in (owners, np.arange(320)))]
    assert width[0] > 1.6 * width[1]  # slates taken for independent look twice as certain
    alone = mean_interval(values, users, 1000, 0)
    assert np.array(mean_interval(copied, owners, 1000, 0)) == pytest.approx(np.array(alone))
    assert sign_flip_p_value(copied + 0.1, owners, 1000, 0) == sign_flip_p_value(values + 0.1, users, 1000, 0)


def test_the_mean_is_over_slates_not_over_users():
    values, users = np.array([1.0, 1, 1, 0]), np.array(["a", "a", "a", "b"])
    found = compare(values, np.zeros(4), users, resamples=500, seed=0)
    assert found.delta == 0.75 and (found.ci_low, found.ci_high) == (0, 1)


def test_same_seed_same_answer_and_many_columns_as_one_by_one():
    rng = np.random.default_rng(4)
    values, users = rng.normal(size=(90, 2, 3)), rng.integers(0, 30, 90)
    together = compare(values, np.zeros_like(values), users, resamples=400, seed=7)
    again = compare(values, np.zeros_like(values), users, resamples=400, seed=7)
    assert together.ci_low.shape == together.p_value.shape == (2, 3)
    np.testing.assert_array_equal(together.ci_low, again.ci_low)
    alone = compare(values[:, 1, 2], np.zeros(90), users, resamples=400, seed=7)
    assert alone.ci_low == pytest.approx(together.ci_low[1, 2]) and alone.p_value == together.p_value[1, 2]
    other = compare(values, np.zeros_like(values), users, resamples=400, seed=8)
    assert (together.ci_low != other.ci_low).any()


def test_memory_limit_does_not_change_the_answer(monkeypatch):
    rng = np.random.default_rng(5)
    values, users = rng.normal(size=50), np.arange(50)
    whole = compare(values, np.zeros(50), users, resamples=400, seed=0)
    monkeypatch.setattr("gr2.evaluation.significance.CELLS", 500)
    in_parts = compare(values, np.zeros(50), users, resamples=400, seed=0)
    assert in_parts.ci_low == pytest.approx(whole.ci_low) and in_parts.p_value == pytest.approx(whole.p_value)


def test_edge_cases():
    one_user = compare(np.ones(3), np.zeros(3), np.zeros(3), resamples=200, seed=0)
    assert np.isnan(one_user.ci_low) and one_user.p_value == 1 and one_user.delta == 1
    same = compare(np.ones(6), np.ones(6), np.arange(6), resamples=200, seed=0)
    assert (same.delta, same.ci_low, same.ci_high, same.p_value) == (0, 0, 0, 1)
    exact = sign_flip_p_value(np.ones(5), np.arange(5), 2000, 0)  # 2 of the 32 flips are as extreme
    assert exact == pytest.approx(2 / 32)


def test_of_many_users_groups_are_resampled_and_the_interval_is_about_the_same(monkeypatch):
    rng = np.random.default_rng(8)
    users = rng.integers(0, 4000, 12_000)
    values = rng.normal(size=4000)[users] + rng.normal(size=12_000)
    one_by_one = compare(values, np.zeros(1), users, resamples=1000, seed=0)
    monkeypatch.setattr(significance, "MOST", 400)
    grouped = compare(values, np.zeros(1), users, resamples=1000, seed=0)
    widths = [found.ci_high - found.ci_low for found in (one_by_one, grouped)]
    assert 0.85 < widths[1] / widths[0] < 1.15 and one_by_one.delta == grouped.delta
    assert abs(one_by_one.p_value - grouped.p_value) < 0.1


def test_a_group_holds_whole_users_and_as_many_as_any_other(monkeypatch):
    users = np.repeat(np.arange(100), 3)
    assert (significance._group(users) == users).all()
    monkeypatch.setattr(significance, "MOST", 30)
    groups = significance._group(users).reshape(100, 3)
    assert (groups == groups[:, :1]).all() and sorted(np.bincount(groups[:, 0])) == [3] * 20 + [4] * 10

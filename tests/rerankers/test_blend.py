import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gr2.data.features import NAMES, load_features
from gr2.errors import InputError
from gr2.files.artifacts import read_json
from gr2.files.slates import Slate, slates_of
from gr2.rerankers.blend import Blend, train_blend
from gr2.stages import rerank
from gr2.stages import slates as slates_stage
from tests.helpers import fit, untold


@pytest.fixture(scope="module")
def every_slate(world, tmp_path_factory):
    """Slates of all 48 items: popularity knows nothing of a user's genre, the vectors do."""
    folder = tmp_path_factory.mktemp("every")
    slates_stage.run(
        slates_stage.Config(
            items=world.items,
            interactions=world.interactions,
            semantic_ids=world.semantic_ids,
            output_dir=str(folder),
            pre_ranker=["popularity"],
            exclude_seen=False,
            candidates=48,
        )
    )
    return str(folder / "slates.parquet")


def fitted(world, slates, folder, **changed):
    options = {"items": world.items, "interactions": world.interactions, "embeddings": world.embeddings}
    fit("blend", folder, options, slates=slates, **changed)
    return folder


def answered(world, slates, reranker, folder, **changed):
    options = {"items": world.items, "interactions": world.interactions, "embeddings": world.embeddings}
    rerank.run(rerank.Config(slates=slates, reranker=str(reranker), output_dir=str(folder), **options | changed))
    return pl.read_parquet(folder / "rankings.parquet")


def mean_reciprocal_rank(slates, rankings):
    joined = slates.join(rankings, on="slate_id")
    assert len(joined) == len(slates)
    rows = joined.select("candidates", "labels", "ranking").rows()
    return np.mean([1 / (1 + ranking.index(candidates[labels.index(1.0)])) for candidates, labels, ranking in rows])


def test_it_beats_the_input_order_on_held_out_slates(world, every_slate, tmp_path):
    folder = fitted(world, every_slate, tmp_path / "blend")
    test = pl.read_parquet(every_slate).filter(pl.col("split") == "test")
    blended = answered(world, every_slate, folder, tmp_path / "a")
    given = answered(world, every_slate, "input_order", tmp_path / "b")
    assert len(test) == 160
    assert mean_reciprocal_rank(test, blended) > 1.5 * mean_reciprocal_rank(test, given)
    assert blended["valid"].all()
    for values in blended["scores"].to_list():
        assert values == sorted(values, reverse=True)


def planted(seed, signal):
    """Slates whose chosen item is always the one most like the last of the history, or (no signal) any."""
    rng = np.random.default_rng(seed)
    vectors = np.random.default_rng(0).normal(size=(30, 8))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    made = []
    for number in range(200):
        history, candidates = rng.choice(30, 3, replace=False), rng.choice(30, 10, replace=False)
        likeness = vectors[candidates] @ vectors[history[-1]] if signal else rng.random(10)
        labels = (likeness == likeness.max()).astype(float).tolist()
        past, names = [f"i{row}" for row in history], [f"i{row}" for row in candidates]
        made.append(Slate(str(number), past, names, labels))
    return made, untold(vectors)


def first_is_right(made, features, folder):
    scores = Blend(folder, features).scores(made)
    return np.mean([slate.labels[int(values.argmax())] for slate, values in zip(made, scores, strict=True)])


def test_it_finds_a_planted_signal_and_none_where_there_is_none(tmp_path):
    train, features = planted(1, signal=True)
    weights = train_blend(train, features, tmp_path / "signal", seed=0)
    assert max(weights, key=lambda name: abs(weights[name])) == "similarity_last" and weights["similarity_last"] > 0
    assert first_is_right(planted(2, signal=True)[0], features, tmp_path / "signal") > 0.9
    train_blend(planted(1, signal=False)[0], features, tmp_path / "noise", seed=0)
    assert first_is_right(planted(2, signal=False)[0], features, tmp_path / "noise") < 0.25  # 0.1 by chance


def test_the_file_is_all_there_is_and_the_same_every_time(world, every_slate, tmp_path):
    first, again = fitted(world, every_slate, tmp_path / "a"), fitted(world, every_slate, tmp_path / "b")
    assert (first / "blend.json").read_bytes() == (again / "blend.json").read_bytes()
    model = read_json(first / "blend.json")
    assert list(model["weights"]) == list(NAMES) and len(model["mean"]) == len(model["scale"]) == len(NAMES)
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "blend.json").write_text(json.dumps(model))
    features = load_features(world.items, world.interactions, world.embeddings)
    test = pl.read_parquet(every_slate).filter(pl.col("split") == "test").head(5)
    scores = [Blend(folder, features).scores(slates_of(test)) for folder in (first, tmp_path / "copy")]
    for one, other in zip(*scores, strict=True):
        assert (one == other).all()


def test_later_events_change_nothing(world, every_slate, tmp_path):
    events = pl.read_parquet(world.interactions)
    later = events.filter(pl.col("split") != "pretrain")
    changed = later.with_columns(later["item_id"].reverse(), pl.col("timestamp") * 7)
    pl.concat([events.filter(pl.col("split") == "pretrain"), changed, changed]).write_parquet(
        tmp_path / "later.parquet"
    )
    first = fitted(world, every_slate, tmp_path / "a")
    other = fitted(world, every_slate, tmp_path / "b", interactions=str(tmp_path / "later.parquet"))
    assert (first / "blend.json").read_bytes() == (other / "blend.json").read_bytes()
    earlier = events.with_columns(
        pl.when(pl.col("position") < 3).then(pl.lit("film00")).otherwise("item_id").alias("item_id")
    )
    earlier.write_parquet(tmp_path / "earlier.parquet")
    other = fitted(world, every_slate, tmp_path / "c", interactions=str(tmp_path / "earlier.parquet"))
    assert (first / "blend.json").read_bytes() != (other / "blend.json").read_bytes()  # pretrain events do matter


@given(
    st.lists(st.integers(0, 29), min_size=1, max_size=9, unique=True),
    st.lists(st.integers(0, 29), min_size=1, max_size=5),
)
@settings(max_examples=40)
def test_every_list_is_a_permutation(planted_blend, candidates, history):
    """Slates of one item or many, repeated histories, items that were never bought; no scores and no labels."""
    folder, features = planted_blend
    names, past = ([f"i{at}" for at in rows] for rows in (candidates, history))
    (ranking,) = Blend(folder, features).rank([Slate("s", past, names)])
    assert sorted(ranking.ranking) == sorted(names) and np.isfinite(ranking.scores).all()


@pytest.fixture(scope="module")
def planted_blend(tmp_path_factory):
    train, features = planted(1, signal=True)
    folder = tmp_path_factory.mktemp("planted")
    train_blend(train, features, folder, seed=0)
    return folder, features


def test_slates_without_a_relevant_train_slate_are_refused(world, every_slate, tmp_path):
    pl.read_parquet(every_slate).filter(pl.col("split") != "train").write_parquet(tmp_path / "slates.parquet")
    with pytest.raises(InputError, match="no train slate has a relevant candidate"):
        fitted(world, str(tmp_path / "slates.parquet"), tmp_path / "blend")
    assert not (tmp_path / "blend").exists()

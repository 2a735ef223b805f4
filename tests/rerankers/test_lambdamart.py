import numpy as np
import polars as pl
import pytest

from gr2 import metrics
from gr2.arrays import pad
from gr2.cli import main
from gr2.data.features import NAMES
from gr2.errors import InputError
from gr2.files.slates import Slate
from gr2.rerankers.lambdamart import LambdaMART, train_lambdamart
from tests.helpers import gr2, untold


def planted(seed, noise=0.0, count=100):
    """Slates whose labels, three levels of seconds watched, follow the candidates' likeness to the last of the
    history.
    """
    rng = np.random.default_rng(seed)
    vectors = np.random.default_rng(0).normal(size=(30, 8))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    made = []
    for number in range(count):
        history, candidates = rng.choice(30, 3, replace=False), rng.choice(30, 10, replace=False)
        likeness = vectors[candidates] @ vectors[history[-1]] + noise * rng.normal(size=10)
        rank = (-likeness).argsort().argsort()
        labels = np.select([rank == 0, rank < 3], [90.5, 12.25], 0.0)
        past, names = [f"i{row}" for row in history], [f"i{row}" for row in candidates]
        made.append(Slate(str(number), past, names, labels.tolist()))
    return made, untold(vectors)


def scored(slates, features, folder):
    return LambdaMART(folder, features).scores(slates)


def ndcg(slates, scores, k):
    ranked = [np.array(slate.labels)[(-own).argsort(kind="stable")] for slate, own in zip(slates, scores, strict=True)]
    return metrics.ndcg(pad(ranked, np.nan), k).mean()


def test_it_finds_the_feature_that_decides(tmp_path):
    train, features = planted(1, count=300)
    shares = train_lambdamart(train, planted(2)[0], features, tmp_path, 6, seed=0)
    assert list(shares) == list(NAMES) and sum(shares.values()) == pytest.approx(1)
    assert shares["similarity_last"] > 0.9
    test = planted(3)[0]
    assert ndcg(test, scored(test, features, tmp_path), 6) > 0.95
    given = [-np.arange(10.0)] * len(test)
    assert ndcg(test, given, 6) < 0.6


@pytest.mark.parametrize("size", [1, 6])
def test_it_stops_by_gr2s_own_ndcg_of_float_labels(tmp_path, capsys, size):
    train, features = planted(1, noise=0.3)
    valid = planted(2, noise=0.3)[0]
    valid[0].labels[4] = 33.3  # a label that no train slate has
    train_lambdamart(train, valid, features, tmp_path, size, seed=0)
    own = ndcg(valid, scored(valid, features, tmp_path), size)
    assert 0.3 < own < 0.95
    assert "100 train slates, 100 valid: " in (said := capsys.readouterr().out)
    assert said.strip().endswith(f"trees, ndcg@{size} {own:.3f}")


def test_a_slate_is_scored_alike_among_any_others(tmp_path):
    train, features = planted(1)
    train_lambdamart(train, planted(2)[0], features, tmp_path, 6, seed=0)
    short = Slate("s", ["i3", "i3"], ["i3"])
    made = [train[0], short, *planted(3)[0][:3]]
    model = LambdaMART(tmp_path, features)
    for slate, ranking, values in zip(made, model.rank(made), model.scores(made), strict=True):
        assert sorted(ranking.ranking) == sorted(slate.candidates)
        assert (values == scored([slate], features, tmp_path)[0]).all()


def test_slates_that_no_tree_can_be_grown_from_are_refused(tmp_path):
    """A model without a split would rank every slate as it came, under the name of lambdamart."""
    train, features = planted(1, count=1)
    with pytest.raises(InputError, match="fit lambdamart: no feature splits the 1 train slates; expected more of them"):
        train_lambdamart(train, train, features, tmp_path, 6, seed=0)
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_no_model_of_these_features_is_refused(tmp_path):
    import lightgbm

    train, features = planted(1, count=2)
    other = lightgbm.train({"verbosity": -1, "min_data_in_leaf": 1}, lightgbm.Dataset(np.eye(20), np.arange(20)), 1)
    other.save_model(tmp_path / "model.txt")
    with pytest.raises(
        InputError, match=r"model.txt: expected features that gr2 knows, found Column_0, .*; run `gr2 fit` again"
    ):
        scored(train, features, tmp_path)
    for text in ("", "no model\n"):
        (tmp_path / "model.txt").write_text(text)
        with pytest.raises(InputError, match=r"model.txt: expected a model of LightGBM"):
            scored(train, features, tmp_path)


def test_from_the_command_line_to_the_same_bytes(world, tmp_path, capsys):
    words = ["--items", world.items, "--slates", world.slates, "--embeddings", world.embeddings]
    events = ["--interactions", world.interactions]
    fit = ["fit", "lambdamart", *words, *events, "--output_dir"]
    said = gr2(*fit, tmp_path / "a").stdout
    assert "trees, ndcg@6 0." in said and "shares of the gain: popularity 0." in said
    main([*fit, str(tmp_path / "b")])
    assert (tmp_path / "a/model.txt").read_bytes() == (tmp_path / "b/model.txt").read_bytes()
    with pytest.raises(SystemExit):
        main(["rerank", "--reranker", str(tmp_path / "a"), "--output_dir", str(tmp_path / "answers"), *words])
    assert "expected --interactions" in capsys.readouterr().err
    gr2("rerank", "--reranker", tmp_path / "a", "--output_dir", tmp_path / "answers", *words, *events)
    slates = pl.read_parquet(world.slates).filter(pl.col("split") == "test")
    rankings = pl.read_parquet(tmp_path / "answers/rankings.parquet")
    joined = slates.join(rankings, on="slate_id", maintain_order="left")
    assert len(joined) == len(slates) and rankings["valid"].all()
    rows = joined.select("candidates", "labels", "ranking").rows()
    ranked = [[labels[candidates.index(item)] for item in ranking] for candidates, labels, ranking in rows]
    given = slates["labels"].to_list()
    assert metrics.ndcg(pad(ranked, np.nan), 5).mean() > 0.1 + metrics.ndcg(pad(given, np.nan), 5).mean()

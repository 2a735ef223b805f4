"""Clicks on lists of a poor ranker: the position tells most of them, the likeness to the last item what is liked."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import save_file

from gr2 import metrics
from gr2.data.features import RANKED, find_names
from gr2.files.artifacts import read_json
from gr2.files.items import order_digest
from gr2.files.slates import Slate, write_slates
from gr2.rerankers.blend import Blend, train_blend
from gr2.rerankers.lambdamart import LambdaMART, train_lambdamart
from gr2.rerankers.open import open_reranker
from gr2.rerankers.protocol import Inputs
from tests.helpers import fit, untold

VECTORS = np.random.default_rng(0).normal(size=(40, 6))
VECTORS /= np.linalg.norm(VECTORS, axis=1, keepdims=True)
SHOWN = 8


def log(seed, count):
    """Slates with positions and clicks, and P(click | looked at), float [count, SHOWN]."""
    rng, slates, truth = np.random.default_rng(seed), [], []
    for number in range(count):
        past, items = rng.choice(40, 2, replace=False), rng.choice(40, SHOWN, replace=False)
        likeness = VECTORS[items] @ VECTORS[past[-1]]
        items = items[np.argsort(0.5 * likeness + 0.3 * rng.normal(size=SHOWN))]  # the least liked first, mostly
        relevance = 1 / (1 + np.exp(1.5 - 4 * (VECTORS[items] @ VECTORS[past[-1]])))
        clicks = rng.random(SHOWN) < relevance / np.arange(1, SHOWN + 1)
        slates.append(Slate(str(number), [f"i{row}" for row in past], [f"i{row}" for row in items],
                            clicks.astype(float).tolist(), positions=list(range(1, SHOWN + 1))))  # fmt: skip
        truth.append(relevance)
    return slates, np.array(truth)


def without(slates):
    return [replace(slate, positions=[]) for slate in slates]


def ndcg(truth, scores):
    order = np.argsort(-np.array(scores), axis=1, kind="stable")
    return metrics.ndcg(np.take_along_axis(truth, order, axis=1), 5).mean()


def clicked(slates):
    return [slate for slate in slates if any(slate.labels)]


def fit_blend(train, valid, features, folder):
    train_blend(train, features, folder, seed=0)
    return Blend(folder, features)


def fit_lambdamart(train, valid, features, folder):
    train_lambdamart(clicked(train), clicked(valid), features, folder, 5, seed=0)
    return LambdaMART(folder, features)


@pytest.mark.parametrize("fit", [fit_blend, fit_lambdamart])
def test_positions_take_the_bias_out_of_what_is_learned_from_clicks(fit, tmp_path):
    features = untold(VECTORS)
    (train, _), (valid, _), (test, truth) = log(1, 1500), log(2, 300), log(3, 400)
    found = {}
    for name, kept in (("with", list), ("without", without)):
        folder = tmp_path / name
        folder.mkdir()
        found[name] = ndcg(truth, fit(kept(train), kept(valid), features, folder).scores(test))
    assert found["with"] > 0.96 and found["with"] > found["without"] + 0.05, found
    reranker = (Blend if fit is fit_blend else LambdaMART)(tmp_path / "with", features)
    assert not set(RANKED) & set(reranker.names)
    turned = [slate.reordered(range(SHOWN)[::-1]) for slate in without(test)]
    for own, other in zip(reranker.scores(test), reranker.scores(turned), strict=True):
        assert own == pytest.approx(other[::-1]), "where an item stands when it is ranked changes nothing"


def test_lambdamart_prints_the_ndcg_of_the_trees_that_it_writes(tmp_path, capsys):
    """Of the trees alone: with the positions they order the clicks of a log much better."""
    features, (train, _), (valid, _) = untold(VECTORS), log(1, 1500), log(2, 300)
    reranker, slates = fit_lambdamart(train, valid, features, tmp_path), clicked(valid)
    value = ndcg(np.array([slate.labels for slate in slates]), reranker.scores(without(slates)))
    said = capsys.readouterr().out
    assert f"trees, ndcg@5 {value:.3f} (" in said and said.strip().endswith(" with the positions, by which it stopped)")
    assert float(said.split("(")[1].split()[0]) > value + 0.05


def test_the_blend_tells_what_a_position_costs(tmp_path):
    train, _ = log(1, 1500)
    weights = train_blend(train, untold(VECTORS), tmp_path, seed=0)
    assert weights["position"] == pytest.approx(-1.3, abs=0.4)  # about eta, 1, in log odds of clicks that are not rare
    assert read_json(tmp_path / "blend.json")["position"] == weights["position"]
    assert "position" not in read_json(tmp_path / "blend.json")["weights"]


def test_slates_of_a_log_have_no_feature_of_their_rank():
    slates, _ = log(1, 2)
    assert set(find_names(without(slates))) - set(find_names(slates)) == set(RANKED)


@pytest.fixture(scope="module")
def logged(tmp_path_factory) -> dict[str, str]:
    """Files of a log: its items, one event, vectors, slates with positions."""
    folder = tmp_path_factory.mktemp("logged")
    names = {name: f"{name}.parquet" for name in ("items", "interactions", "slates")}
    known = {name: str(folder / file) for name, file in (names | {"embeddings": "embeddings.safetensors"}).items()}
    items = pl.DataFrame({"item_id": [f"i{at}" for at in range(40)], "title": "a film"})
    items.write_parquet(known["items"])
    event = {"user_id": ["u"], "item_id": ["i0"], "timestamp": [1], "position": [0], "split": ["pretrain"]}
    pl.DataFrame(event).write_parquet(known["interactions"])
    vectors = VECTORS.astype(np.float32)
    save_file({"embeddings": vectors}, known["embeddings"], {"items": order_digest(items["item_id"])})
    parts = {split: clicked(log(seed, count)[0]) for split, seed, count in (("train", 1, 300), ("valid", 2, 150))}
    slates = [
        replace(slate, slate_id=f"{split} {slate.slate_id}", user_id=f"u{number % 9}", split=split)
        for split, some in parts.items()
        for number, slate in enumerate(some)
    ]
    write_slates(slates, known["slates"])
    return known


def test_networks_that_learned_from_a_log_rank_alike_in_any_order(logged, tmp_path):
    """The clicks fall with the position, so a network that sees the place of a candidate learns to copy the order."""
    tiny = {"hidden_size": 8, "epochs": 3, "learning_rate": 1e-2}
    fit("prm", tmp_path / "plain", logged, **tiny)
    fit("prm", tmp_path / "prm", logged, features=True, **tiny)
    fit("one_pass", tmp_path / "one_pass", logged, readout="none", head_size=8, epochs=3)
    fit("fusion", tmp_path / "fusion", logged, members=[str(tmp_path / "prm"), str(tmp_path / "one_pass")])
    inputs = Inputs(logged["items"], logged["interactions"], logged["embeddings"])
    shown = without(log(3, 60)[0])
    for kind in ("plain", "prm", "one_pass", "fusion"):
        reranker = open_reranker(str(tmp_path / kind), inputs)
        turned = [slate.reordered(range(SHOWN)[::-1]) for slate in shown]
        for one, other in zip(reranker.rank(shown), reranker.rank(turned), strict=True):
            assert one.ranking == other.ranking and one.scores == pytest.approx(other.scores, abs=1e-4), kind

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gr2 import metrics
from gr2.data.features import NAMES, load_features
from gr2.errors import InputError
from gr2.files.slates import Slate, read_slate_table, slates_of
from gr2.rerankers.prm.network import PRM, PRMConfig, encode
from gr2.rerankers.prm.reranker import PRMReranker
from gr2.rerankers.prm.train import collate
from gr2.rerankers.record import RECORD
from gr2.stages import rerank
from gr2.stages import slates as slates_stage
from gr2.training import LOG
from tests.forking import forked
from tests.helpers import resumed_after_a_kill, untold

N_ITEMS = 12


@pytest.fixture(scope="module")
def features():
    """Of i0 to i11, of which only i0 and i1 were ever bought."""
    return untold(np.random.default_rng(0).normal(size=(N_ITEMS, 6)), ["i0", "i1", "i1"])


@pytest.fixture(scope="module", params=[False, True], ids=["", "features"])
def folder(request, tmp_path_factory):
    """An untrained model, whose answers depend on all it reads, that has seen slates of five and histories of three."""
    torch.manual_seed(0)
    inputs = NAMES if request.param else ("score",)
    shape = {"hidden_size": 8, "ranks": 5, "history": 3}
    model = PRM(PRMConfig(vector_size=6, features=request.param, inputs=inputs, **shape))
    for parameter in model.parameters():
        parameter.data.normal_(std=0.5)
    path = tmp_path_factory.mktemp("prm")
    model.save_pretrained(path)
    return path


@st.composite
def some_slates(draw):
    """Slates of one item or many, without labels, with scores or without, with repeated histories."""
    items = st.integers(0, N_ITEMS - 1).map("i{}".format)
    made = []
    for number in range(draw(st.integers(1, 4))):
        candidates = draw(st.lists(items, min_size=1, max_size=9, unique=True))
        value = st.floats(-1e6, 1e6)
        scores = draw(st.just([]) | st.lists(value, min_size=len(candidates), max_size=len(candidates)))
        history = draw(st.lists(items, min_size=1, max_size=6))
        made.append(Slate(f"s{number}", history, candidates, scores=scores))
    return made


@given(some_slates())
@settings(max_examples=20)
def test_every_list_is_a_permutation_and_no_slate_changes_another(features, folder, made):
    reranker = PRMReranker(folder, features)
    for slate, ranking, values in zip(made, reranker.rank(made), reranker.scores(made), strict=True):
        assert sorted(ranking.ranking) == sorted(slate.candidates)
        assert np.isfinite(ranking.scores).all() and ranking.scores == sorted(ranking.scores, reverse=True)
        assert values == pytest.approx(reranker.scores([slate])[0], rel=1e-4, abs=1e-4)


def test_all_that_it_reads_counts(features, folder):
    reranker = PRMReranker(folder, features)
    slate = Slate("s", ["i3", "i4", "i5"], ["i0", "i1", "i2"], scores=[3.0, 2.0, 0.0])
    (before,) = reranker.scores([slate])
    for change in (
        {"history": ["i4", "i3", "i5"]},
        {"history": ["i3", "i4", "i6"]},
        {"scores": [3.0, 0.0, 2.0]},
        {"candidates": ["i0", "i2", "i1"]},
        {"candidates": ["i0", "i1", "i7"]},
    ):
        (after,) = reranker.scores([replace(slate, **change)])
        assert abs(after[0] - before[0]) > 1e-4, change  # though the first candidate is the same
    (longer,) = reranker.scores([replace(slate, history=["i9", *slate.history])])
    if not PRMConfig.from_pretrained(folder).features:  # older than the three that it reads
        assert longer == pytest.approx(before, abs=1e-5)


def test_the_loss_and_the_ndcg_by_hand(features, folder):
    model = PRM.from_pretrained(folder).eval()
    made = [
        Slate("a", ["i3"], ["i0", "i1", "i2"], [1.0, 0.0, 3.0]),
        Slate("b", ["i3", "i6"], ["i5", "i4"], [0.0, 1.0]),
    ]
    rows = encode(made, features, model.config)
    with torch.inference_mode():
        found = model(**collate(rows, features.vectors))
    losses, gains = [], []
    for slate, scores in zip(made, PRMReranker(folder, features).scores(made), strict=True):
        labels = np.array(slate.labels)
        losses.append(-(labels / labels.sum() * (scores - np.log(np.exp(scores).sum()))).sum())
        gains.append(metrics.ndcg(labels[None, (-scores).argsort()], 5)[0])
    assert float(found["loss"]) == pytest.approx(np.mean(losses), rel=1e-4)
    assert found["ndcg"].tolist() == pytest.approx(gains)


def test_a_model_from_before_it_recorded_its_features_is_refused(features, tmp_path):
    PRM(PRMConfig(vector_size=6, features=True, inputs=NAMES)).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    for inputs, complaint in ((None, "fitted before PRM recorded its features; run `gr2 fit` again"),
                              (["score", "mood"], "expected features that gr2 knows, found mood")):  # fmt: skip
        changed = {name: value for name, value in config.items() if name != "inputs"}
        (tmp_path / "config.json").write_text(json.dumps(changed | ({"inputs": inputs} if inputs else {})))
        with pytest.raises(InputError, match=complaint):
            PRMReranker(tmp_path, features)


def test_vectors_of_another_size_are_refused(folder):
    other = untold(np.ones((1, 4)))
    with pytest.raises(InputError, match="trained on item vectors of 6 numbers, --embeddings has 4"):
        PRMReranker(folder, other)


@pytest.fixture(scope="module")
def every_slate(world, tmp_path_factory):
    """Slates of all 48 items: popularity knows nothing of a user's genre, the vectors do."""
    made = tmp_path_factory.mktemp("every")
    slates_stage.run(
        slates_stage.Config(
            items=world.items,
            interactions=world.interactions,
            output_dir=str(made),
            pre_ranker=["popularity"],
            exclude_seen=False,
            candidates=48,
        )
    )
    return str(made / "slates.parquet")


def words(world, slates, **changed):
    options = {
        "items": world.items,
        "interactions": world.interactions,
        "embeddings": world.embeddings,
        "slates": slates,
        "hidden_size": 16,
        "epochs": 12,
        "patience": 12,
        "learning_rate": 5e-3,
    } | changed
    return [word for name, value in options.items() for word in (f"--{name}", str(value))]


@pytest.fixture(scope="module")
def trained(world, every_slate, tmp_path_factory):
    made = tmp_path_factory.mktemp("trained") / "prm"
    forked("fit", "prm", "--output_dir", made, *words(world, every_slate))
    return made


def mean_reciprocal_rank(world, slates, reranker, folder):
    rerank.run(
        rerank.Config(
            items=world.items,
            interactions=world.interactions,
            embeddings=world.embeddings,
            slates=slates,
            reranker=str(reranker),
            output_dir=str(folder),
        )
    )
    joined = pl.read_parquet(slates).join(pl.read_parquet(folder / "rankings.parquet"), on="slate_id")
    assert len(joined) == 160 and joined["valid"].all()
    rows = joined.select("candidates", "labels", "ranking").rows()
    return np.mean([1 / (1 + ranking.index(candidates[labels.index(1.0)])) for candidates, labels, ranking in rows])


@pytest.mark.slow
def test_it_beats_the_input_order_on_held_out_slates(world, every_slate, trained, tmp_path):
    given_order = mean_reciprocal_rank(world, every_slate, "input_order", tmp_path / "a")
    assert mean_reciprocal_rank(world, every_slate, trained, tmp_path / "b") > 1.5 * given_order


@pytest.mark.slow
def test_the_folder_is_plain_complete_and_that_of_the_best_epoch(world, every_slate, trained):
    assert {file.name for file in trained.iterdir()} == {
        "config.json",
        "model.safetensors",
        LOG,
        "manifest.json",
        RECORD,
    }
    log = [json.loads(line) for line in (trained / LOG).read_text().splitlines()]
    judged = [entry["eval_ndcg@5"] for entry in log if "eval_ndcg@5" in entry]
    slates = slates_of(read_slate_table(every_slate).filter(pl.col("split") == "valid"))
    known = load_features(world.items, world.interactions, world.embeddings)
    scores = PRMReranker(trained, known).scores(slates)
    ranked = [np.array(slate.labels)[(-own).argsort()] for slate, own in zip(slates, scores, strict=True)]
    assert metrics.ndcg(np.array(ranked), 5).mean() == pytest.approx(max(judged), abs=1e-5) and max(judged) > judged[0]


@pytest.mark.slow
def test_every_parameter_is_trained(world, every_slate, tmp_path):
    options = {"features": True, "epochs": 2, "layers": 2}
    forked("fit", "prm", "--output_dir", tmp_path / "prm", *words(world, every_slate, **options))
    read = PRM.from_pretrained(tmp_path / "prm")
    torch.manual_seed(0)
    begun = PRM(read.config).state_dict()
    assert len(begun) == len(read.state_dict()) > 20
    for name, parameter in read.state_dict().items():
        assert (parameter - begun[name]).abs().max() > 1e-4, name


@pytest.mark.slow
def test_a_killed_training_goes_on_to_the_same_bytes(world, every_slate, tmp_path):
    resumed_after_a_kill("fit prm", tmp_path, words(world, every_slate, features=True, hidden_size=8, epochs=5))

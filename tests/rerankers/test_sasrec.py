import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gr2.errors import InputError
from gr2.files.items import order_digest
from gr2.files.slates import Slate
from gr2.rerankers.sasrec import SASRecReranker
from gr2.retrieval.sasrec import SASRec, SASRecConfig
from gr2.stages import rerank

ITEM_IDS = pl.Series([f"i{at}" for at in range(12)])


def untrained(item_ids, folder):
    """A model that reads four items, with answers that depend on all of them."""
    torch.manual_seed(0)
    model = SASRec(SASRecConfig(len(item_ids), 16, 1, 2, length=4, items_digest=order_digest(item_ids))).eval()
    for parameter in model.parameters():
        parameter.data.normal_(std=0.5)
    model.save_pretrained(folder)
    return model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("sasrec")
    untrained(ITEM_IDS, path)
    return path


items = st.integers(0, 11).map("i{}".format)
some_slates = st.lists(
    st.builds(
        Slate,
        slate_id=st.just("s"),
        history=st.lists(items, min_size=1, max_size=7),
        candidates=st.lists(items, min_size=1, max_size=9, unique=True),
    ),
    min_size=1,
    max_size=4,
)


@given(some_slates)
@settings(max_examples=20)
def test_candidates_stand_in_the_order_of_the_models_scores(folder, made):
    model, reranker = SASRec.from_pretrained(folder).eval(), SASRecReranker(folder, ITEM_IDS)
    for slate, ranking, values in zip(made, reranker.rank(made), reranker.scores(made), strict=True):
        assert sorted(ranking.ranking) == sorted(slate.candidates)
        past = torch.tensor([[int(name[1:]) for name in slate.history[-4:]]])
        with torch.inference_mode():
            expected = model.scores(model.encode(past, torch.arange(past.shape[1])[None])[:, -1])[0].numpy()
        assert values == pytest.approx(expected[[int(name[1:]) for name in slate.candidates]], rel=1e-3, abs=1e-4)
        assert ranking.scores == sorted(ranking.scores, reverse=True)


def test_a_model_of_other_items_is_refused(folder):
    with pytest.raises(InputError, match="trained on other items, or another order, than the items file"):
        SASRecReranker(folder, ITEM_IDS.reverse())


def test_the_stage_takes_its_folder(world, tmp_path):
    """It needs neither interactions nor embeddings, and no labels."""
    untrained(pl.read_parquet(world.items)["item_id"], tmp_path / "model")
    empty = pl.lit([], dtype=pl.List(pl.Float64)).alias("labels")
    pl.read_parquet(world.slates).with_columns(empty).write_parquet(tmp_path / "serving.parquet")
    rerank.run(
        rerank.Config(
            items=world.items,
            slates=str(tmp_path / "serving.parquet"),
            reranker=str(tmp_path / "model"),
            output_dir=str(tmp_path / "out"),
        )
    )
    answered = pl.read_parquet(tmp_path / "out" / "rankings.parquet").join(pl.read_parquet(world.slates), on="slate_id")
    assert len(answered) == 31 and answered["valid"].all()
    assert (answered["ranking"].list.sort() == answered["candidates"].list.sort()).all()
    assert (answered["ranking"] == answered["candidates"]).sum() < 10

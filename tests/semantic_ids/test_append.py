"""`gr2 sids --append`: new items get IDs, no other ID changes, and no ID is used twice over the years."""

import numpy as np
import polars as pl
import pytest

from gr2.errors import InputError
from gr2.files.embeddings import write_embeddings
from gr2.stages import sids
from tests.stages.test_sids import QUICK, codes_of


@pytest.fixture(scope="module")
def catalogue():
    """110 items around 20 centres, so that new items collide with old ones."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(20, 8))[np.arange(110) % 20] + 0.05 * rng.normal(size=(110, 8))
    return pl.DataFrame({"item_id": [f"item{n}" for n in range(110)], "title": "t"}), vectors.astype(np.float32)


def tokenized(folder, catalogue, rows, append=None, **changed):
    """Runs `gr2 sids` on some rows of the catalogue; item id -> codes."""
    items, vectors = catalogue
    kept = items[rows]
    folder.mkdir(exist_ok=True)
    kept.write_parquet(folder / "items.parquet")
    write_embeddings(folder / "embeddings.safetensors", kept["item_id"], vectors[rows])
    options = {"levels": 2, "codes": 32, "append": str(append) if append else None} | changed
    sids.run(
        sids.Config(
            items=str(folder / "items.parquet"),
            embeddings=str(folder / "embeddings.safetensors"),
            output_dir=str(folder / "out"),
            **options,
        )
    )
    return dict(zip(kept["item_id"], map(tuple, codes_of(folder / "out").tolist()), strict=True))


@pytest.mark.parametrize("changed", [
    {}, {"assignment": "random"}, {"assignment": "level", "levels": 1}, {"quantizer": "additive", "beam": 4},
    {"quantizer": "rqvae", **QUICK},
])  # fmt: skip
def test_ten_percent_new_items_change_no_id(tmp_path, catalogue, changed):
    old = tokenized(tmp_path / "old", catalogue, list(range(100)), **changed)
    rows = np.random.default_rng(0).permutation(110).tolist()  # old and new among each other
    both = tokenized(tmp_path / "new", catalogue, rows, append=tmp_path / "old/out", **changed)
    assert {name: both[name] for name in old} == old
    assert len(set(both.values())) == 110
    first, second = (tmp_path / name / "out/quantizer.safetensors" for name in ("old", "new"))
    assert first.read_bytes() == second.read_bytes()


def test_an_id_is_never_used_again_and_comes_back_with_its_item(tmp_path, catalogue):
    old = tokenized(tmp_path / "a", catalogue, list(range(100)))
    gone = tokenized(tmp_path / "b", catalogue, list(range(60)), append=tmp_path / "a/out")
    assert set(gone) == {f"item{n}" for n in range(60)}
    retired = pl.read_parquet(tmp_path / "b/out/retired_ids.parquet")
    assert dict(zip(retired["item_id"], map(tuple, retired["codes"].to_list()), strict=True)) == {
        name: codes for name, codes in old.items() if name not in gone
    }
    new = tokenized(tmp_path / "c", catalogue, list(range(70)) + list(range(100, 110)), append=tmp_path / "b/out")
    assert all(new[f"item{n}"] == old[f"item{n}"] for n in range(70))  # 60 to 69 came back
    given = set(old.values())
    assert not given & {new[f"item{n}"] for n in range(100, 110)}
    assert len(pl.read_parquet(tmp_path / "c/out/retired_ids.parquet")) == 30


def test_appending_nothing_gives_the_same_file(tmp_path, catalogue):
    tokenized(tmp_path / "a", catalogue, list(range(100)))
    tokenized(tmp_path / "b", catalogue, list(range(100)), append=tmp_path / "a/out")
    files = [tmp_path / name / "out/semantic_ids.parquet" for name in "ab"]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert not (tmp_path / "b/out/retired_ids.parquet").exists()


def check_refusal(tmp_path, catalogue, complaint, **changed):
    with pytest.raises(InputError, match=complaint):
        tokenized(tmp_path / "new", catalogue, list(range(110)), append=tmp_path / "old/out", **changed)
    assert not (tmp_path / "new/out").exists()


def test_another_codebook_is_refused(tmp_path, catalogue):
    tokenized(tmp_path / "old", catalogue, list(range(100)))
    tokenized(tmp_path / "other", catalogue, list(range(100)), seed=1)
    (tmp_path / "other/out/quantizer.safetensors").replace(tmp_path / "old/out/quantizer.safetensors")
    check_refusal(
        tmp_path,
        catalogue,
        r"semantic_ids\.parquet: its IDs were made with another codebook than .*quantizer\.safetensors",
    )


def test_vectors_of_another_width_or_encoder_are_refused(tmp_path, catalogue):
    tokenized(tmp_path / "old", catalogue, list(range(100)))
    items, vectors = catalogue
    check_refusal(tmp_path, (items, vectors[:, :6].copy()), "expected vectors of 8 numbers.*found 6")
    turned = np.linalg.qr(np.random.default_rng(0).normal(size=(8, 8)))[0].astype(np.float32)
    check_refusal(tmp_path, (items, vectors @ turned), "would get another first code now.*different text encoders")


@pytest.mark.parametrize("factor", [0.01, 100])
def test_vectors_of_another_scale_are_refused_also_where_every_item_is_new(tmp_path, catalogue, factor):
    items, vectors = catalogue
    tokenized(tmp_path / "old", catalogue, list(range(100)))
    later = items.with_columns(item_id=pl.format("later{}", pl.int_range(pl.len()))), vectors * np.float32(factor)
    check_refusal(tmp_path, later, "times as long as their decoded codes")


def test_an_assignment_of_another_length_and_a_folder_without_ids_are_refused(tmp_path, catalogue):
    tokenized(tmp_path / "old", catalogue, list(range(100)))
    check_refusal(tmp_path, catalogue, "the earlier IDs have 2 codes, this assignment gives 3", assignment="level")
    (tmp_path / "old/out/semantic_ids.parquet").unlink()
    check_refusal(tmp_path, catalogue, r"semantic_ids\.parquet: no such file")
    (tmp_path / "old/out/quantizer.safetensors").unlink()
    check_refusal(tmp_path, catalogue, r"quantizer\.safetensors: expected a quantizer")


def test_a_new_item_never_takes_the_id_of_one_that_is_gone(tmp_path, catalogue):
    """Without a free ID it would keep its own codes, a retired item's: the catalogue alone would look unique."""
    items, vectors = catalogue
    twin = (items, np.concatenate([vectors[:100], vectors[:10]]))  # items 100 to 109 are copies of the first ten
    tokenized(tmp_path / "old", twin, list(range(100)))
    with pytest.raises(InputError, match="--append: 10 of 10 new items find no ID that was never given"):
        tokenized(
            tmp_path / "new",
            twin,
            list(range(10, 110)),
            append=tmp_path / "old/out",
            assignment="none",
            min_uniqueness=0,
        )
    assert not (tmp_path / "new/out").exists()

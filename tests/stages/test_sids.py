import re

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import load_file, save_file

from gr2.errors import InputError
from gr2.files.artifacts import read_json
from gr2.files.embeddings import read_embeddings
from gr2.files.items import order_digest
from gr2.files.semantic_ids import read_codes_per_level, read_semantic_ids
from gr2.files.sid_tokens import sid_string
from gr2.semantic_ids import quantizer
from gr2.semantic_ids.settings import RQVAESettings
from gr2.stages import sids
from gr2.stages.sids_options import RQVAEOptions
from tests.helpers import refused

QUICK = {"hidden": [16], "latent": 8, "epochs": 6, "warmup_epochs": 2, "batch_size": 16}  # an RQ-VAE of seconds


def run_sids(world, folder, **changed):
    options = {"items": world.items, "embeddings": world.embeddings, "output_dir": str(folder), "levels": 3, "codes": 8}
    sids.run(sids.Config(**options | changed))
    return folder


def item_ids(world):
    return pl.read_parquet(world.items)["item_id"]


def codes_of(folder):
    return np.array(pl.read_parquet(folder / "semantic_ids.parquet")["codes"].to_list())


@pytest.mark.parametrize("levels", [2, 3, 4])
def test_every_item_has_its_own_id(world, tmp_path, levels):
    folder = run_sids(world, tmp_path, levels=levels, codes=16)
    frame = read_semantic_ids(folder / "semantic_ids.parquet", item_ids(world))
    codes = frame["codes"].to_list()
    assert len({tuple(row) for row in codes}) == 48 and {len(row) for row in codes} == {levels}
    assert frame["sid"].to_list() == [sid_string(row) for row in codes]
    facts = read_json(folder / "quality.json")
    assert facts["uniqueness"] == 1.0 and facts["collisions"] == 0
    assert {"usage", "perplexity", "reconstruction_error"} <= set(facts)
    assert len(facts["usage"]) == levels and all(0 < share <= 1 for share in facts["usage"])
    assert "all with an ID of their own" in (folder / "quality.html").read_text()


@pytest.mark.parametrize("kind", ["rkmeans", "balanced", "additive", "rqvae"])
def test_the_same_seed_gives_the_same_bytes_and_another_seed_other_codes(world, tmp_path, kind):
    files = ("semantic_ids.parquet", "quantizer.safetensors", "quality.json", "quality.html")
    first, again, other = (
        run_sids(world, tmp_path / name, seed=seed, quantizer=kind, **QUICK)
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    for file in files:
        assert (first / file).read_bytes() == (again / file).read_bytes()
    assert (codes_of(first) != codes_of(other)).any()
    assert {file.name for file in first.iterdir()} == set(files)  # no checkpoint stays


@pytest.mark.parametrize("kind", ["rkmeans", "balanced", "additive", "rqvae"])
def test_the_saved_quantizer_gives_the_same_ids_again(world, tmp_path, kind):
    folder = run_sids(world, tmp_path, quantizer=kind, assignment="none", min_uniqueness=0.0, beam=2, **QUICK)
    vectors = read_embeddings(world.embeddings, item_ids(world))
    loaded = quantizer.load(folder / "quantizer.safetensors")
    assert loaded.kind == kind and (loaded.encode(vectors) == codes_of(folder)).all()


def test_codes_decode_to_something_near_the_vectors(world, tmp_path):
    folder = run_sids(world, tmp_path)
    vectors = read_embeddings(world.embeddings, item_ids(world))
    assert load_file(folder / "quantizer.safetensors")["codebooks"].shape == (3, 8, 16)
    codes = codes_of(folder)
    decoded = quantizer.load(folder / "quantizer.safetensors").decode(codes)
    error = ((vectors - decoded) ** 2).sum() / (vectors**2).sum()
    assert error == pytest.approx(read_json(folder / "quality.json")["reconstruction_error"], rel=1e-4)
    assert error < 0.1
    genre = (
        np.arange(48) % 4
    )  # films of a genre are near each other: their first codes agree, those of two genres do not
    owners = [set(genre[codes[:, 0] == code]) for code in np.unique(codes[:, 0])]
    assert all(len(owner) == 1 for owner in owners)


def test_the_file_of_ids_says_how_many_codes_a_level_has(world, tmp_path):
    """Also where no item uses the last of them; an item appended later may."""
    folder = run_sids(world, tmp_path, codes=32)
    assert codes_of(folder).max(axis=0).min() < 31 and read_codes_per_level(folder / "semantic_ids.parquet") == 32
    pl.read_parquet(folder / "semantic_ids.parquet").write_parquet(tmp_path / "own.parquet")
    assert read_codes_per_level(tmp_path / "own.parquet") is None


def test_an_extra_level_and_random_codes_are_unique_too(world, tmp_path):
    assert codes_of(run_sids(world, tmp_path / "level", levels=1, codes=16, assignment="level")).shape == (48, 2)
    facts = read_json(run_sids(world, tmp_path / "random", levels=2, codes=16, assignment="random") / "quality.json")
    assert facts["uniqueness"] == 1.0 > facts["uniqueness_before_assignment"]
    assert facts["added_distortion"] == facts["added_distortion_of_random"] > 0


def test_too_many_collisions_fail_unless_they_are_allowed(world, tmp_path):
    few = {"levels": 1, "codes": 8, "assignment": "none"}
    with pytest.raises(
        InputError, match=r"48 of 48 items share their ID: uniqueness 0\.0000 is below --min_uniqueness 1\.0"
    ):
        run_sids(world, tmp_path / "out", **few)
    assert not (tmp_path / "out").exists()
    facts = read_json(run_sids(world, tmp_path / "out", min_uniqueness=0.0, **few) / "quality.json")
    assert facts["collisions"] == 48
    assert sum(int(size) * count for size, count in facts["collision_sizes"].items()) == 48


def test_training_on_a_sample_still_gives_every_item_an_id(world, tmp_path):
    sampled, whole = (
        run_sids(world, tmp_path / "a", train_sample=20),
        run_sids(world, tmp_path / "b", train_sample=1000),
    )
    assert len(np.unique(codes_of(sampled), axis=0)) == 48
    assert (whole / "quantizer.safetensors").read_bytes() == (
        run_sids(world, tmp_path / "c") / "quantizer.safetensors"
    ).read_bytes()
    assert (sampled / "quantizer.safetensors").read_bytes() != (whole / "quantizer.safetensors").read_bytes()


def test_the_options_defaults_are_those_of_the_settings():
    assert RQVAEOptions().rqvae() == RQVAESettings()


def test_contrastive_training_needs_interactions(world, tmp_path):
    with pytest.raises(InputError, match=r"--contrastive 0\.1: expected --interactions"):
        sids.Config(items="i", embeddings="e", output_dir="o", quantizer="rqvae", contrastive=0.1, **QUICK)
    run_sids(world, tmp_path / "out", quantizer="rqvae", contrastive=0.1, interactions=world.interactions, **QUICK)


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
    (with_row(7, np.nan), r"row 7 \(item film07\): expected finite numbers, .*\(1 such rows\)"),
    (with_row([9, 11], np.inf), r"row 9 \(item film09\).*\(2 such rows\)"),
    (with_row(0, 0.0), r"row 0 \(item film00\): expected finite numbers, and a length from 1e-06 to 1e\+06"),
    (lambda vectors: vectors * 1e20, r"row 0 \(item film00\).*a length from .*\(48 such rows\)"),
    (lambda vectors: vectors * 1e-25, r"row 0 \(item film00\).*a length from .*\(48 such rows\)"),
    (lambda vectors: vectors.astype(np.float64) * 1e300, r"row 0 \(item film00\).*a length from"),
    (lambda vectors: vectors > 0, "expected numbers, found bool"),
    (lambda vectors: vectors[:-1], r"one row for each of the 48 items, found shape \(47, 16\)"),
    (lambda vectors: vectors[:, 0].copy(), r"found shape \(48,\)"),
])  # fmt: skip
def test_broken_vectors_are_named_and_nothing_written(world, tmp_path, change, complaint):
    with pytest.raises(InputError, match=rf"broken\.safetensors: .*{complaint}"):
        run_sids(world, tmp_path / "out", embeddings=broken(world, tmp_path, change))
    assert not (tmp_path / "out").exists()


def test_vectors_of_other_items_or_another_order_are_refused(world, tmp_path):
    reversed_items = str(tmp_path / "items.parquet")
    pl.read_parquet(world.items).reverse().write_parquet(reversed_items)
    with pytest.raises(InputError, match="other items, or another order"):
        run_sids(world, tmp_path / "out", items=reversed_items)
    own = broken(world, tmp_path, lambda vectors: vectors, digest=False)  # a user's own file has no digest to check
    run_sids(world, tmp_path / "own", embeddings=own)


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


@pytest.mark.parametrize(("option", "value", "complaint"), [
    ("levels", 0, "at least 1"), ("levels", 27, "from 1 to 26"), ("codes", 1, "at least 2"),
    ("codes", -256, "at least 2"), ("beam", 0, "at least 1"), ("train_sample", 0, "at least 1"),
    ("seed", -1, "at least 0"), ("seed", 2**31, "from 0 to 2,147,483,647"),
    ("min_uniqueness", "nan", "from 0 to 1"), ("min_uniqueness", 1.5, "from 0 to 1"), ("hidden", 0, "at least 1"),
    ("latent", 0, "at least 1"), ("epochs", 0, "at least 1"), ("warmup_epochs", -1, "at least 0"),
    ("batch_size", 0, "at least 1"), ("learning_rate", 0, "above 0"), ("learning_rate", "inf", "above 0"),
    ("commitment", -1, "at least 0"), ("ema_decay", 1, "below 1"), ("diversity", -0.1, "at least 0"),
    ("reset_after", -1, "at least 0"), ("contrastive", -1, "at least 0"), ("temperature", 0, "above 0"),
])  # fmt: skip
def test_numbers_out_of_range_are_refused_before_anything_is_read(tmp_path, option, value, complaint):
    words = ["--items", "i", "--embeddings", "e", "--output_dir", tmp_path / "out"]
    assert re.search(
        rf"--{option} {value}.*: expected a number.*{complaint}", refused("sids", *words, f"--{option}", value)
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("words", "complaint"), [
    (["--quantizer", "rqvae", "--epochs", "5"], "--warmup_epochs 10: expected fewer than the 5 of --epochs"),
    (["--assignment", "level", "--levels", "26"], "--levels 26: expected at most 25 with --assignment level"),
])  # fmt: skip
def test_options_that_do_not_go_together_are_refused(tmp_path, words, complaint):
    complaint_was = refused("sids", "--items", "i", "--embeddings", "e", "--output_dir", tmp_path / "out", *words)
    assert complaint in complaint_was and not (tmp_path / "out").exists()


def test_an_rqvae_whose_numbers_run_away_is_refused(world, tmp_path):
    with pytest.raises(InputError, match=r"--learning_rate 1e\+30: expected a lower one"):
        run_sids(world, tmp_path / "out", quantizer="rqvae", **QUICK | {"learning_rate": 1e30})


def test_fewer_items_than_codes_are_refused(world, tmp_path):
    for changed in ({}, {"quantizer": "rqvae"}, {"train_sample": 48}):
        with pytest.raises(InputError, match="--codes 64: expected at most 48, the number of items to train on"):
            run_sids(world, tmp_path / "out", codes=64, **changed)
    assert not (tmp_path / "out").exists()

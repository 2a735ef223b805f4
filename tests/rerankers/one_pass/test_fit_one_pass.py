"""`gr2 fit one_pass` on the tiny world, and its folder as a reranker."""

import json

import numpy as np
import polars as pl
import pytest

from gr2.errors import InputError
from gr2.files.artifacts import read_json
from gr2.rerankers.one_pass.network import OnePass
from gr2.rerankers.one_pass.train import TAUGHT
from gr2.stages import rerank
from gr2.stages.fit.one_pass import Config
from gr2.training import LOG, find_last_checkpoint
from tests.forking import forked, start_forked
from tests.helpers import fit, kill_at, resumed_after_a_kill

TINY = {"hidden_size": 16, "layers": 1, "heads": 2, "vocab_size": 300, "history": 3, "title_tokens": 4, "head_size": 8}
SHORT = TINY | {"epochs": 1, "batch_size": 64}


@pytest.fixture(scope="module")
def known(world, later) -> dict[str, str]:
    return {
        "items": world.items,
        "slates": later,
        "interactions": world.interactions,
        "embeddings": world.embeddings,
        "semantic_ids": world.semantic_ids,
    }


@pytest.fixture(scope="module")
def teacher(known, tmp_path_factory) -> str:
    """The scores of a fitted blend on all train slates."""
    folder = tmp_path_factory.mktemp("teacher")
    fit("blend", folder / "blend", known)
    ranked(folder / "scores", folder / "blend", known, split="train")
    return str(folder / "scores" / "rankings.parquet")


def ranked(folder, reranker, known, **changed) -> pl.DataFrame:
    rerank.run(rerank.Config(output_dir=str(folder), reranker=str(reranker), **known | changed))
    return pl.read_parquet(folder / "rankings.parquet")


@pytest.mark.parametrize("options", [
    {}, {"show": "id"}, {"show": "both", "features": False}, {"readout": "letters"}, {"readout": "none"},
    {"trainable": "lora", "lora_rank": 2, "show": "both"},
], ids=str)  # fmt: skip
def test_every_way_of_reading_is_fitted_and_ranks(known, beginner, teacher, tmp_path, options, capsys):
    base = {"model_name_or_path": str(beginner)} if "trainable" in options else {}
    fit("one_pass", tmp_path / "made", known, teacher=teacher, teacher_epochs=1, **SHORT | options | base)
    found = ranked(tmp_path / "out", tmp_path / "made", known)
    assert found["valid"].all() and found["scores"].list.len().unique().to_list() == [12]
    files = {file.name for file in (tmp_path / "made").iterdir()}
    assert {"config.json", "model.safetensors", LOG, "reranker.json"} <= files
    assert ("tokenizer.json" in files) == (options.get("readout") != "none") and "taught.partial" not in files
    assert ("semantic_ids.json" in files) == (options.get("show", "title") != "title")
    log = [json.loads(line) for line in (tmp_path / "made" / LOG).read_text().splitlines()]
    assert sum("eval_ndcg@5" in entry for entry in log) == 2  # one of each phase
    assert "train slates" in capsys.readouterr().out


def test_it_reads_a_plain_pretrained_model_whose_weights_lora_keeps(known, beginner, tmp_path):
    """LoRA starts as the base model: with a rate of almost nothing it stays that."""
    from gr2.language_model.loading import load_model

    options = SHORT | {"trainable": "lora", "learning_rate": 1e-12}
    fit("one_pass", tmp_path, known, model_name_or_path=str(beginner), **options)
    base, made = load_model(str(beginner)).model.state_dict(), OnePass.from_pretrained(tmp_path).language_model
    assert made.state_dict().keys() == base.keys()
    for name, weight in made.state_dict().items():
        assert weight.numpy() == pytest.approx(base[name].numpy(), abs=1e-6), name


def test_a_teacher_is_learned_from_slates_without_labels(known, teacher, tmp_path):
    """One train slate in 60 is labelled: what the others are like is known from the teacher alone."""
    frame = pl.read_parquet(known["slates"])
    train = np.flatnonzero(frame["split"] == "train")
    assert len(train) == 80
    split, labels = frame["split"].to_numpy().copy(), frame["labels"].to_list()
    split[train[60:]] = "valid"
    for row in train[1:60]:
        labels[row] = [0.0] * 12
    frame.with_columns(pl.Series("split", split), pl.Series("labels", labels)).write_parquet(
        tmp_path / "slates.parquet"
    )
    known = known | {"slates": str(tmp_path / "slates.parquet")}
    options = {"readout": "none", "head_size": 16, "teacher_epochs": 40, "epochs": 1, "learning_rate": 3e-3}
    fit("one_pass", tmp_path / "taught", known, teacher=teacher, **options)
    fit("one_pass", tmp_path / "untaught", known, **options)
    first = pl.read_parquet(teacher)["ranking"].list.first()[:60]
    agree = {
        name: (ranked(tmp_path / f"{name}_out", tmp_path / name, known, split="train")["ranking"].list.first() == first)
        for name in ("taught", "untaught")
    }
    assert agree["taught"].mean() > agree["untaught"].mean() + 0.3


@pytest.mark.parametrize(("options", "complaint"), [
    ({"interactions": None}, "--interactions is required, or --features false"),
    ({"show": "id", "semantic_ids": None}, "--show id: expected --semantic_ids"),
    ({"readout": "none", "features": False}, "--readout none: expected --features true"),
    ({"trainable": "lora"}, "--trainable lora: expected --model_name_or_path"),
    ({"head_size": 7}, "--head_size 7: expected an even number"),
    ({"hidden_size": 18, "heads": 4}, "--hidden_size 18 --heads 4: expected one head or an even number"),
])  # fmt: skip
def test_wrong_options_are_refused_as_they_are_read(known, options, complaint):
    with pytest.raises(InputError, match=complaint):
        Config(output_dir="out", **known | options)


def test_a_base_model_of_too_few_positions_is_refused(known, tmp_path):
    with pytest.raises(InputError, match=r"--history 3 and --title_tokens 4 make up to .* tokens: expected at most 16"):
        fit("one_pass", tmp_path, known, **SHORT | {"context": 16})


def test_a_fitted_folder_is_no_base_model(known, tmp_path):
    fit("one_pass", tmp_path / "titles", known, **SHORT)
    with pytest.raises(InputError, match="expected a causal language model that loads"):
        fit("one_pass", tmp_path / "out", known, model_name_or_path=str(tmp_path / "titles"), **SHORT)


def test_a_teacher_with_scores_that_are_not_finite_is_refused(known, teacher, tmp_path):
    frame = pl.read_parquet(teacher)
    scores = frame["scores"].to_list()
    scores[0] = [float("nan"), *scores[0][1:]]
    frame.with_columns(pl.Series("scores", scores)).write_parquet(tmp_path / "rankings.parquet")
    with pytest.raises(InputError, match=r"slate_id '.*', column 'scores': expected one finite number per candidate"):
        fit("one_pass", tmp_path / "out", known, teacher=str(tmp_path / "rankings.parquet"), **SHORT)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("options", "complaint"), [
    ({}, "expected --interactions and --embeddings"), ({"features": False, "show": "id"}, "expected --semantic_ids"),
])  # fmt: skip
def test_a_folder_says_which_inputs_are_missing(known, tmp_path, options, complaint):
    fit("one_pass", tmp_path / "made", known, **SHORT | options)
    given = {name: known[name] for name in ("items", "slates")}
    with pytest.raises(InputError, match=complaint):
        ranked(tmp_path / "out", tmp_path / "made", given)


def test_the_record_and_the_config_say_what_it_reads(known, tmp_path):
    fit("one_pass", tmp_path, known, **SHORT)
    config = read_json(tmp_path / "config.json")
    assert read_json(tmp_path / "reranker.json") == {"kind": "one_pass", "scores": True}
    assert (config["model_type"], config["history"], config["title_tokens"]) == ("one_pass", 3, 4)
    assert config["language_model"]["model_type"] == "qwen3" and "followed_last" in config["inputs"]


def words(known, **options) -> list[str]:
    return [word for name, value in (known | options).items() for word in (f"--{name}", str(value))]


@pytest.mark.slow
def test_a_training_that_is_killed_in_either_phase_goes_on_to_the_same_bytes(known, teacher, tmp_path):
    options = words(known, **TINY | {"teacher": teacher, "teacher_epochs": 4, "epochs": 4, "patience": 4})
    whole, _ = resumed_after_a_kill("fit one_pass", tmp_path, options)
    again = tmp_path / "again"
    process = start_forked(["fit", "one_pass", "--output_dir", str(again), *options], tmp_path)
    kill_at(process, lambda: find_last_checkpoint(again / TAUGHT))
    assert "resuming from" in forked("fit", "one_pass", "--output_dir", again, *options).stdout
    assert (again / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


@pytest.mark.slow
def test_titles_alone_beat_the_input_order(world, known, tmp_path):
    """What a user likes is a genre, the first word of a title; popularity knows nothing of it."""
    options = TINY | {"features": False, "hidden_size": 32, "head_size": 32, "epochs": 30, "patience": 30}
    fit("one_pass", tmp_path / "made", known, **options | {"learning_rate": 3e-3, "batch_size": 16})
    labels = pl.read_parquet(known["slates"]).select("slate_id", "candidates", "labels")

    def hits(frame: pl.DataFrame) -> float:
        rows = frame.join(labels, on="slate_id").select("ranking", "candidates", "labels").rows()
        return np.mean([dict(zip(names, own, strict=True))[order[0]] > 0 for order, names, own in rows])

    given = hits(ranked(tmp_path / "a", "input_order", known))
    assert hits(ranked(tmp_path / "b", tmp_path / "made", known)) > 1.5 * given

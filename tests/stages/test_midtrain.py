import json
import shlex
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.forking import forked
from tests.helpers import TINY, refused, resumed_after_a_kill

pytestmark = pytest.mark.slow


def recall(slates_report: Path, split: str) -> float:
    counts = json.loads(slates_report.read_text())["splits"][split]
    return counts["slates"] / counts["positions"]


def test_loss_falls_and_the_next_item_is_found_more_often_than_by_popularity(world, midtrained, traced):
    log = [json.loads(line) for line in (Path(midtrained) / "training_log.jsonl").read_text().splitlines()]
    losses = [entry["loss"] for entry in log if "loss" in entry]
    assert losses[-1] < 0.5 * losses[0]
    by_popularity = recall(world.root / "slates/slates_report.json", "test")  # ten candidates
    assert recall(traced.root / "slates/slates_report.json", "test") > by_popularity + 0.1  # three candidates


def test_the_checkpoint_is_plain_and_complete(midtrained):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    files = {file.name for file in Path(midtrained).iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "manifest.json"} <= files
    assert not any(name.endswith((".bin", ".pt", ".pkl")) or name.startswith("checkpoint-") for name in files)
    model = AutoModelForCausalLM.from_pretrained(midtrained)
    tokenizer = AutoTokenizer.from_pretrained(midtrained)
    assert tokenizer.chat_template and model.get_input_embeddings().num_embeddings % 64 == 0
    assert len(tokenizer.encode("<s_a_0><s_b_1>", add_special_tokens=False)) == 2


def test_only_pretrain_events_are_read(world, midtrained, tmp_path):
    """Another future, the same model: the bytes may depend on pretrain events alone."""
    events = pl.read_parquet(world.interactions)
    item_ids = events["item_id"].to_list()
    changed = [
        name if split == "pretrain" else item_ids[(row * 7) % len(item_ids)]
        for row, (name, split) in enumerate(zip(item_ids, events["split"], strict=True))
    ]
    events.with_columns(pl.Series("item_id", changed)).write_parquet(tmp_path / "interactions.parquet")
    words = ["--items", world.items, "--semantic_ids", world.semantic_ids, "--hidden_size", "32", "--layers", "1",
             "--heads", "1", "--vocab_size", "300", "--block_length", "64", "--passes", "1", *TINY]  # fmt: skip
    forked("midtrain", "--interactions", world.interactions, "--output_dir", tmp_path / "a", *words)
    forked("midtrain", "--interactions", tmp_path / "interactions.parquet", "--output_dir", tmp_path / "b", *words)
    assert (tmp_path / "a/model.safetensors").read_bytes() == (tmp_path / "b/model.safetensors").read_bytes()


def test_resumed_training_gives_the_same_bytes(world, tmp_path):
    """Stopped after a checkpoint and started again: the model is that of an undisturbed run."""
    words = ["--items", world.items, "--interactions", world.interactions, "--semantic_ids", world.semantic_ids,
             "--hidden_size", "32", "--layers", "1", "--heads", "1", "--vocab_size", "300", "--block_length", "64",
             "--passes", "2", "--per_device_train_batch_size", "4", "--save_steps", "5", "--logging_steps", "1",
             "--disable_tqdm", "true"]  # fmt: skip
    whole, killed = resumed_after_a_kill("midtrain", tmp_path, words)
    assert loss_curve(killed) == loss_curve(whole)


def loss_curve(folder: Path) -> list[tuple[int, float]]:
    log = [json.loads(line) for line in (folder / "training_log.jsonl").read_text().splitlines()]
    return [(entry["step"], entry["loss"]) for entry in log if "loss" in entry]


@pytest.mark.parametrize(
    "words",
    [
        ["--block_length", "0"],
        ["--passes", "0"],
        ["--window", "1"],
        ["--exercises", "-1"],
        ["--vocab_size", "0"],
        ["--hidden_size", "30"],
        ["--heads", "3"],
        ["--layers", "0"],
        ["--spread", "nan"],
        ["--context", "0"],
        ["--lora_rank", "0"],
        ["--mixture", "sequential=nan"],
        ["--trainable", "lora"],
        ["--general_text", "words.txt"],
        ["--block_length", "4096"],
        ["--use_cache", "true"],
    ],
)
def test_options_out_of_range_are_refused_before_anything_is_written(world, tmp_path, words):
    said = refused(
        "midtrain",
        "--items",
        world.items,
        "--interactions",
        world.interactions,
        "--semantic_ids",
        world.semantic_ids,
        "--output_dir",
        tmp_path / "out",
        *words,
    )
    assert words[0] in said.partition(":")[0]
    assert not (tmp_path / "out").exists()


def test_exercises_show_titles_as_short_as_the_prompt_wants_them(world, tmp_path):
    """As sft, rl and rerank do; by the number of tokens that were read."""
    from gr2.prompts.prompt import prompt_file
    from gr2.runner.stage import run_stage

    text = (
        Path(prompt_file("student_no_trace"))
        .read_text()
        .replace("{{ item.sid }}\n", "{{ item.sid }} {{ item.title }}\n")
    )
    tables = ["--items", world.items, "--interactions", world.interactions, "--semantic_ids", world.semantic_ids]
    size = shlex.split("--exercises 16 --hidden_size 16 --layers 1 --heads 2 --vocab_size 300 --bf16 false")
    read = []
    for tokens in (1, 2, 100):
        (tmp_path / f"cut{tokens}.yaml").write_text(f"{text}title_tokens: {tokens}\n")
        words = ["--prompt", str(tmp_path / f"cut{tokens}.yaml"), "--output_dir", str(tmp_path / str(tokens)), *size]
        run_stage("midtrain", [*tables, *words, "--save_strategy", "no", "--disable_tqdm", "true"])
        read.append(json.loads((tmp_path / str(tokens) / "training_rates.json").read_text())["tokens"])
    assert read[0] < read[1] < read[2]


def test_every_code_of_the_quantizer_has_a_token_and_the_folder_says_what_was_taught(world, tmp_path):
    """A later item may get a code that none has yet."""
    from transformers import AutoTokenizer

    from gr2.files.semantic_ids import write_semantic_ids

    frame = pl.read_parquet(world.semantic_ids)
    write_semantic_ids(tmp_path / "ids.parquet", frame["item_id"], np.array(frame["codes"].to_list()), {"codes": "12"})
    forked(
        "midtrain",
        "--items",
        world.items,
        "--interactions",
        world.interactions,
        "--semantic_ids",
        tmp_path / "ids.parquet",
        "--output_dir",
        tmp_path / "out",
        "--hidden_size",
        "16",
        "--layers",
        "1",
        "--heads",
        "1",
        "--vocab_size",
        "300",
        "--passes",
        "1",
        "--max_steps",
        "1",
        *TINY,
    )
    words = AutoTokenizer.from_pretrained(tmp_path / "out").get_vocab()
    assert all(f"<s_{level}_11>" in words for level in "abc") and "<s_a_12>" not in words
    assert json.loads((tmp_path / "out/semantic_ids.json").read_text())["items"] == 48

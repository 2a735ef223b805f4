"""Architectures that keep packed documents apart are trained; others are refused, by midtrain and by sft."""

import shutil

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, TrainingArguments

from gr2.errors import InputError
from gr2.language_model.separation import refuse_mixing
from gr2.language_model.trainable import add_lora
from gr2.midtrain.packing import collate
from gr2.rates import LanguageModelTrainer
from gr2.runner.stage import run_stage
from gr2.sft.weighting import Collator

ROTARY = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
}
APART = {"qwen3": ROTARY | {"head_dim": 8}, "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 2}}
MIXED = {
    "bloom": {"hidden_size": 16, "n_layer": 2, "n_head": 2},
    "opt": {"hidden_size": 16, "ffn_dim": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
            "word_embed_proj_dim": 16},
    "mamba": {"hidden_size": 16, "num_hidden_layers": 2, "state_size": 4},
}  # fmt: skip
COLLATORS = {"midtrain": collate, "sft": Collator(0, True, pad_to_multiple_of=32)}


def untrained(architecture: str, shape: dict, vocab_size: int = 64):
    torch.manual_seed(0)
    config = AutoConfig.for_model(architecture, vocab_size=vocab_size, bos_token_id=1, eos_token_id=2, **shape)
    return AutoModelForCausalLM.from_config(config)


def check(model, collator, folder) -> None:
    options = TrainingArguments(output_dir=str(folder), use_cpu=True, report_to=[])
    refuse_mixing(LanguageModelTrainer(model, options, data_collator=collator), "expected another")


@pytest.mark.parametrize("stage", COLLATORS)
@pytest.mark.parametrize("architecture", APART)
def test_where_documents_stay_apart_a_training_begins(architecture, stage, tmp_path):
    model = untrained(architecture, APART[architecture])
    check(model, COLLATORS[stage], tmp_path)
    if architecture == "qwen3":
        check(add_lora(model, [3, 4], rank=2, alpha=4), COLLATORS[stage], tmp_path)


@pytest.mark.parametrize("stage", COLLATORS)
@pytest.mark.parametrize("architecture", MIXED)
def test_an_architecture_that_mixes_documents_is_refused(architecture, stage, tmp_path):
    with pytest.raises(InputError, match=f"architecture, {architecture}, lets documents .*: expected another$"):
        check(untrained(architecture, MIXED[architecture]), COLLATORS[stage], tmp_path)


def test_midtrain_and_sft_refuse_to_pack_for_such_a_model(world, beginner, tmp_path):
    base, plain = tmp_path / "bloom", ["--bf16", "false", "--disable_tqdm", "true", "--save_strategy", "no"]
    shutil.copytree(beginner, base, ignore=shutil.ignore_patterns("manifest.json"))
    size = AutoConfig.from_pretrained(beginner).vocab_size
    untrained("bloom", MIXED["bloom"], size).save_pretrained(base)
    tables = ["--items", world.items, "--semantic_ids", world.semantic_ids, "--model_name_or_path", str(base)]
    slates = ["--items", world.items, "--semantic_ids", world.semantic_ids, "--slates", world.slates]
    run_stage("template", [*slates, "--prompt", "rejection", "--output_dir", str(tmp_path / "traces")])
    traces = ["--slates", world.slates, "--traces", str(tmp_path / "traces/traces.jsonl")]
    for stage, words, expected in (
        ("midtrain", ["--interactions", world.interactions, "--passes", "1"], "expected another base model"),
        ("sft", [*traces, "--packing", "true"], "expected --packing false"),
    ):
        with pytest.raises(InputError, match=f"bloom, lets documents .*{expected}"):
            run_stage(stage, [*tables, *words, *plain, "--output_dir", str(tmp_path / stage)])
        assert not list((tmp_path / stage).glob("*.safetensors"))

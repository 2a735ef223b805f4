"""recipes/accelerate as accelerate's launcher reads them, and what its own classes make of that in a process.

DeepSpeed is not installed: its configs are read, and nothing is trained with them.
"""

import os

import pytest
import torch
from accelerate.utils import DeepSpeedPlugin, FullyShardedDataParallelPlugin

from tests.helpers import refused
from tests.scenarios.launching import accelerate_environment


@pytest.fixture
def told(monkeypatch):
    """Sets the variables that a process is started with, and returns them."""

    def tell(mode: str) -> dict[str, str]:
        for name in [name for name in os.environ if name.startswith(("ACCELERATE_", "FSDP_"))]:
            monkeypatch.delenv(name)
        variables = accelerate_environment(mode)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return variables

    return tell


@pytest.mark.parametrize("mode", ["ddp", "zero2", "zero3", "fsdp2"])
def test_a_config_asks_for_bfloat16_and_one_way_to_share_the_work(told, mode):
    variables = told(mode)
    assert variables["ACCELERATE_MIXED_PRECISION"] == "bf16"
    asked = [name for name in ("ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED") if variables.get(name) == "true"]
    assert asked == {"fsdp2": ["ACCELERATE_USE_FSDP"], "ddp": []}.get(mode, ["ACCELERATE_USE_DEEPSPEED"])


def test_fsdp2_shards_each_layer_of_a_qwen3_and_writes_whole_models(told):
    from gr2.language_model.scratch import small_model, train_tokenizer

    told("fsdp2")
    plugin = FullyShardedDataParallelPlugin()
    plugin.set_mixed_precision("bf16")
    model = small_model(train_tokenizer(["a b"], 270), 16, 2, 2, 64, seed=0)
    plugin.set_auto_wrap_policy(model)
    wrapped = plugin.auto_wrap_policy.keywords["transformer_layer_cls"]
    assert {type(module).__name__ for module in model.modules() if isinstance(module, tuple(wrapped))} == {
        "Qwen3DecoderLayer"
    }
    assert plugin.fsdp_version == 2 and plugin.reshard_after_forward is True
    assert plugin.state_dict_type.name == "FULL_STATE_DICT"  # else transformers writes no plain checkpoint
    assert plugin.mixed_precision_policy.param_dtype == torch.bfloat16
    assert (
        plugin.cpu_ram_efficient_loading and not plugin.activation_checkpointing
    )  # gradient_checkpointing: a recipe's


@pytest.mark.parametrize("stage", [2, 3])
def test_zero_takes_batch_clipping_and_accumulation_from_the_recipe(told, stage):
    """What transformers fills in later is "auto"; a number here would contradict a recipe's option."""
    told(f"zero{stage}")
    plugin = DeepSpeedPlugin()
    plugin.set_mixed_precision("bf16")
    config = plugin.deepspeed_config
    assert config["zero_optimization"]["stage"] == stage and config["bf16"]["enabled"]
    names = "train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps", "gradient_clipping"
    assert [config[name] for name in names] == ["auto"] * 4
    assert config["zero_optimization"]["stage3_gather_16bit_weights_on_model_save"] == (stage == 3)
    assert config["zero_optimization"]["offload_optimizer"]["device"] == "none"


@pytest.mark.parametrize("mode", ["zero3", "fsdp2"])
def test_lora_is_refused_where_its_adapters_could_not_be_merged(told, mode, tmp_path):
    told(mode)
    files = {name: tmp_path / name for name in ("items", "interactions", "semantic_ids")}
    for file in files.values():
        file.touch()
    tables = [word for name, file in files.items() for word in (f"--{name}", file)] + ["--model_name_or_path", "model"]
    complaint = refused("midtrain", *tables, "--trainable", "lora", "--output_dir", tmp_path)
    assert "--trainable lora: expected a launch that does not shard the weights" in complaint

"""What gr2 overrides, calls or reads of TRL's and transformers' trainers: an upgrade that changes it fails here."""

import ast
import inspect
from pathlib import Path

import pytest
from transformers import Trainer
from trl import DistillationTrainer, GRPOTrainer, SFTTrainer

from tests.rl.dull_slates import dull_trainer

MULTIMODAL = (
    "pixel_values image_grid_thw num_images pixel_attention_mask spatial_shapes num_tiles image_sizes token_type_ids"
)
METHODS = {
    (GRPOTrainer, "_generate"): "self prompts",
    (GRPOTrainer, "_generate_and_score_completions"): "self inputs",
    (GRPOTrainer, "_calculate_rewards"): "self inputs prompts completions completion_ids_list",
    (
        GRPOTrainer,
        "_get_per_token_logps_and_entropies",
    ): "self model input_ids attention_mask logits_to_keep batch_size "
    f"compute_entropy compute_aux_loss {MULTIMODAL} mm_token_type_ids image_position_ids",
    (GRPOTrainer, "compute_loss"): "self model inputs return_outputs num_items_in_batch",
    (GRPOTrainer, "evaluate"): "self eval_dataset ignore_keys metric_key_prefix",
    (GRPOTrainer, "create_model_card"): "self model_name dataset_name tags",
    (DistillationTrainer, "_generate"): "self prompts",
    (DistillationTrainer, "create_model_card"): "self model_name dataset_name tags",
    (SFTTrainer, "_get_num_items_in_batch"): "self batch_samples device",
    (SFTTrainer, "compute_loss"): "self model inputs return_outputs num_items_in_batch",
    (SFTTrainer, "create_model_card"): "self model_name dataset_name tags",
    (GRPOTrainer, "_save_checkpoint"): "self model trial",
    (Trainer, "_load_best_model"): "self",
    (Trainer, "_load_from_checkpoint"): "self resume_from_checkpoint model",
}
ATTRIBUTES = {"_metrics": dict, "_pending_metrics": dict, "_logs": dict, "_step": int, "_dist": object}
GR2 = Path(__file__).parents[2] / "gr2"


@pytest.mark.parametrize(("cls", "name"), METHODS)
def test_a_method_that_gr2_overrides_or_calls_has_its_signature(cls, name):
    assert " ".join(inspect.signature(getattr(cls, name)).parameters) == METHODS[cls, name]


def test_attributes_that_gr2_reads_or_writes_are_there(tmp_path):
    trainer = dull_trainer(tmp_path, lively=1, per_device_train_batch_size=8)
    for name, kind in ATTRIBUTES.items():
        assert isinstance(vars(trainer)[name], kind)
    assert trainer.rollout_func is None
    assert {"advantages", "prompt", "rewards"} <= trainer._logs.keys()


def test_a_rollout_function_is_given_prompts_and_trainer_and_may_return_more():
    source = inspect.getsource(GRPOTrainer._generate)
    assert "self.rollout_func(prompts, self)" in source
    assert 'required_keys = {"prompt_ids", "completion_ids", "logprobs"}' in source


def test_no_other_private_name_is_used(tmp_path):
    """Private names in gr2's code that a trainer has."""
    trainer = dull_trainer(tmp_path, lively=1, per_device_train_batch_size=8)
    theirs = {name for cls in (GRPOTrainer, DistillationTrainer, SFTTrainer) for name in dir(cls)} | vars(
        trainer
    ).keys()
    used = set()
    for file in [GR2 / "training.py", *(GR2 / "rl").glob("*.py"), *(GR2 / "sft").glob("*.py")]:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Attribute):
                used.add(node.attr)
            elif isinstance(node, ast.FunctionDef):
                used.add(node.name)
    private = {name for name in used & theirs if name.startswith("_") and not name.startswith("__")}
    assert private == {name for _, name in METHODS if name.startswith("_")} | ATTRIBUTES.keys()

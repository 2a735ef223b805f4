"""TRL's options: our defaults, and those that gr2's trainings refuse by name, before anything is written."""

import math
from dataclasses import dataclass, fields
from typing import Any, Literal

from gr2.errors import InputError
from gr2.options.declare import arg

MODEL = "the model is loaded from --model_name_or_path"
SAMPLES = "it would change what is sampled, but not the log-probabilities that are learned from"
SETTINGS = "what is sampled is set by temperature, top_p, top_k, min_p and repetition_penalty"
VALIDATION = "with --eval_slates the best of the checkpoints by NDCG@5 is written, and each of them is validated"

# Options that have to stay at their default, and why.
COMMON = {
    "model_init_kwargs": MODEL,
    "trust_remote_code": "no code that comes with a model is run",
    "chat_template_kwargs": "a model is asked the same way in sft, rl, distil and rerank",
    "generation_kwargs": SETTINGS,
    "vllm_structured_outputs_regex": "one pattern cannot hold every slate's candidates",
    "label_smoothing_factor": "the loss does not use it",
    "max_tool_calling_iterations": "an answer calls no tools",
}
RL = COMMON | {
    "generation_kwargs": "what is sampled is set by temperature",
    **dict.fromkeys(("top_p", "top_k", "min_p", "repetition_penalty"), SAMPLES),
    "use_transformers_continuous_batching": "it would leave the trained weights in the type that they are sampled in",
    "use_transformers_paged": "it would leave the trained weights in the type that they are sampled in",
    "transformers_continuous_batching_config": "continuous batching is not supported",
    "remove_unused_columns": "rewards read the slate's columns",
    "num_generations_eval": "validation answers each slate once, greedily",
    "metric_for_best_model": VALIDATION,
    "greater_is_better": VALIDATION,
}
DISTIL = COMMON | {
    "teacher_model_name_or_path": "the teacher is --teacher",
    "teacher_model_init_kwargs": "the teacher is loaded from --teacher",
    "teacher_model_revision": "the teacher is loaded from --teacher",
    "eval_strategy": "there is no validation",
    "load_best_model_at_end": "there is no validation",
}
BY_CHOICES = {"use_vllm": "TRL's vLLM decodes no choices"}

# What TRL takes but checks only once it has begun.
CHOICES = {
    "multi_objective_aggregation": ("sum_then_normalize", "normalize_then_sum"),
    "importance_sampling_level": ("token", "sequence"),
    "vllm_mode": ("colocate", "server"),
    "vllm_model_impl": ("vllm", "transformers"),
}


@dataclass(kw_only=True)
class Dapo:
    """DAPO (2503.14476) in TRL's options: clip-higher, a mean over tokens, no KL, no length mask, plain sampling."""

    loss_type: Literal["grpo", "dr_grpo", "dapo", "bnpo", "cispo", "sapo", "luspo", "vespo"] = arg("dapo", "the loss")
    beta: float = arg(0.0, "weight of the KL to the model before RL; 0: no reference model")
    epsilon: float = arg(0.2, "clip: the ratio's lower bound is 1 - epsilon")
    epsilon_high: float = arg(0.28, "DAPO's clip-higher: the ratio's upper bound is 1 + epsilon_high")
    scale_rewards: Literal["group", "batch", "none"] = arg(
        "group", "divide advantages by the rewards' spread in the group, the batch, or not"
    )
    mask_truncated_completions: bool = arg(
        False, "leave answers that are cut off out of the loss; false: they count, as unusable"
    )
    temperature: float = arg(1.0, "sampling temperature; log-probabilities are divided by it, too")


@dataclass(kw_only=True)
class OnPolicy:
    """Of trainings on a model's own answers to train slates."""

    shuffle_candidates: bool = arg(False, "show candidates in random order; rewards stay relative to the input order")
    max_slates: int | None = arg(None, "learn from this many slates, drawn at random under the seed", least=1)


def refuse_changed(config: Any, reasons: dict[str, str]) -> None:
    """InputError where one of the options that `reasons` names is not at its default."""
    default = {field.name: field.default for field in fields(config)}
    for name, reason in reasons.items():
        value = vars(config)[name]
        if value != default[name]:
            raise InputError(f"--{name} {value}: expected {default[name]}; {reason}")


def check_choices(config: Any) -> None:
    """InputError where an option of TRL is none of the values that TRL knows."""
    for name, choices in CHOICES.items():
        value = vars(config).get(name, choices[0])  # an option that the stage does not have
        if value not in choices:
            raise InputError(f"--{name} {value}: expected one of {', '.join(choices)}")


def check_checkpoints(config: Any) -> None:
    """InputError where a checkpoint of RL may fall between two steps that learn from the same answers.

    TRL keeps neither the answers nor their step: a resumed run would generate there, out of step with its batches.
    Call it once TRL has set `steps_per_generation`.
    """
    micro_steps = config.steps_per_generation * config.num_iterations  # that learn from one generation
    steps = micro_steps // math.gcd(micro_steps, config.gradient_accumulation_steps)
    if steps == 1:
        return
    rule = f"since {steps} steps learn from the same answers, and a run resumed between them would learn from others"
    if config.enable_jit_checkpoint:
        raise InputError(f"--enable_jit_checkpoint true: expected false, {rule}")
    if config.save_strategy == "steps" and config.save_steps % steps:
        name = "eval_steps" if config.eval_slates else "save_steps"
        multiple = f"a multiple of {steps}, such as {math.ceil(config.save_steps / steps) * steps}"
        raise InputError(f"--{name} {config.save_steps:g}: expected {multiple}, {rule}")

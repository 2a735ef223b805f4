"""Options of TRL that gr2's trainings do not support: they are refused by name, before anything is written."""

from dataclasses import fields
from typing import Any

from gr2.errors import InputError

MODEL = "the model is loaded from --model_name_or_path"
SETTINGS = "what is sampled is set by temperature, top_p, top_k, min_p and repetition_penalty"

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
    "use_transformers_continuous_batching": "it would leave the trained weights in the type that they are sampled in",
    "use_transformers_paged": "it would leave the trained weights in the type that they are sampled in",
    "transformers_continuous_batching_config": "continuous batching is not supported",
    "remove_unused_columns": "rewards read the slate's columns",
    "num_generations_eval": "validation answers each slate once, greedily",
}
DISTIL = COMMON | {
    "teacher_model_name_or_path": "the teacher is --teacher",
    "teacher_model_init_kwargs": "the teacher is loaded from --teacher",
    "teacher_model_revision": "the teacher is loaded from --teacher",
    "eval_strategy": "there is no validation",
    "load_best_model_at_end": "there is no validation",
}
UNDER_A_GRAMMAR = {
    "use_vllm": "TRL's vLLM takes no grammar of each slate's own",
    **dict.fromkeys(("top_p", "top_k", "min_p", "repetition_penalty"),
                    "with structured, log-probabilities are among all admitted tokens"),
}  # fmt: skip

# What TRL takes but checks only once it has begun.
CHOICES = {
    "loss_type": ("grpo", "dr_grpo", "dapo", "bnpo", "cispo", "sapo", "luspo", "vespo"),
    "scale_rewards": ("group", "batch", "none"),
    "multi_objective_aggregation": ("sum_then_normalize", "normalize_then_sum"),
    "importance_sampling_level": ("token", "sequence"),
    "vllm_mode": ("colocate", "server"),
    "vllm_model_impl": ("vllm", "transformers"),
}


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

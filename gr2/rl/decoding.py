"""Answers of the policy while it is being trained, with transformers' `generate`."""

from collections.abc import Sequence

import torch
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList
from trl import GRPOTrainer
from trl.models import unwrap_model_for_generation


def decode(
    trainer: GRPOTrainer,
    prompt_ids: list[list[int]],
    generation: GenerationConfig,
    processors: Sequence[LogitsProcessor] = (),
) -> list[list[int]]:
    """Token ids of one answer per prompt, up to its end-of-turn token. Every process has to take part."""
    batch = trainer.processing_class.pad({"input_ids": prompt_ids}, padding_side="left", return_tensors="pt")
    batch = batch.to(trainer.accelerator.device)
    with (
        unwrap_model_for_generation(
            trainer.model_wrapped,
            trainer.accelerator,
            gather_deepspeed3_params=trainer.args.ds3_gather_for_generation,
        ) as model,
        torch.no_grad(),
        trainer._dist.summon_full_params(trainer.model_wrapped, recurse=False),
    ):
        output = model.generate(**batch, generation_config=generation, logits_processor=LogitsProcessorList(processors))
    return [upto_end(answer, trainer.eos_token_ids) for answer in output[:, batch["input_ids"].shape[1] :].tolist()]


def greedy(trainer: GRPOTrainer) -> GenerationConfig:
    """As in training, but the most probable token; explicit, so that nothing is filled in from the model's own config."""
    return GenerationConfig(
        max_new_tokens=trainer.max_completion_length,
        do_sample=False,
        repetition_penalty=1.0,
        eos_token_id=trainer.eos_token_ids,
        pad_token_id=trainer.processing_class.pad_token_id,
    )


def upto_end(answer: list[int], ends: Sequence[int]) -> list[int]:
    """An answer's tokens without the padding that follows its end token."""
    length = next((place + 1 for place, token in enumerate(answer) if token in ends), len(answer))
    return answer[:length]

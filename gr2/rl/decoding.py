"""Answers of the policy while it is being trained, with transformers' `generate`.

What is sampled is set by the recipe and the end tokens alone. `generate` fills what its settings leave open from the
model's `generation_config.json`, which a hub model may use for `min_new_tokens`, `no_repeat_ngram_size` or
`suppress_tokens`; so that file is put aside while the policy answers.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Trainer,
)
from trl.models import unwrap_model_for_generation

from gr2.samplers.base import not_words


class RecipeDecoding:
    """Of a TRL trainer: rollouts follow its options alone, and no token is sampled that the tokenizer lacks."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        if not self.args.use_vllm:
            self.generation_config.suppress_tokens = unknown_tokens(self)

    def _generate(self, prompts: list) -> tuple:
        with without_own_settings(self.accelerator.unwrap_model(self.model)):
            return super()._generate(prompts)


@contextmanager
def without_own_settings(model: PreTrainedModel) -> Iterator[None]:
    """Puts the model's own generation config aside."""
    own, model.generation_config = model.generation_config, GenerationConfig()
    try:
        yield
    finally:
        model.generation_config = own


def unknown_tokens(trainer: Trainer) -> list[int] | None:
    """Rows of the vocabulary that only pad it: they decode to nothing. None where there are none."""
    return not_words(trainer.processing_class, trainer.model.config.get_text_config().vocab_size) or None


def encode_prompts(tokenizer: PreTrainedTokenizerBase, prompts: list) -> list[list[int]]:
    """Token ids of each chat, open for the answer, as TRL makes them."""
    return tokenizer.apply_chat_template(prompts, add_generation_prompt=True, return_dict=True)["input_ids"]


def decode(
    trainer: Trainer,
    prompt_ids: list[list[int]],
    generation: GenerationConfig,
    processors: Sequence[LogitsProcessor] = (),
) -> list[list[int]]:
    """Token ids of one answer to each prompt, up to its end-of-turn token. Every process has to take part.

    trainer: one of TRL's with rollouts.
    """
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
        without_own_settings(model),
    ):
        output = model.generate(**batch, generation_config=generation, logits_processor=LogitsProcessorList(processors))
    return [cut_at_end(answer, trainer.eos_token_ids) for answer in output[:, batch["input_ids"].shape[1] :].tolist()]


def greedy(trainer: Trainer) -> GenerationConfig:
    """As in training, but the most probable token."""
    return GenerationConfig(
        max_new_tokens=trainer.max_completion_length,
        do_sample=False,
        eos_token_id=trainer.eos_token_ids,
        pad_token_id=trainer.processing_class.pad_token_id,
        suppress_tokens=unknown_tokens(trainer),
    )


def cut_at_end(answer: list[int], ends: Sequence[int]) -> list[int]:
    """An answer's tokens without the padding that follows its end token."""
    length = next((index + 1 for index, token in enumerate(answer) if token in ends), len(answer))
    return answer[:length]

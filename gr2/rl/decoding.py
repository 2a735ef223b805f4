"""Free answers of the policy while it is being trained, with transformers' `generate`.

What is sampled is set by the recipe and the end tokens alone. `generate` fills what its settings leave open from the
model's `generation_config.json`, which a hub model may use for `min_new_tokens`, `no_repeat_ngram_size` or
`suppress_tokens`; so that file is put aside while the policy answers.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from accelerate import DistributedType
from transformers import AutoModelForCausalLM, GenerationConfig, PreTrainedModel, Trainer
from trl.models import unwrap_model_for_generation

from gr2.samplers.base import padding_rows


class RecipeDecoding:
    """Of a TRL trainer: rollouts follow its options alone, and no token is sampled that the tokenizer lacks."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.half: PreTrainedModel | None = None
        if not self.args.use_vllm:
            self.generation_config.suppress_tokens = unknown_tokens(self)

    def _generate(self, prompts: list) -> tuple:
        with remove_own_settings(self.accelerator.unwrap_model(self.model)):
            return super()._generate(prompts)


@contextmanager
def remove_own_settings(model: PreTrainedModel) -> Iterator[None]:
    """Puts the model's own generation config aside."""
    before, model.generation_config = model.generation_config, GenerationConfig()
    try:
        yield
    finally:
        model.generation_config = before


def unknown_tokens(trainer: Trainer) -> list[int] | None:
    """Rows of the vocabulary that only pad it: they decode to nothing. None where there are none."""
    return padding_rows(trainer.processing_class, trainer.model.config.get_text_config().vocab_size) or None


@contextmanager
def answering_model(trainer: Trainer) -> Iterator[PreTrainedModel]:
    """The trainer's model for answers, in bfloat16 if that is what it trains in; every process has to take part."""
    wrapped, gather = trainer.model_wrapped, trainer.args.ds3_gather_for_generation
    with (
        unwrap_model_for_generation(wrapped, trainer.accelerator, gather) as model,
        torch.no_grad(),
        trainer._dist.summon_full_params(wrapped, recurse=False),
        remove_own_settings(model),
    ):
        is_whole = trainer.accelerator.distributed_type in (DistributedType.NO, DistributedType.MULTI_GPU)
        yield refresh_copy(trainer, model) if trainer.args.bf16 and is_whole else model


def refresh_copy(trainer: "RecipeDecoding", model: PreTrainedModel) -> PreTrainedModel:
    """A copy of the model's weights as they are now, in bfloat16: autocast would convert all of them in every pass."""
    if trainer.half is None:
        with torch.random.fork_rng(), torch.device(model.device):  # its first weights are drawn, and not used
            trainer.half = AutoModelForCausalLM.from_config(model.config, dtype=torch.bfloat16).eval()
        trainer.half.generation_config = GenerationConfig()
    for mine, theirs in zip(trainer.half.parameters(), model.parameters(), strict=True):
        mine.copy_(theirs)
    return trainer.half


def encode_prompts(trainer: Trainer, prompts: list) -> list[list[int]]:
    tokenizer = trainer.processing_class
    return tokenizer.apply_chat_template(prompts, add_generation_prompt=True, return_dict=True)["input_ids"]


def decode(trainer: Trainer, prompts: list, generation: GenerationConfig) -> list[list[int]]:
    """Token ids of one answer to each prompt, up to its end-of-turn token."""
    batch = {"input_ids": encode_prompts(trainer, prompts)}
    batch = trainer.processing_class.pad(batch, padding_side="left", return_tensors="pt").to(trainer.accelerator.device)
    with answering_model(trainer) as model:
        output = model.generate(**batch, generation_config=generation)
    answers = output[:, batch["input_ids"].shape[1] :].tolist()
    return [cut_at_end(answer, trainer.eos_token_ids) for answer in answers]


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
    return answer[: next((index + 1 for index, token in enumerate(answer) if token in ends), None)]

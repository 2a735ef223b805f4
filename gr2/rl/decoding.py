"""Answers of the policy while it is being trained, with transformers' `generate`, freely or under a grammar.

What is sampled is set by the recipe and the end tokens alone. `generate` fills what its settings leave open from the
model's `generation_config.json`, which a hub model may use for `min_new_tokens`, `no_repeat_ngram_size` or
`suppress_tokens`; so that file is put aside while the policy answers.

Under a grammar answers are permutations of their slates by construction. Tokens are sampled from the admitted ones, and
their log-probabilities are taken over the admitted ones.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import GenerationConfig, LogitsProcessorList, PreTrainedModel, PreTrainedTokenizerBase, Trainer
from trl.models import unwrap_model_for_generation

from gr2.samplers.base import padding_rows
from gr2.samplers.grammar_processor import GrammarProcessor, unpacked


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
    return padding_rows(trainer.processing_class, trainer.model.config.get_text_config().vocab_size) or None


def decode(
    trainer: Trainer, prompts: list, generation: GenerationConfig, grammar: GrammarProcessor | None = None
) -> tuple[list[list[int]], list[list[int]]]:
    """Token ids of each prompt and of one answer to it, up to its end-of-turn token. Every process has to take part."""
    tokenizer = trainer.processing_class
    prompt_ids = tokenizer.apply_chat_template(prompts, add_generation_prompt=True, return_dict=True)["input_ids"]
    batch = tokenizer.pad({"input_ids": prompt_ids}, padding_side="left", return_tensors="pt")
    batch = batch.to(trainer.accelerator.device)
    processors = LogitsProcessorList([grammar] if grammar else [])
    wrapped, gather = trainer.model_wrapped, trainer.args.ds3_gather_for_generation
    with (
        unwrap_model_for_generation(wrapped, trainer.accelerator, gather) as model,
        torch.no_grad(),
        trainer._dist.summon_full_params(wrapped, recurse=False),
        without_own_settings(model),
    ):
        output = model.generate(**batch, generation_config=generation, logits_processor=processors)
    answers = output[:, batch["input_ids"].shape[1] :].tolist()
    return prompt_ids, [cut_at_end(answer, trainer.eos_token_ids) for answer in answers]


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


def make_grammar(rows: list[dict], tokenizer: PreTrainedTokenizerBase) -> GrammarProcessor:
    """What keeps an answer to each of the rows within the JSON schema in the row's column `schema`."""
    return GrammarProcessor(tokenizer, [json.loads(row["schema"]) for row in rows])


def answer_under_grammar(prompts: list, trainer: Trainer, rows: list[dict]) -> dict[str, list | None]:
    """TRL's `rollout_func`: an answer to each row, and which tokens were `admitted`, int32 [length, words]."""
    grammar = make_grammar(rows, trainer.processing_class)
    prompt_ids, answers = decode(trainer, prompts, trainer.generation_config, grammar)
    masks = np.stack(grammar.masks, axis=1)
    admitted = [mask[: len(answer)] for mask, answer in zip(masks, answers, strict=True)]
    return {"prompt_ids": prompt_ids, "completion_ids": answers, "logprobs": None, "admitted": admitted}


def pad_masks(masks: Sequence[np.ndarray]) -> Tensor:
    """int32 [length, words] each -> [rows, longest length, words]; past an answer's end every token is admitted."""
    return pad_sequence([torch.from_numpy(mask) for mask in masks], batch_first=True, padding_value=-1)


def score_admitted(logits: Tensor, tokens: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities of tokens [rows, length] and entropies, [rows, length], among those that are admitted.

    logits [rows, length, vocabulary], masks [rows, length, words].
    """
    admitted = unpacked(masks, logits.shape[-1])
    logps = logits.masked_fill(~admitted, torch.finfo(logits.dtype).min).log_softmax(-1)
    chosen = logps.gather(-1, tokens.unsqueeze(-1)).squeeze(-1)
    entropies = -(logps.exp() * logps.masked_fill(~admitted, 0.0)).sum(-1)
    return chosen, entropies

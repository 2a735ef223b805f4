"""A policy under a grammar: its answers are permutations of their slates by construction, and its log-probabilities exact.

Tokens are sampled from the admitted ones, and their log-probabilities are taken over the admitted ones.
"""

import json
from collections.abc import Sequence

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedTokenizerBase
from trl import GRPOTrainer

from gr2.rl.decoding import decode, encode_prompts
from gr2.samplers.grammar_processor import GrammarProcessor, unpacked


def make_grammar(rows: list[dict], tokenizer: PreTrainedTokenizerBase) -> GrammarProcessor:
    """What keeps an answer to each of the rows within the JSON schema in the row's column `schema`."""
    return GrammarProcessor(tokenizer, [json.loads(row["schema"]) for row in rows])


def answer_under_grammar(prompts: list, trainer: GRPOTrainer, rows: list[dict]) -> dict[str, list | None]:
    """TRL's `rollout_func`: an answer to each of the rows, and the tokens `admitted` on the way, int32 [length, words]."""
    prompt_ids = encode_prompts(trainer.processing_class, prompts)
    grammar = make_grammar(rows, trainer.processing_class)
    answers = decode(trainer, prompt_ids, trainer.generation_config, [grammar])
    masks = np.stack(grammar.masks, axis=1)
    admitted = [mask[: len(answer)] for mask, answer in zip(masks, answers, strict=True)]
    return {"prompt_ids": prompt_ids, "completion_ids": answers, "logprobs": None, "admitted": admitted}


def pad_masks(masks: Sequence[np.ndarray]) -> torch.Tensor:
    """int32 [length, words] each -> [rows, longest length, words]; past an answer's end every token is admitted."""
    return pad_sequence([torch.from_numpy(mask) for mask in masks], batch_first=True, padding_value=-1)


def score_admitted(
    logits: torch.Tensor, tokens: torch.Tensor, masks: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """logits [rows, length, vocabulary], tokens [rows, length], masks [rows, length, words] -> log-probabilities of the
    tokens and entropies, [rows, length] both, among the admitted tokens.
    """
    admitted = unpacked(masks, logits.shape[-1])
    logps = logits.masked_fill(~admitted, torch.finfo(logits.dtype).min).log_softmax(-1)
    chosen = logps.gather(-1, tokens.unsqueeze(-1)).squeeze(-1)
    entropies = -(logps.exp() * logps.masked_fill(~admitted, 0.0)).sum(-1)
    return chosen, entropies

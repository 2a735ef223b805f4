"""Explanations, written token by token under their grammar with transformers' `generate`; a list of choices follows."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from transformers import DynamicCache, GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from gr2.choices.spelling import OPENING
from gr2.samplers.grammar import explanation_grammar

EXPLANATION = re.compile(r'\{"explanation": "(?:[^"\\]|\\.)*"', re.DOTALL)


@dataclass(frozen=True)
class Explanation:
    """The beginning of an answer: `tokens`, and which `admitted` each of them, int32 [length, words] (see `unpack`).

    rest: what is still missing of the text up to the list's first item; None: it was cut off.
    """

    tokens: list[int]
    admitted: np.ndarray
    rest: str | None


class Grammars:
    """Follows a batch of answers up to the end of their explanations, for one call of `generate`.

    budgets: the most tokens of each explanation. `admit` is a logits processor, `are_done` a stopping criterion.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, schemas: Sequence[dict], budgets: Sequence[int]):
        from llguidance import LLExecutor, LLMatcher
        from llguidance.hf import from_tokenizer
        from llguidance.numpy import get_bitmask_shape

        self.words, vocabulary = from_tokenizer(tokenizer), tokenizer.get_added_vocab()
        grammars = [LLMatcher.grammar_from_lark(explanation_grammar(schema, vocabulary)) for schema in schemas]
        compiled = {text: LLMatcher(self.words, text) for text in dict.fromkeys(grammars)}  # a group shares its slate's
        self.matchers = [compiled[text].deep_copy() for text in grammars]
        self.executor = LLExecutor()
        self.shape = get_bitmask_shape(len(schemas), self.words.vocab_size)
        self.budgets = budgets
        self.tokens: list[list[int]] = [[] for _ in schemas]
        self.texts = [""] * len(schemas)
        self.ends = [None] * len(schemas)  # where the explanation's text ends, its quote included
        self.masks: list[np.ndarray] = []

    def is_done(self, row: int) -> bool:
        return self.ends[row] is not None or len(self.tokens[row]) >= self.budgets[row]

    def admit(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """scores [batch, vocabulary] -> -inf for tokens that are not admitted; rows that are done are not changed."""
        from llguidance.numpy import fill_next_token_bitmask_par

        mask = np.full(self.shape, -1, np.int32)
        rows = [(matcher, row) for row, matcher in enumerate(self.matchers) if not self.is_done(row)]
        fill_next_token_bitmask_par(self.executor, rows, mask)
        self.masks.append(mask)
        admitted = unpack(torch.from_numpy(mask).to(scores.device), scores.shape[-1])
        return scores.masked_fill(~admitted, -torch.inf)

    def are_done(self, input_ids: torch.LongTensor, scores: torch.FloatTensor, **_) -> torch.BoolTensor:
        """Takes in the latest token of each row; bool [batch], which need no more. ValueError: it is not admitted."""
        for row, token in enumerate(input_ids[:, -1].tolist()):
            if self.is_done(row):
                continue
            if not self.matchers[row].consume_token(token):
                raise ValueError(f"row {row}: token {token} is not admitted: {self.matchers[row].get_error()}")
            self.tokens[row].append(token)
            text = self.words.decode_str([token])
            self.texts[row] += text
            if '"' in text and (found := EXPLANATION.match(self.texts[row])):
                self.ends[row] = found.end()
        return torch.tensor([self.is_done(row) for row in range(len(self.tokens))], device=input_ids.device)

    def explanation(self, row: int) -> Explanation:
        tokens, end = self.tokens[row], self.ends[row]
        admitted = np.stack([mask[row] for mask in self.masks[: len(tokens)]])
        written = None if end is None else len(self.texts[row]) - end
        return Explanation(tokens, admitted, None if end is None else f', {OPENING}"'[written:])


def write_explanations(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[list[int]],
    schemas: Sequence[dict],
    budgets: Sequence[int],
    generation: GenerationConfig,
    after: Sequence[Callable] = (),
) -> tuple[list[Explanation], DynamicCache, torch.Tensor]:
    """An explanation after each prompt; the cache of what the model has read; and which of it is text, bool.

    after: logits processors that come after the grammar. The last token of each explanation counts as not read.
    """
    grammars, cache = Grammars(tokenizer, schemas, budgets), DynamicCache()
    batch = tokenizer.pad({"input_ids": prompts}, padding_side="left", return_tensors="pt").to(model.device)
    model.generate(
        **batch,
        generation_config=generation,
        logits_processor=[grammars.admit, *after],
        stopping_criteria=[grammars.are_done],
        past_key_values=cache,
    )
    lengths = torch.tensor([len(tokens) - 1 for tokens in grammars.tokens], device=model.device)
    width = cache.get_seq_length() - batch["input_ids"].shape[1]
    read = torch.arange(width, device=model.device) < lengths[:, None]
    visible = torch.cat([batch["attention_mask"].bool(), read], 1)
    return [grammars.explanation(row) for row in range(len(prompts))], cache, visible


def unpack(mask: torch.Tensor, width: int) -> torch.Tensor:
    """int32 [..., words], 32 tokens a word -> bool [..., width]; tokens beyond the words are not admitted."""
    bits = (mask.unsqueeze(-1) >> torch.arange(32, device=mask.device)) & 1
    bits = bits.flatten(-2)[..., :width].bool()
    return torch.nn.functional.pad(bits, (0, width - bits.shape[-1]))

"""Decoding under a schema with transformers' `generate`."""

import functools
from collections.abc import Sequence

import numpy as np
import torch
from transformers import LogitsProcessor, PreTrainedTokenizerBase

from gr2.samplers.grammar import has_grammar, permutation_grammar, plain_json
from gr2.samplers.no_repeats import find_repeats, long_lists


class GrammarProcessor(LogitsProcessor):
    """Admits, row by row, the tokens that keep an answer within its schema; made for one call of `generate`.

    `masks` keeps what was admitted, one int32 [batch, words] a step (see `unpacked`).
    Raises ValueError for a token that the grammar does not admit (another processor or a beam search is in the way).
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, schemas: Sequence[dict]):
        from llguidance import LLExecutor, LLMatcher
        from llguidance.hf import from_tokenizer
        from llguidance.numpy import get_bitmask_shape

        wrapped, vocabulary = from_tokenizer(tokenizer), tokenizer.get_added_vocab()

        def grammar(schema: dict) -> str:
            if has_grammar(schema):
                return LLMatcher.grammar_from_lark(permutation_grammar(schema, vocabulary))
            return LLMatcher.grammar_from_json_schema(plain_json(schema))

        grammars = [grammar(schema) for schema in schemas]
        compiled = {text: LLMatcher(wrapped, text) for text in dict.fromkeys(grammars)}  # a group shares its slate's
        self.matchers = [compiled[text].deep_copy() for text in grammars]
        self.lists = [long_lists(schema) for schema in schemas]
        self.text_of = functools.cache(lambda token: wrapped.decode_str([token]))
        self.executor = LLExecutor()
        self.shape = get_bitmask_shape(len(schemas), wrapped.vocab_size)
        self.end = tokenizer.eos_token_id
        self.masks: list[np.ndarray] = []

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """input_ids [batch, length], scores [batch, vocabulary] -> scores, -inf for tokens that are not admitted."""
        from llguidance.numpy import fill_next_token_bitmask_par

        if self.masks:
            for row, token in enumerate(input_ids[:, -1].tolist()):
                matcher = self.matchers[row]
                if not matcher.is_stopped():
                    if not matcher.consume_token(token):
                        raise ValueError(f"row {row}: token {token} is not admitted: {matcher.get_error()}")
                    for one in self.lists[row]:
                        one.write(self.text_of(token))
        open_rows = [(matcher, row) for row, matcher in enumerate(self.matchers) if not matcher.is_stopped()]
        mask = np.zeros(self.shape, dtype=np.int32)
        if open_rows:
            fill_next_token_bitmask_par(self.executor, open_rows, mask)
        for row, matcher in enumerate(self.matchers):
            if matcher.is_stopped():  # complete; `generate` pads it after this token
                mask[row, self.end // 32] = 1 << self.end % 32
            elif self.lists[row]:
                bits = np.unpackbits(mask[row].view(np.uint8), bitorder="little")
                bits[find_repeats(self.lists[row], bits.nonzero()[0], self.text_of)] = 0
                mask[row] = np.packbits(bits, bitorder="little").view(np.int32)
        self.masks.append(mask)
        admitted = unpacked(torch.from_numpy(mask).to(scores.device), scores.shape[-1])
        return scores.masked_fill(~admitted, -torch.inf)


def unpacked(mask: torch.Tensor, width: int) -> torch.Tensor:
    """int32 [..., words], 32 tokens a word -> bool [..., width]; tokens beyond the words are not admitted."""
    bits = (mask.unsqueeze(-1) >> torch.arange(32, device=mask.device)) & 1
    bits = bits.flatten(-2)[..., :width].bool()
    return torch.nn.functional.pad(bits, (0, width - bits.shape[-1]))

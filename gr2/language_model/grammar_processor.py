"""Decoding under a schema with transformers' `generate`."""

from collections.abc import Sequence

import numpy as np
import torch
from transformers import LogitsProcessor, PreTrainedTokenizerBase

from gr2.language_model.grammar import has_grammar, permutation_grammar, without_unique_items


class GrammarProcessor(LogitsProcessor):
    """Admits, row by row, the tokens that keep each answer within its own schema; a new one for every `generate`.

    Raises ValueError for a token that the grammar does not admit (another processor or a beam search is in the way).
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, schemas: Sequence[dict]):
        from llguidance import LLExecutor, LLMatcher
        from llguidance.hf import from_tokenizer
        from llguidance.numpy import allocate_token_bitmask

        wrapped, vocabulary = from_tokenizer(tokenizer), tokenizer.get_added_vocab()
        self.matchers = [
            LLMatcher(
                wrapped,
                LLMatcher.grammar_from_lark(permutation_grammar(schema, vocabulary))
                if has_grammar(schema)
                else LLMatcher.grammar_from_json_schema(without_unique_items(schema)),
            )
            for schema in schemas
        ]
        self.executor = LLExecutor()
        self.mask = allocate_token_bitmask(len(schemas), wrapped.vocab_size)
        self.end = tokenizer.eos_token_id
        self.started = False

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """input_ids [batch, length], scores [batch, vocabulary] -> scores with -inf for what is not admitted."""
        from llguidance.numpy import fill_next_token_bitmask_par

        if self.started:
            for row, token in enumerate(input_ids[:, -1].tolist()):
                matcher = self.matchers[row]
                if not matcher.is_stopped() and not matcher.consume_token(token):
                    raise ValueError(f"row {row}: token {token} is not admitted: {matcher.get_error()}")
        self.started = True
        open_rows = [(matcher, row) for row, matcher in enumerate(self.matchers) if not matcher.is_stopped()]
        if open_rows:
            fill_next_token_bitmask_par(self.executor, open_rows, self.mask)
        bits = np.unpackbits(self.mask.view(np.uint8), axis=1, bitorder="little")[:, : scores.shape[1]]
        admitted = np.zeros(scores.shape, dtype=bool)
        admitted[:, : bits.shape[1]] = bits
        for row, matcher in enumerate(self.matchers):
            if matcher.is_stopped():  # complete; `generate` pads it after this token
                admitted[row] = False
                admitted[row, self.end] = True
        return scores.masked_fill(~torch.from_numpy(admitted).to(scores.device), -torch.inf)

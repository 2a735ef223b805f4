"""Lists token by token under a grammar: what gr2 did before. For the benchmarks alone."""

from collections.abc import Sequence

import numpy as np
import torch
from transformers import GenerationConfig, LogitsProcessor, PreTrainedModel, PreTrainedTokenizerBase

from gr2.samplers.base import padding_rows
from gr2.samplers.explanations import unpack
from gr2.samplers.grammar import permutation_grammar


class GrammarProcessor(LogitsProcessor):
    """Admits, row by row, the tokens that keep an answer within its schema, of 64 candidates at most.

    Made for one call of `generate`. `masks` keeps what was admitted, one int32 [batch, words] a step (see `unpack`).
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, schemas: Sequence[dict]):
        from llguidance import LLExecutor, LLMatcher
        from llguidance.hf import from_tokenizer
        from llguidance.numpy import get_bitmask_shape

        wrapped, vocabulary = from_tokenizer(tokenizer), tokenizer.get_added_vocab()
        grammars = [LLMatcher.grammar_from_lark(permutation_grammar(schema, vocabulary)) for schema in schemas]
        compiled = {text: LLMatcher(wrapped, text) for text in dict.fromkeys(grammars)}  # a group shares its slate's
        self.matchers = [compiled[text].deep_copy() for text in grammars]
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
                if not matcher.is_stopped() and not matcher.consume_token(token):
                    raise ValueError(f"row {row}: token {token} is not admitted: {matcher.get_error()}")
        open_rows = [(matcher, row) for row, matcher in enumerate(self.matchers) if not matcher.is_stopped()]
        mask = np.zeros(self.shape, dtype=np.int32)
        if open_rows:
            fill_next_token_bitmask_par(self.executor, open_rows, mask)
        for row, matcher in enumerate(self.matchers):
            if matcher.is_stopped():  # complete; `generate` pads it after this token
                mask[row, self.end // 32] = 1 << self.end % 32
        self.masks.append(mask)
        admitted = unpack(torch.from_numpy(mask).to(scores.device), scores.shape[-1])
        return scores.masked_fill(~admitted, -torch.inf)


def generate_answers(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[list[int]],
    schemas: Sequence[dict],
    tokens: int,
    sampled: bool = False,
    cache: str | None = None,
) -> list[str]:
    """An answer of at most `tokens` to each prompt, greedy or at temperature 1; cache: as transformers calls it."""
    inputs = tokenizer.pad({"input_ids": prompts}, padding_side="left", return_tensors="pt").to(model.device)
    drawing = {"do_sample": True, "top_k": 0} if sampled else {"do_sample": False}
    generation = GenerationConfig(
        **drawing,
        max_new_tokens=tokens,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        suppress_tokens=padding_rows(tokenizer, model.get_input_embeddings().num_embeddings) or None,
        cache_implementation=cache,
    )
    model.generation_config = GenerationConfig()  # `generate` fills what is left open from here
    grammar = GrammarProcessor(tokenizer, schemas)
    output = model.generate(**inputs, generation_config=generation, logits_processor=[grammar])
    texts = tokenizer.batch_decode(output[:, inputs["input_ids"].shape[1] :], skip_special_tokens=False)
    return [text.partition(tokenizer.eos_token)[0] for text in texts]

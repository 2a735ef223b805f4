"""Lists token by token under a grammar, and their loss in RL: what gr2 did before. For the benchmarks alone."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, PreTrainedModel, PreTrainedTokenizerBase

from gr2.samplers.base import padding_rows
from gr2.samplers.grammar import permutation_grammar


class GrammarProcessor(LogitsProcessor):
    """Admits, row by row, the tokens that keep an answer within its schema, of 64 candidates at most.

    Made for one call of `generate`. `masks` keeps what was admitted, one int32 [batch, words] a step (see `unpacked`).
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
        admitted = unpacked(torch.from_numpy(mask).to(scores.device), scores.shape[-1])
        return scores.masked_fill(~admitted, -torch.inf)


def unpacked(mask: Tensor, width: int) -> Tensor:
    """int32 [..., words], 32 tokens a word -> bool [..., width]; tokens beyond the words are not admitted."""
    bits = (mask.unsqueeze(-1) >> torch.arange(32, device=mask.device)) & 1
    bits = bits.flatten(-2)[..., :width].bool()
    return torch.nn.functional.pad(bits, (0, width - bits.shape[-1]))


def score_admitted(logits: Tensor, tokens: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities of tokens [rows, length] and entropies, [rows, length], among those that are admitted.

    logits [rows, length, vocabulary], masks [rows, length, words].
    """
    admitted = unpacked(masks, logits.shape[-1])
    logps = logits.masked_fill(~admitted, torch.finfo(logits.dtype).min).log_softmax(-1)
    chosen = logps.gather(-1, tokens.unsqueeze(-1)).squeeze(-1)
    entropies = -(logps.exp() * logps.masked_fill(~admitted, 0.0)).sum(-1)
    return chosen, entropies


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

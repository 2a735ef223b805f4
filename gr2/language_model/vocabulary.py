"""Gives a causal language model new words: one token per (level, code) of the semantic IDs."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.integrations import is_deepspeed_zero3_enabled

from gr2.data.catalogue import Catalogue
from gr2.files.semantic_ids import read_codes_per_level
from gr2.files.sid_tokens import vocabulary


def add_codes(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, catalogue: Catalogue, semantic_ids: str, seed: int
) -> list[int]:
    """`expand` by a token for every code of the quantizer: a later item may get one that no item has yet."""
    used = 1 + max(max(codes) for codes in catalogue.codes.values())
    codes = max(used, read_codes_per_level(semantic_ids) or 0)
    return expand(model, tokenizer, vocabulary(catalogue.levels, codes), seed)


def expand(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tokens: list[str], seed: int) -> list[int]:
    """Adds `tokens` to the tokenizer and rows for them to the model, in place; returns their ids.

    A new row is the mean of the old rows plus noise of a tenth of their standard deviation, so that new tokens start
    plausible and distinct. Input and output embeddings stay tied if they were. The matrix is sized by the largest token
    id, not by len(tokenizer), since some models (Qwen) hold more rows than their tokenizer has words, and is padded to
    a multiple of 64. Tokens are ordinary, not special: decoding keeps them.
    """
    from tokenizers import AddedToken

    known = set(tokenizer.get_vocab())
    new = [token for token in tokens if token not in known]
    tokenizer.add_tokens([AddedToken(token, normalized=False, special=False) for token in new])
    ids = tokenizer.convert_tokens_to_ids(tokens)
    old_rows = model.get_input_embeddings().num_embeddings
    rows = max(old_rows, max(ids) + 1)
    model.resize_token_embeddings(rows, pad_to_multiple_of=64, mean_resizing=False)
    generator = torch.Generator().manual_seed(seed)
    new_ids = torch.tensor(tokenizer.convert_tokens_to_ids(new))
    tables = [layer.weight for layer in embedding_layers(model)] if new else []
    with torch.no_grad(), gather_weights(tables):
        for table in tables:
            old = table[: min(old_rows, int(new_ids.min()))].float()
            noise = torch.randn(len(new_ids), table.shape[1], generator=generator).to(table.device)
            table[new_ids] = (old.mean(0) + 0.1 * old.std(0) * noise).to(table.dtype)
    return ids


@contextmanager
def gather_weights(weights: list[torch.Tensor]) -> Iterator[None]:
    """Within it, weights that ZeRO-3 shards as they are loaded are whole; what the first process writes is kept."""
    if not is_deepspeed_zero3_enabled():
        yield
        return
    from deepspeed.zero import GatheredParameters

    with GatheredParameters(weights, modifier_rank=0):
        yield


def embedding_layers(model: PreTrainedModel) -> list[torch.nn.Module]:
    """The input embeddings, and the output's unless they are tied."""
    return [model.get_input_embeddings()] + [model.get_output_embeddings()] * (not model.config.tie_word_embeddings)

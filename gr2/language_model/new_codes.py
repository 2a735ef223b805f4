"""Codes that items appended by `gr2 sids --append` are the first to have: their tokens' rows start from the codebook.

Mid-training adds a token for every code, but learns nothing of a code that no item has: its row is noise.
"""

from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from gr2.data.catalogue import Catalogue
from gr2.files.semantic_ids import QUANTIZER
from gr2.files.sid_tokens import code_token
from gr2.language_model.id_record import list_used_codes
from gr2.language_model.vocabulary import embedding_layers, gather_weights
from gr2.semantic_ids.quantizer import load

NEAREST = 4


def start_new_codes(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    known_ids: dict | None,
    catalogue: Catalogue,
    source: str,
) -> dict | None:
    """Sets the rows of codes that `known_ids` (`semantic_ids.json`) lacks, in place; returns it with these codes.

    A row is the mean of the rows of the NEAREST trained codes of its level, weighted by 1 / squared distance in the
    codebook beside `source`, semantic_ids.parquet. Nothing happens to a model whose file does not say what was taught,
    nor without a codebook.
    """
    codebook, used = Path(source).with_name(QUANTIZER), list_used_codes(catalogue)
    if not known_ids or "codes" not in known_ids or not codebook.exists():
        return known_ids
    books = [*load(codebook).codebooks, np.arange(1 + max(used[-1]))[:, None]]  # the last one: of a level that counts
    rows = {}
    for level, (before, now) in enumerate(zip(known_ids["codes"], used, strict=True)):
        for code in sorted(set(now) - set(before)):
            neighbours, weights = weigh(books[level], code, np.array(before))
            rows[code_token(level, code)] = [code_token(level, near) for near in neighbours], weights
    set_rows(model, tokenizer, rows)
    if rows:
        print(f"{len(rows)} codes are new to the model: their tokens start from the codebook", flush=True)
    return known_ids | {"codes": [sorted({*old, *now}) for old, now in zip(known_ids["codes"], used, strict=True)]}


def weigh(book: np.ndarray, code: int, trained: np.ndarray) -> tuple[list[int], np.ndarray]:
    """The trained codes nearest to `code` in book [codes, d], and their shares, float32, which sum to 1."""
    squared = ((book[trained] - book[code]) ** 2).sum(1)
    nearest = squared.argsort(kind="stable")[:NEAREST]
    shares = 1 / np.maximum(squared[nearest], 1e-12)
    return trained[nearest].tolist(), (shares / shares.sum()).astype(np.float32)


def set_rows(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, rows: dict[str, tuple[list[str], np.ndarray]]
) -> None:
    """Replaces a token's rows in input and output embeddings by the weighted mean of other tokens' rows."""
    tables = [layer.weight for layer in embedding_layers(model)] if rows else []
    with torch.no_grad(), gather_weights(tables):
        for table in tables:
            for token, (neighbours, weights) in rows.items():
                near = table[tokenizer.convert_tokens_to_ids(neighbours)].float()
                mean = torch.from_numpy(weights).to(near) @ near
                table[tokenizer.convert_tokens_to_ids(token)] = mean.to(table.dtype)

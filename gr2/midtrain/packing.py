"""Tokenised documents, packed one after another into blocks of fixed length; and the collator of a training."""

import functools
from collections.abc import Iterable, Iterator

import torch
from transformers import PreTrainedTokenizerBase

from gr2.language_model.chat import IGNORED
from gr2.midtrain.tasks import Pieces

CACHED_PIECES = 1_000_000

Document = tuple[list[int], list[int]]  # token ids and labels


class Encoder:
    """Pieces -> a Document that ends with the end token; pieces are tokenised apart, so labels are exact to the token.

    Caches the pieces of the catalogue, which come again in every pass.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase):
        self.end = tokenizer.eos_token_id
        self.ids = functools.lru_cache(CACHED_PIECES)(lambda text: tokenizer.encode(text, add_special_tokens=False))

    def __call__(self, document: Pieces) -> Document:
        ids: list[int] = []
        labels: list[int] = []
        for text, in_loss in document:
            piece = self.ids(text)
            ids += piece
            labels += piece if in_loss else [IGNORED] * len(piece)
        return [*ids, self.end], [*labels, IGNORED]


def pack(documents: Iterable[Document], length: int) -> Iterator[dict[str, list[int]]]:
    """Blocks of exactly `length` tokens; a document that does not fit continues in the next block; the rest is dropped.

    Positions start again at 0 with each document: by them transformers' attention keeps the documents apart.
    """
    ids: list[int] = []
    labels: list[int] = []
    positions: list[int] = []
    for document_ids, document_labels in documents:
        ids += document_ids
        labels += document_labels
        positions += range(len(document_ids))
        while len(ids) >= length:
            yield {"input_ids": ids[:length], "labels": labels[:length], "position_ids": positions[:length]}
            ids, labels, positions = ids[length:], labels[length:], list(range(len(ids) - length))


def collate(examples: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
    """[batch, longest], padded on the right; padding is masked and has no label. Packed blocks are never padded."""
    longest = max(len(example["input_ids"]) for example in examples)

    def pad(rows: list[list[int]], filler: int) -> torch.Tensor:
        return torch.tensor([row + [filler] * (longest - len(row)) for row in rows])

    batch = {
        "input_ids": pad([example["input_ids"] for example in examples], 0),
        "labels": pad([example["labels"] for example in examples], IGNORED),
    }
    if "position_ids" in examples[0]:
        return batch | {"position_ids": pad([example["position_ids"] for example in examples], 0)}
    return batch | {"attention_mask": pad([[1] * len(example["input_ids"]) for example in examples], 0)}

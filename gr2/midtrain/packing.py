"""Tokenised documents, packed one after another into blocks of fixed length; and the batches of a training."""

from collections.abc import Iterable, Iterator

import torch
from transformers import PreTrainedTokenizerBase

from gr2.midtrain.tasks import Pieces

IGNORED = -100


def encode(document: Pieces, tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """Token ids and labels of a document, closed by the end token; labels are exact to the token, since pieces are
    tokenised apart.
    """
    ids: list[int] = []
    labels: list[int] = []
    for text, learned in document:
        piece = tokenizer.encode(text, add_special_tokens=False)
        ids += piece
        labels += piece if learned else [IGNORED] * len(piece)
    return [*ids, tokenizer.eos_token_id], [*labels, IGNORED]


def pack(documents: Iterable[tuple[list[int], list[int]]], length: int) -> Iterator[dict[str, list[int]]]:
    """Blocks of exactly `length` tokens; a document that does not fit goes on in the next block; the rest is dropped."""
    ids: list[int] = []
    labels: list[int] = []
    for document_ids, document_labels in documents:
        ids += document_ids
        labels += document_labels
        while len(ids) >= length:
            yield {"input_ids": ids[:length], "labels": labels[:length]}
            ids, labels = ids[length:], labels[length:]


def collate(examples: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
    """[batch, longest], padded on the right; padding is neither looked at nor learned."""
    longest = max(len(example["input_ids"]) for example in examples)

    def padded(name: str, filler: int) -> torch.Tensor:
        return torch.tensor([row + [filler] * (longest - len(row)) for row in (example[name] for example in examples)])

    mask = [[1] * len(example["input_ids"]) + [0] * (longest - len(example["input_ids"])) for example in examples]
    return {
        "input_ids": padded("input_ids", 0),
        "labels": padded("labels", IGNORED),
        "attention_mask": torch.tensor(mask),
    }

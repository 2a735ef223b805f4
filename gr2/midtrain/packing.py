"""Tokenised documents, packed one after another into blocks of fixed length; and the batches of a training."""

import functools
from collections.abc import Iterable, Iterator

import torch
from transformers import PreTrainedTokenizerBase

from gr2.midtrain.tasks import Pieces

IGNORED = -100
REMEMBERED = 1_000_000  # pieces

Document = tuple[list[int], list[int]]  # token ids and labels


class Encoder:
    """Pieces -> a Document, closed by the end token; labels are exact to the token, since pieces are tokenised apart.

    Remembers the pieces of the catalogue, which come again in every pass.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase):
        self.end = tokenizer.eos_token_id
        self.ids = functools.lru_cache(REMEMBERED)(lambda text: tokenizer.encode(text, add_special_tokens=False))

    def __call__(self, document: Pieces) -> Document:
        ids: list[int] = []
        labels: list[int] = []
        for text, learned in document:
            piece = self.ids(text)
            ids += piece
            labels += piece if learned else [IGNORED] * len(piece)
        return [*ids, self.end], [*labels, IGNORED]


def pack(documents: Iterable[Document], length: int) -> Iterator[dict[str, list[int]]]:
    """Blocks of exactly `length` tokens; a document that does not fit goes on in the next block; the rest is dropped.

    Positions start again at 0 with each document: by them transformers' attention keeps the documents apart.
    """
    ids: list[int] = []
    labels: list[int] = []
    places: list[int] = []
    for document_ids, document_labels in documents:
        ids += document_ids
        labels += document_labels
        places += range(len(document_ids))
        while len(ids) >= length:
            yield {"input_ids": ids[:length], "labels": labels[:length], "position_ids": places[:length]}
            ids, labels, places = ids[length:], labels[length:], list(range(len(ids) - length))


def collate(examples: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
    """[batch, longest], padded on the right; padding is neither looked at nor learned. Packed blocks are never padded."""
    longest = max(len(example["input_ids"]) for example in examples)

    def padded(name: str, filler: int) -> torch.Tensor:
        return torch.tensor([row + [filler] * (longest - len(row)) for row in (example[name] for example in examples)])

    batch = {"input_ids": padded("input_ids", 0), "labels": padded("labels", IGNORED)}
    if "position_ids" in examples[0]:
        return batch | {"position_ids": padded("position_ids", 0)}
    mask = [[1] * len(example["input_ids"]) + [0] * (longest - len(example["input_ids"])) for example in examples]
    return batch | {"attention_mask": torch.tensor(mask)}

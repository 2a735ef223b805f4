"""The mid-trained model as its own pre-ranker (GR2, 2602.07774): legal-ID beam search after a user's history."""

from dataclasses import dataclass

import numpy as np
import torch

from gr2.choices.legal_search import closed_nodes, node_numbers, search
from gr2.data.catalogue import Catalogue
from gr2.files.sid_tokens import BEGIN
from gr2.language_model.id_record import check_taught
from gr2.language_model.loading import load_model, load_tokenizer
from gr2.language_model.sequences import code_token_ids, next_item_prompt
from gr2.retrieval.queries import Queries, Ranker, Top
from gr2.semantic_ids.trie import build_trie


def first_read(queries: Queries, history: int, window: int) -> np.ndarray:
    """Where the history that the model reads for each query starts, int64 [n]: `history` to `window` items before it,
    fewer where the past is shorter.

    It depends on the position alone and moves in steps: positions between two steps share one pass over the past.
    """
    length, step = queries.at - queries.start, window - history + 1
    return queries.start + step * np.maximum(0, -(-(length - window) // step))


@dataclass(frozen=True)
class Chunk:
    """Queries `first` to `end` - 1: the model reads their user's items from `start` on once for all of them."""

    first: int
    end: int
    start: int

    @property
    def size(self) -> int:
        return self.end - self.first


def chunks(queries: Queries, history: int, window: int) -> list[Chunk]:
    """Neighbouring queries that share a history, in the order of the queries."""
    if not len(queries):
        return []
    start = first_read(queries, history, window)
    ends = [*(np.flatnonzero(np.diff(start)) + 1).tolist(), len(queries)]
    return [Chunk(first, end, int(start[first])) for first, end in zip([0, *ends], ends, strict=False)]


def ranker(
    catalogue: Catalogue,
    model_name_or_path: str,
    *,
    count: int,
    beams: int,
    history: int,
    window: int,
    batch_size: int,
    exclude_seen: bool,
) -> Ranker:
    """The mid-trained model's own most likely items. Scores are log-probabilities.

    The model reads between `history` and `window` past items. With `exclude_seen` no item of the user's whole past can
    be found, and a list is as long as without, where the catalogue has that many others. InputError where the model
    does not know the catalogue's IDs, or was taught others.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    tokenizer = load_tokenizer(model_name_or_path)
    check_taught(model_name_or_path, tokenizer, catalogue, "--semantic_ids")
    model = load_model(model_name_or_path).eval().to(device)
    tokenizer.padding_side = "right"
    names = catalogue.item_ids.to_list()
    codes = np.array([catalogue.codes[name] for name in names])
    table = code_token_ids(tokenizer, catalogue.levels)
    width = max(len(level) for level in table)
    code_ids = torch.tensor([level + level[:1] * (width - len(level)) for level in table], device=device)
    trie = build_trie(codes, width, device)
    nodes = node_numbers(trie, codes)
    begin = tokenizer.convert_tokens_to_ids(BEGIN)
    sids = [catalogue.sid[name] for name in names]

    def search_chunks(batch: list[Chunk], queries: Queries) -> tuple[torch.Tensor, torch.Tensor]:
        """Items and scores of each chunk after each of its positions: [batch, longest chunk, beams]."""
        pasts = [queries.items[chunk.start : queries.at[chunk.end - 1]] for chunk in batch]
        prompts = [next_item_prompt([sids[item] for item in past]) for past in pasts]
        input_ids = tokenizer(prompts, return_tensors="pt", padding=True, add_special_tokens=False)["input_ids"]
        anchors = torch.zeros(len(batch), max(chunk.size for chunk in batch), dtype=torch.long)
        for row, chunk in enumerate(batch):
            begins = (input_ids[row] == begin).nonzero()[:, 0]  # of item `start + i`: begins[i]
            indices = queries.at[chunk.first : chunk.end] - chunk.start
            anchors[row, : chunk.size] = begins[torch.from_numpy(indices)]
        closed = closed_nodes(trie, nodes, *find_seen(batch, queries, anchors.shape[1])) if exclude_seen else None
        return search(model, input_ids.to(device), anchors.to(device), trie, code_ids, beams, closed)

    def rank(queries: Queries) -> Top:
        top = np.full((len(queries), beams), -1, np.int32)
        values = np.full((len(queries), beams), -np.inf, np.float32)
        ordered = sorted(chunks(queries, history, window), key=lambda c: (c.size, queries.at[c.end - 1] - c.start))
        for first in range(0, len(ordered), batch_size):  # of similar sizes: little padding
            batch = ordered[first : first + batch_size]
            items, scores = search_chunks(batch, queries)
            for row, chunk in enumerate(batch):
                cells = slice(chunk.first, chunk.end), slice(items.shape[2])
                top[cells] = items[row, : chunk.size].cpu().numpy()
                values[cells] = scores[row, : chunk.size].cpu().numpy()
        return top[:, :count], values[:, :count]

    return rank


def find_seen(batch: list[Chunk], queries: Queries, searches: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of a search and an item of its user's past, as `closed_nodes` takes them; searches: per row."""
    rows = np.concatenate([np.arange(chunk.first, chunk.end) for chunk in batch])
    searched = np.concatenate([row * searches + np.arange(chunk.size) for row, chunk in enumerate(batch)])
    query, item = queries.only(rows).seen()
    return searched[query], item

"""The mid-trained model as its own pre-ranker (GR2, 2602.07774): legal-ID beam search after a user's history."""

from collections.abc import Iterator

import numpy as np

from gr2.data.catalogue import Catalogue
from gr2.prerank.queries import Queries, Ranker, Top, drop_seen

Chunk = tuple[int, list[int]]  # where the history starts, and the positions that are asked after it


def chunks(start: int, positions: list[int], history: int, window: int) -> Iterator[Chunk]:
    """(first, positions): positions whose histories lie in one stretch of at most `window` items from `first` on.

    Every position sees at least the last `history` items, where there are so many since `start`.
    """
    group: list[int] = []
    for position in positions:
        if group and position - max(start, group[0] - history) >= window:
            yield max(start, group[0] - history), group
            group = []
        group.append(position)
    if group:
        yield max(start, group[0] - history), group


def all_chunks(queries: Queries, history: int, window: int) -> list[tuple[int, int, int]]:
    """(first query, one past the last, where their history starts) of queries that share a pass over the past."""
    found, number = [], 0
    changes = np.flatnonzero(np.diff(queries.start)) + 1
    for start, positions in zip(
        queries.start[np.r_[0, changes]], np.split(queries.at, changes) if len(queries) else [], strict=True
    ):
        for first, group in chunks(int(start), positions.tolist(), history, window):
            found.append((number, number + len(group), first))
            number += len(group)
    return found


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

    The model reads between `history` and `window` past items: positions near each other share one pass over the past.
    With `exclude_seen`, items of the user's whole past are dropped from the beams; fewer than `count` may remain.
    """
    import torch

    from gr2.language_model.beam import search
    from gr2.language_model.loading import load_model, load_tokenizer
    from gr2.language_model.sequences import code_token_ids, next_item_prompt
    from gr2.semantic_ids.tokens import BEGIN
    from gr2.semantic_ids.trie import build_trie

    device = "cuda" if torch.cuda.is_available() else "cpu"
    tokenizer = load_tokenizer(model_name_or_path)
    tokenizer.padding_side = "right"
    model = load_model(model_name_or_path).eval().to(device)
    names = catalogue.item_ids.to_list()
    table = code_token_ids(tokenizer, catalogue.levels)
    codes = min(len(level) for level in table)
    trie = build_trie(np.array([catalogue.codes[name] for name in names]), codes, device)
    code_ids = torch.tensor([level[:codes] for level in table], device=device)
    begin = tokenizer.convert_tokens_to_ids(BEGIN)
    sids = [catalogue.sid[name] for name in names]

    def rank(queries: Queries) -> Top:
        top = np.full((len(queries), beams), -1, np.int32)
        values = np.full((len(queries), beams), -np.inf, np.float32)
        rows = all_chunks(queries, history, window)
        rows.sort(key=lambda row: (row[1] - row[0], queries.at[row[1] - 1] - row[2]))  # alike in size: little padding
        for at in range(0, len(rows), batch_size):
            batch = rows[at : at + batch_size]
            prompts = [next_item_prompt([sids[item] for item in queries.items[start : queries.at[end - 1]]])
                       for _, end, start in batch]  # fmt: skip
            input_ids = tokenizer(prompts, return_tensors="pt", padding=True, add_special_tokens=False)["input_ids"]
            anchors = torch.zeros(len(batch), max(end - first for first, end, _ in batch), dtype=torch.long)
            for row, (first, end, start) in enumerate(batch):
                opened = (input_ids[row] == begin).nonzero()[:, 0]  # the BEGIN of item `start + i` is opened[i]
                anchors[row, : end - first] = opened[torch.from_numpy(queries.at[first:end] - start)]
            items, scores = search(model, input_ids.to(device), anchors.to(device), trie, code_ids, beams)
            for row, (first, end, _) in enumerate(batch):
                found = items[row, : end - first].cpu().numpy(), scores[row, : end - first].float().cpu().numpy()
                top[first:end, : items.shape[2]], values[first:end, : items.shape[2]] = found
        if exclude_seen:
            return drop_seen(top, values, queries, count)
        return top[:, :count], values[:, :count]

    return rank

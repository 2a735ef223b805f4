"""Pre-rankers: the top items at positions of a user's sequence, best first, with scores.

A query is a user's whole sequence of items and the positions asked for; an answer at position t looks only at items
before t.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gr2.data.catalogue import Catalogue

Top = tuple[list[str], list[float]]  # item ids and scores, best first


@dataclass(frozen=True)
class Query:
    """One user's items, oldest first, and the positions (ascending, each > 0) at which a list is wanted."""

    items: list[str]
    positions: list[int]


def popularity_ranker(
    queries: list[Query], counts: dict[str, int], candidates: int, exclude_seen: bool
) -> Iterator[Top]:
    """The most popular items; ties by item id. One answer per position, query by query."""
    ranked = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
    for query in queries:
        for position in query.positions:
            seen = set(query.items[:position]) if exclude_seen else set()
            top = [
                (item_id, float(count)) for item_id, count in ranked[: candidates + len(seen)] if item_id not in seen
            ]
            yield [item_id for item_id, _ in top[:candidates]], [score for _, score in top[:candidates]]


def chunks(query: Query, history: int, window: int) -> Iterator[tuple[int, list[int]]]:
    """(start, positions): positions whose histories lie in one stretch of at most `window` items from `start` on.

    Every position sees at least the last `history` items, where there are so many.
    """
    group: list[int] = []
    for position in query.positions:
        if group and position - max(0, group[0] - history) >= window:
            yield max(0, group[0] - history), group
            group = []
        group.append(position)
    if group:
        yield max(0, group[0] - history), group


def beam_ranker(
    queries: list[Query],
    catalogue: Catalogue,
    model_name_or_path: str,
    *,
    candidates: int,
    beams: int,
    history: int,
    window: int,
    batch_size: int,
    exclude_seen: bool,
) -> Iterator[Top]:
    """The mid-trained model's own most likely items (GR2's pre-ranker). One answer per position, query by query.

    The model reads between `history` and `window` past items: positions near each other share one pass over the
    past. Scores are log-probabilities. With `exclude_seen`, items of the user's whole past are dropped from the beams;
    fewer than `candidates` may remain.
    """
    import torch
    from tqdm import tqdm

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

    rows = [(number, *chunk) for number, query in enumerate(queries) for chunk in chunks(query, history, window)]
    rows.sort(key=lambda row: (len(row[2]), row[2][-1] - row[1]))  # alike in size: little padding
    found: dict[tuple[int, int], Top] = {}
    for first in tqdm(range(0, len(rows), batch_size), desc="beam search", unit="batch"):
        batch = rows[first : first + batch_size]
        prompts = [next_item_prompt([catalogue.sid[name] for name in queries[q].items[start : positions[-1]]])
                   for q, start, positions in batch]  # fmt: skip
        input_ids = tokenizer(prompts, return_tensors="pt", padding=True, add_special_tokens=False)["input_ids"].to(
            device
        )
        anchors = torch.zeros(
            len(batch), max(len(positions) for *_, positions in batch), dtype=torch.long, device=device
        )
        for row, (_, start, positions) in enumerate(batch):
            opened = (input_ids[row] == begin).nonzero()[:, 0]  # the BEGIN of item `start + i` is opened[i]
            anchors[row, : len(positions)] = opened[torch.tensor(positions, device=device) - start]
        items, scores = search(model, input_ids, anchors, trie, code_ids, beams)
        for (q, _, positions), item_rows, score_rows in zip(batch, items.tolist(), scores.tolist(), strict=True):
            for position, item_row, score_row in zip(positions, item_rows, score_rows, strict=False):
                seen = set(queries[q].items[:position]) if exclude_seen else set()
                top = [(names[i], score) for i, score in zip(item_row, score_row, strict=True)
                       if i >= 0 and names[i] not in seen]  # fmt: skip
                found[q, position] = [name for name, _ in top[:candidates]], [score for _, score in top[:candidates]]
    yield from (found[q, position] for q, query in enumerate(queries) for position in query.positions)

"""Pre-rankers: the top items after a history, best first, with scores."""

from collections.abc import Iterator

import numpy as np

from gr2.data.catalogue import Catalogue

Top = tuple[list[str], list[float]]  # item ids and scores, best first


def popularity_ranker(histories: list[list[str]], counts: dict[str, int], candidates: int) -> Iterator[Top]:
    """The most popular items that the history does not hold; ties by item id."""
    ranked = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
    for history in histories:
        seen = set(history)
        top = [(item_id, float(count)) for item_id, count in ranked[: candidates + len(seen)] if item_id not in seen]
        yield [item_id for item_id, _ in top[:candidates]], [score for _, score in top[:candidates]]


def beam_ranker(
    histories: list[list[str]],
    catalogue: Catalogue,
    model_name_or_path: str,
    candidates: int,
    beams: int,
    batch_size: int,
    exclude_seen: bool,
    history_length: int,
) -> Iterator[Top]:
    """The mid-trained model's own most likely items (GR2's pre-ranker), in the order of `histories`.

    The model reads the last `history_length` items. Scores are log-probabilities. With `exclude_seen`, items of the history are dropped from the beams; fewer than
    `candidates` may remain.
    """
    import torch
    from tqdm import tqdm

    from gr2.language_model.beam import search
    from gr2.language_model.loading import load_model, load_tokenizer
    from gr2.language_model.sequences import code_token_ids, next_item_prompt
    from gr2.semantic_ids.trie import build_trie

    device = "cuda" if torch.cuda.is_available() else "cpu"
    tokenizer = load_tokenizer(model_name_or_path)
    model = load_model(model_name_or_path).eval().to(device)
    names = catalogue.item_ids.to_list()
    table = code_token_ids(tokenizer, catalogue.levels)
    codes = min(len(level) for level in table)
    trie = build_trie(np.array([catalogue.codes[name] for name in names]), codes, device)
    code_ids = torch.tensor([level[:codes] for level in table], device=device)
    longest_first = np.argsort([-min(len(history), history_length) for history in histories], kind="stable")  # little padding
    found: dict[int, Top] = {}
    for start in tqdm(range(0, len(histories), batch_size), desc="beam search", unit="batch"):
        rows = longest_first[start : start + batch_size]
        prompts = [next_item_prompt([catalogue.sid[item_id] for item_id in histories[row][-history_length:]]) for row in rows]
        batch = tokenizer(prompts, return_tensors="pt", padding=True, add_special_tokens=False).to(device)
        items, scores = search(model, batch["input_ids"], batch["attention_mask"], trie, code_ids, beams)
        for row, item_row, score_row in zip(rows, items.tolist(), scores.tolist(), strict=True):
            seen = set(histories[row]) if exclude_seen else set()
            top = [(names[i], score) for i, score in zip(item_row, score_row, strict=True) if i >= 0 and names[i] not in seen]
            found[row] = [item_id for item_id, _ in top[:candidates]], [score for _, score in top[:candidates]]
    yield from (found[row] for row in range(len(histories)))

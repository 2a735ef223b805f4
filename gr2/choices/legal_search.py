"""Legal-ID beam search: the k most likely catalogue items after a prompt, and no string that is not an item.

Levels are few and fixed, so the search is a loop of `levels` steps. A trie mask leaves only codes that lead to a
catalogue item. All beams of a row are one tree: they share one copy of the prompt's keys and values, and an attention
mask shows each beam its prompt and its own ancestors, so that no cache is copied or reordered. A row can be searched
after several of its tokens at once, as if each ended a prompt. No generation_config is read.
"""

import numpy as np
import torch
from transformers import DynamicCache, PreTrainedModel

from gr2.choices.attention import Attention
from gr2.semantic_ids.trie import Trie


def closed_nodes(trie: Trie, nodes: np.ndarray, search: np.ndarray, item: np.ndarray) -> list[torch.Tensor]:
    """The nodes, level by level, that a search must not enter: all items below them are taken.

    nodes: int [levels, n_items], each item's node at each level below the root (see `node_numbers`). search, item: int
    [taken], pairs of a search and a catalogue row that it must not return. A node of a search is
    `search * n_items + node`; returns int64, sorted, one tensor a level.
    """
    n_items = nodes.shape[1]
    search, item = divmod(np.unique(search * n_items + item), n_items)
    closed = []
    for level in nodes:
        keys, taken = np.unique(search * n_items + level[item], return_counts=True)
        full = taken == np.bincount(level)[keys % n_items]
        closed.append(torch.from_numpy(keys[full]).to(trie.item.device))
    return closed


def node_numbers(trie: Trie, codes: np.ndarray) -> np.ndarray:
    """Each item's node at each level below the root: int64 [levels, n_items]. codes: int [n_items, levels]."""
    prefixes = torch.from_numpy(codes).to(trie.item.device)
    nodes = [trie.find(prefixes[:, :length]) for length in range(1, trie.levels + 1)]
    return torch.stack(nodes).long().cpu().numpy()


@torch.inference_mode()
def search(
    model: PreTrainedModel,
    input_ids: torch.Tensor,
    anchors: torch.Tensor,
    trie: Trie,
    code_ids: torch.Tensor,
    beams: int,
    closed: list[torch.Tensor] | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Beam search after each anchor.

    input_ids: [batch, time], right-padded. anchors: [batch, searches], positions of tokens that open an ID; later
    tokens of the row are masked. code_ids: token id by level and code, [levels, codes]. closed: from `closed_nodes`; a
    search's index is row * searches + the index of its anchor in the row.
    Returns catalogue rows [batch, searches, beams], best first, and their log-probabilities; -1 where fewer items than
    `beams` are left to the search. A score is the sum of the codes' log-probabilities under the whole vocabulary.
    """
    batch, time = input_ids.shape
    searches, device = anchors.shape[1], input_ids.device
    # Only the anchors' logits: with a large vocabulary those of all tokens would fill the memory.
    positions, inverse = anchors.unique(return_inverse=True)
    attention, cache = Attention.of(model), DynamicCache()  # of the model's config, layers with a window would forget
    output = model(input_ids=input_ids, past_key_values=cache, use_cache=True, logits_to_keep=positions)
    logits = output.logits.gather(1, inverse[..., None].expand(-1, -1, output.logits.shape[2]))[:, :, None]
    # The keys that each beam attends to: [batch, searches, width, keys]. Nodes, scores: [batch, searches, width].
    visible = (torch.arange(time, device=device) <= anchors[..., None])[:, :, None]
    key_positions = torch.arange(time, device=device).expand(batch, -1)
    nodes = torch.zeros(batch, searches, 1, dtype=torch.long, device=device)
    scores = torch.zeros(batch, searches, 1, device=device)
    first_key = len(trie.item) * torch.arange(batch * searches, device=device).view(batch, searches, 1, 1)
    for level in range(trie.levels):
        children = trie.children(level, nodes.clamp(min=0).flatten()).view(*nodes.shape, trie.codes)
        log_probs = logits[..., code_ids[level]].float() - logits.float().logsumexp(-1, keepdim=True)
        dead = (children < 0) | (nodes < 0)[..., None]
        if closed is not None and len(closed[level]):
            alive = ~dead
            dead[alive] = contains(closed[level], (first_key + children)[alive])
        total = (scores[..., None] + log_probs).masked_fill(dead, -torch.inf).flatten(2)
        scores, chosen = total.topk(min(beams, total.shape[2]), dim=2)
        nodes = children.flatten(2).gather(2, chosen).masked_fill(scores == -torch.inf, -1)
        if level + 1 == trie.levels:
            break
        parent, code = chosen // trie.codes, chosen % trie.codes
        width = chosen.shape[2]
        ancestors = visible.gather(2, parent[..., None].expand(-1, -1, -1, visible.shape[3]))
        itself = torch.eye(searches * width, dtype=torch.bool, device=device).view(1, searches, width, -1)
        visible = torch.cat([ancestors, itself.expand(batch, -1, -1, -1)], dim=3)
        position = (anchors[..., None] + level + 1).expand(-1, -1, width).flatten(1)
        key_positions = torch.cat([key_positions, position], dim=1)
        logits = model(
            input_ids=code_ids[level][code].flatten(1),
            attention_mask=attention.mask(visible.flatten(1, 2), position, key_positions),
            position_ids=position,
            past_key_values=cache,
            use_cache=True,
        ).logits.unflatten(1, (searches, width))
    return torch.where(nodes >= 0, trie.item[nodes.clamp(min=0)], -1), scores


def contains(ordered: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Mask of the values that are in `ordered`, int64, sorted, not empty; of the shape of `values`."""
    index = torch.searchsorted(ordered, values).clamp(max=len(ordered) - 1)
    return ordered[index] == values

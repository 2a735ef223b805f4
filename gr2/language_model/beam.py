"""Legal-ID beam search: the k most likely catalogue items after a prompt, and no string that is not an item.

Levels are few and fixed, so the search is a loop of `levels` steps. A trie mask leaves only codes that go on to a
catalogue item. The beams of a prompt are a tree: they share one copy of the prompt's keys and values, and an attention
mask shows each beam its own ancestors, so that no cache is ever copied or reordered. Decoding settings come from
nowhere else (no generation_config is read).
"""

import torch
from transformers import PreTrainedModel

from gr2.semantic_ids.trie import Trie


@torch.inference_mode()
def search(
    model: PreTrainedModel,
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor,
    trie: Trie,
    code_ids: torch.Tensor,
    beams: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Beam search for a batch of prompts that end with an opened ID.

    input_ids, attention_mask: [batch, time], left-padded. code_ids: token id by level and code, [levels, codes].
    Returns catalogue rows [batch, beams] (-1 where fewer items are left) and their log-probabilities, best first. A
    score is the sum of the codes' log-probabilities under the whole vocabulary.
    """
    batch, device = len(input_ids), input_ids.device
    position = (attention_mask.cumsum(1) - 1).clamp(min=0)
    output = model(input_ids=input_ids, attention_mask=attention_mask, position_ids=position, use_cache=True,
                   logits_to_keep=1)  # fmt: skip
    cache, logits = output.past_key_values, output.logits
    visible = attention_mask.bool()[:, None, :]  # [batch, beam, keys]: what each beam may look at
    nodes = torch.zeros(batch, 1, dtype=torch.long, device=device)
    scores = torch.zeros(batch, 1, device=device)
    for level in range(trie.levels):
        children = trie.children(level, nodes.clamp(min=0).flatten()).view(batch, nodes.shape[1], -1)
        log_probs = torch.log_softmax(logits.float(), dim=-1)[..., code_ids[level]]
        dead = (children < 0) | (nodes < 0)[..., None]
        total = (scores[..., None] + log_probs).masked_fill(dead, -torch.inf).flatten(1)
        scores, chosen = total.topk(min(beams, total.shape[1]), dim=1)
        nodes = children.flatten(1).gather(1, chosen).masked_fill(scores == -torch.inf, -1)
        if level + 1 == trie.levels:
            break
        parent, code = chosen // trie.codes, chosen % trie.codes
        width = chosen.shape[1]
        ancestors = visible.expand(batch, -1, -1).gather(1, parent[..., None].expand(-1, -1, visible.shape[2]))
        itself = torch.eye(width, dtype=torch.bool, device=device).expand(batch, -1, -1)
        visible = torch.cat([ancestors, itself], dim=2)
        logits = model(
            input_ids=code_ids[level][code],
            attention_mask=torch.zeros(batch, 1, width, visible.shape[2], dtype=model.dtype, device=device).masked_fill(
                ~visible[:, None], torch.finfo(model.dtype).min
            ),
            position_ids=position[:, -1:].expand(-1, width) + level + 1,
            past_key_values=cache,
            use_cache=True,
        ).logits
    return torch.where(nodes >= 0, trie.item[nodes.clamp(min=0)], -1), scores

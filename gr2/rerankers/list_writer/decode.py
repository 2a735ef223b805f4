"""Lists from the network: action by action along the trie of a request's remaining candidates, in batches."""

from pathlib import Path

import torch
from torch import Tensor

from gr2.errors import InputError
from gr2.files.slates import Slate
from gr2.rerankers.list_writer.batch import NONE, EncodedRequests
from gr2.rerankers.list_writer.network import ListWriter
from gr2.rerankers.list_writer.trie import admitted


def write_lists(
    model: ListWriter, encoded: EncodedRequests, size: int, generator: torch.Generator | None = None
) -> Tensor:
    """Lists int64 [n, size] of indices in the order read, NONE where there are fewer candidates.

    Greedy, ties to the lowest code; with a generator drawn from the distribution that `log_probs` gives.
    """
    left, items = encoded.mask, []
    states, past = encoded.start, None
    for position in range(size):
        match = left
        for action in range(model.config.actions):
            step = model.step.weight[position * model.config.actions + action]
            hidden, past = model.decoder(states + step, encoded.memory, encoded.memory_mask, past)
            logits = model.logits(hidden, encoded, action, match[:, None]).squeeze(1)
            if model.config.space == "global":
                codes = encoded.codes[..., action]
                code = choose(logits, admitted(codes, match[:, None], model.config.codes)[:, 0], generator)
                match = match & (codes == code[:, None])
                states, item = model.code(code + action * model.config.codes)[:, None], match.int().argmax(1)
            else:
                item = choose(logits, left, generator)
                states = encoded.vectors.gather(1, item[:, None, None].expand_as(states))
        items.append(item)
        left = left.scatter(1, item[:, None], False)
    ended = torch.arange(size, device=left.device) >= encoded.mask.sum(1, keepdim=True)
    return torch.stack(items, 1).masked_fill(ended, NONE)


def choose(logits: Tensor, allowed: Tensor, generator: torch.Generator | None) -> Tensor:
    """An allowed action per row, int64 [n]; an arbitrary one where none is."""
    logits = torch.where(allowed, logits, torch.finfo(logits.dtype).min)
    if generator is None:
        return logits.argmax(-1)
    return torch.multinomial(logits.softmax(-1), 1, generator=generator).squeeze(1)


def check_outputs(model: ListWriter, slates: list[Slate], folder: str | Path) -> None:
    """InputError where the space is `place` and a slate has more candidates than the network has outputs."""
    for slate in slates:
        count = len(slate.candidates)
        if model.config.space == "place" and count > model.config.candidates:
            limit = f"it ranks at most {model.config.candidates} candidates"
            raise InputError(f"{folder}: {limit}; slate_id '{slate.slate_id}' has {count}")

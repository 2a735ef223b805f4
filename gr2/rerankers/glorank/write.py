"""Lists from a GloRank network: action by action along the trie of the request's remaining candidates, all requests at once."""

import torch

from gr2.rerankers.glorank.model import Encoded, GloRank, admitted
from gr2.rerankers.listwise.requests import NONE


def write(model: GloRank, encoded: Encoded, size: int, generator: torch.Generator | None = None) -> torch.Tensor:
    """Lists of `size` items, int64 [n, size]: places among the encoded candidates, NONE where there are fewer.

    Greedy, ties to the lowest code; with a generator drawn from the distribution that `log_probs` gives.
    """
    codes, left = encoded["codes"], encoded["there"].clone()
    chosen = torch.full((len(codes), size), NONE)
    states, past = model.start.expand(len(codes), 1, -1), None
    for place in range(size):
        match = left.clone()
        for action in range(model.config.actions):
            step = model.step.weight[place * model.config.actions + action]
            hidden, past = model.decoder(states + step, encoded["memory"], encoded["seen"], past)
            logits = model.logits(hidden, encoded, action).squeeze(1)
            if model.config.space == "global":
                code = picked(logits, admitted(codes[..., action], match[:, None], model.config.codes)[:, 0], generator)
                match &= codes[..., action] == code[:, None]
                states = model.code(code + action * model.config.codes)[:, None]
            else:
                match = torch.zeros_like(match).scatter_(1, picked(logits, match, generator)[:, None], True) & left
                states = model.items(
                    codes.gather(1, match.int().argmax(1)[:, None, None].expand(-1, 1, codes.shape[2]))
                )
        own = match.int().argmax(1)
        chosen[:, place] = own.masked_fill(~left.any(1), NONE)
        left.scatter_(1, own[:, None], False)
    return chosen


def picked(logits: torch.Tensor, allowed: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
    """One action a row, int64 [n], of the allowed; any where none is."""
    logits = logits.masked_fill(~allowed, torch.finfo(logits.dtype).min)
    if generator is None:
        return logits.argmax(-1)
    return torch.multinomial(logits.softmax(-1), 1, generator=generator).squeeze(1)


def repeated(encoded: Encoded, times: int) -> Encoded:
    """Every request `times` times over, one beside the other; it is read once."""
    again = {name: value.repeat_interleave(times, 0) for name, value in encoded.items() if name != "memory"}
    memory = [(key.repeat_interleave(times, 0), value.repeat_interleave(times, 0)) for key, value in encoded["memory"]]
    return Encoded(again, memory=memory)


def in_request_order(chosen: torch.Tensor, encoded: Encoded) -> torch.Tensor:
    """Places among the encoded candidates -> places in the request's own order."""
    return encoded["order"].gather(1, chosen.clamp(min=0)).masked_fill(chosen == NONE, NONE)

"""Lists from the network: action by action along the trie of the request's remaining candidates, all requests at once."""

from collections.abc import Iterator
from pathlib import Path

import torch

from gr2.data.catalogue import Catalogue
from gr2.errors import InputError
from gr2.files.slates import Slate
from gr2.rerankers.list_writer.batch import NONE, read
from gr2.rerankers.list_writer.network import Encoded, ListWriter, admitted
from gr2.rerankers.record import check_ids


def write(model: ListWriter, encoded: Encoded, size: int, generator: torch.Generator | None = None) -> torch.Tensor:
    """Lists of `size` items, int64 [n, size]: places among the encoded candidates, NONE where there are fewer.

    Greedy, ties to the lowest code; with a generator drawn from the distribution that `log_probs` gives.
    """
    left = encoded["there"].clone()
    rows = torch.arange(len(left), device=left.device)
    chosen = torch.full((len(left), size), NONE, device=left.device)
    states, past = encoded["start"], None
    for place in range(size):
        match = left
        for action in range(model.config.actions):
            step = model.step.weight[place * model.config.actions + action]
            hidden, past = model.decoder(states + step, encoded["memory"], encoded["seen"], past)
            logits = model.logits(hidden, encoded, action).squeeze(1)
            if model.config.space == "global":
                codes = encoded["codes"][..., action]
                code = picked(logits, admitted(codes, match[:, None], model.config.codes)[:, 0], generator)
                match = match & (codes == code[:, None])
                states, own = model.code(code + action * model.config.codes)[:, None], match.int().argmax(1)
            else:
                own = picked(logits, left, generator)
                states = encoded["vectors"][rows, own][:, None]
        chosen[:, place] = own.masked_fill(~left.any(1), NONE)
        left[rows, own] = False
    return chosen


def picked(logits: torch.Tensor, allowed: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
    """One action a row, int64 [n], of the allowed; any where none is."""
    logits = logits.masked_fill(~allowed, torch.finfo(logits.dtype).min)
    if generator is None:
        return logits.argmax(-1)
    return torch.multinomial(logits.softmax(-1), 1, generator=generator).squeeze(1)


def repeated(encoded: Encoded, times: int) -> Encoded:
    """For `times` lists of every request, side by side; what all of them look at is there once."""
    once = ("memory", "seen")
    return Encoded(
        {name: value if name in once else value.repeat_interleave(times, 0) for name, value in encoded.items()}
    )


def in_request_order(chosen: torch.Tensor, encoded: Encoded) -> torch.Tensor:
    """Places among the encoded candidates -> places in the request's own order."""
    return encoded["order"].gather(1, chosen.clamp(min=0)).masked_fill(chosen == NONE, NONE)


def rank(slates: list[Slate], catalogue: Catalogue, folder: str | Path, batch_size: int) -> Iterator[list[str]]:
    """For each slate the list that the network writes, then the other candidates in their order.

    InputError where the network was fitted on other items or IDs, or has too few outputs for a slate.
    """
    check_ids(folder, catalogue)
    model = ListWriter.from_pretrained(folder).eval()
    check_places(model, slates, folder)
    for start in range(0, len(slates), batch_size):
        part = slates[start : start + batch_size]
        with torch.inference_mode():
            encoded = model.encode(read(part, catalogue, model.config.history))
            lists = in_request_order(write(model, encoded, model.config.list_size), encoded).tolist()
        for slate, places in zip(part, lists, strict=True):
            first = [slate.candidates[place] for place in places if place != NONE]
            yield [*first, *(item_id for item_id in slate.candidates if item_id not in first)]


def check_places(model: ListWriter, slates: list[Slate], folder: str | Path) -> None:
    """InputError where the space is `place` and a slate has more candidates than the network has outputs."""
    for slate in slates:
        count = len(slate.candidates)
        if model.config.space == "place" and count > model.config.candidates:
            raise InputError(f"{folder}: it ranks at most {model.config.candidates} candidates; slate_id "
                             f"'{slate.slate_id}' has {count}")  # fmt: skip

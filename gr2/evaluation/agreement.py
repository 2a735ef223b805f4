"""How near lists come to the best that an evaluator knows: HR@p % (2605.25749), the share of slates with a list among the best p %.

All lists of a slate are scored where there are at most `ENUMERATED`, elsewhere `SAMPLED` random ones, the same for every system.
It measures agreement with the evaluator, not with users, so the evaluator's own quality stands beside it.
"""

from math import perm

import numpy as np
import torch
from tqdm import tqdm

from gr2.data.catalogue import Catalogue
from gr2.errors import InputError
from gr2.files.slates import Slate
from gr2.rerankers.degre.evaluator import Evaluator
from gr2.rerankers.degre.fit_evaluator import JUDGED_LISTS, collate, listed, quality
from gr2.rerankers.degre.lookahead import Lookahead, score
from gr2.rerankers.degre.mining import mine
from gr2.rerankers.list_writer import batch as requests
from gr2.rerankers.record import check_ids, check_kind

ENUMERATED, SAMPLED = 1_000_000, 1_000
TIE = 1e-5  # scores so near are the same: the same list scored in another batch


def better_shares(
    slates: list[Slate], orders: list[np.ndarray], folder: str, catalogue: Catalogue, size: int, seed: int
) -> tuple[np.ndarray, dict]:
    """Orders int [n, K] (see `metrics`) -> float [orders, n], the share of all lists of `size` items that the evaluator scores
    higher than the order's, and what is to be known of the measurement: `lists`, `method`, and the evaluator's `auc` and
    `calibration_error` on lists of these slates as in its training.
    """
    check_kind(folder, ("evaluator",), "evaluator")
    check_ids(folder, catalogue)
    evaluator = Evaluator.from_pretrained(folder).eval()
    if size > evaluator.config.list_size:
        raise InputError(f"{folder}: it was fitted for lists of {evaluator.config.list_size}, --list_size is {size}")
    longest = max(len(slate.candidates) for slate in slates)
    every = perm(longest, min(size, longest)) <= ENUMERATED
    shares = np.empty((len(orders), len(slates)))
    for row, slate in enumerate(tqdm(slates, "scoring all lists", unit="slate", disable=None)):
        asked = requests.read([slate], catalogue, evaluator.config.history)
        count = len(slate.candidates)
        own = torch.from_numpy(np.stack([order[row, : min(size, count)] for order in orders]))
        with torch.inference_mode():
            scored = score(evaluator, asked, torch.zeros(1, count), own[None])[0]
            others = (everything if every else some)(evaluator, asked, own.shape[1], seed + row)
        shares[:, row] = (others > scored[:, None] + TIE).float().mean(1)
    about = {"lists": perm(longest, min(size, longest)), "method": "enumerated" if every else f"{SAMPLED} random lists"}
    return shares, about | evaluator_quality(evaluator, slates, catalogue)


def everything(evaluator: Evaluator, asked: requests.Requests, size: int, _: int) -> torch.Tensor:
    """Scores of all lists of one request."""
    count = int(asked.there.sum())
    scores = mine(Lookahead(evaluator, asked), asked.there, size, perm(count, size)).scores[0]
    return scores[scores.isfinite()]


def some(evaluator: Evaluator, asked: requests.Requests, size: int, seed: int) -> torch.Tensor:
    """Scores of random lists of one request."""
    count = int(asked.there.sum())
    noise = torch.rand(SAMPLED, count, generator=torch.Generator().manual_seed(seed))
    return score(evaluator, asked, torch.zeros(1, count), noise.argsort(1)[None, :, :size])[0]


def evaluator_quality(evaluator: Evaluator, slates: list[Slate], catalogue: Catalogue) -> dict[str, float]:
    """`auc` and `calibration_error` of P(V >= k), see `fit_evaluator.quality`."""
    shape, said, came = evaluator.config, [], []
    for start in range(0, len(slates), 256):
        part = [
            listed(slate, shape.list_size, JUDGED_LISTS, start + at)
            for at, slate in enumerate(slates[start : start + 256])
        ]
        inputs = collate(part, catalogue, shape.history, shape.list_size)
        with torch.inference_mode():
            said.append(evaluator(**inputs)["probabilities"].flatten(0, 1))
        came.append(inputs["outcomes"][..., -1].flatten())
    found = quality(torch.cat(said).numpy(), torch.cat(came).numpy())
    return {f"evaluator_{name}": found[name] for name in ("auc", "calibration_error")}

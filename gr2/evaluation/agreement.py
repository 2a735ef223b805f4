"""HR@p % (2605.25749): the share of slates whose list is among the evaluator's best p % of all lists.

All lists of a slate are scored where there are at most `ENUMERATED`, else `SAMPLED` random ones, the same for every
system. It measures agreement with the evaluator, not with users, so the evaluator's own quality stands beside it.
"""

from math import perm

import numpy as np
import torch
from torch import Tensor

from gr2.data.catalogue import Catalogue
from gr2.errors import InputError
from gr2.files.slates import Slate
from gr2.rerankers.degre.evaluator import Evaluator
from gr2.rerankers.degre.inputs import EvaluatorInput, InputReader, SlateFeatures
from gr2.rerankers.degre.judge import Judge
from gr2.rerankers.degre.lookahead import Lookahead, score_lists
from gr2.rerankers.degre.mining import mine
from gr2.rerankers.degre.train_evaluator import VALID_LISTS, collate, draw_lists, measure_quality
from gr2.terminal import show_progress

ENUMERATED, SAMPLED = 1_000_000, 1_000
TIE = 1e-5  # closer scores are equal: of the same list, scored in another batch


def better_shares(
    slates: list[Slate], orders: list[np.ndarray], judge: Judge, catalogue: Catalogue, size: int, seed: int
) -> tuple[np.ndarray, dict]:
    """Orders int [n, K] (see `metrics`) -> float [orders, n], the share of all lists of `size` items that the
    evaluator scores higher than the order's, and a dict describing the measurement: `lists`, `method`, and the
    evaluator's `auc` and `calibration_error` on lists of these slates drawn as in its training.
    """
    evaluator = judge.evaluator
    if size > evaluator.config.list_size:
        fitted = f"{evaluator.name_or_path}: it was fitted for lists of {evaluator.config.list_size}"
        raise InputError(f"{fitted}; expected --list_size up to that")
    reader = judge.reader(catalogue, evaluator.config.history)
    known = reader.add_features(slates)
    longest = max(len(slate.candidates) for slate in slates)
    lists = perm(longest, min(size, longest))
    shares = np.empty((len(orders), len(slates)))
    for row, slate in enumerate(show_progress(slates, "scoring all lists", len(slates), "slates")):
        seen = reader.read([known[row]])
        count = len(slate.candidates)
        given = torch.from_numpy(np.stack([order[row, : min(size, count)] for order in orders]))
        with torch.inference_mode():
            scores = score_lists(evaluator, seen, torch.zeros(1, count), given[None])[0]
            if lists <= ENUMERATED:
                others = score_all(evaluator, seen, given.shape[1])
            else:
                others = score_random(evaluator, seen, given.shape[1], seed + row)
        shares[:, row] = (others > scores[:, None] + TIE).float().mean(1)
    method = "enumerated" if lists <= ENUMERATED else f"{SAMPLED} random lists"
    return shares, {"lists": lists, "method": method} | evaluator_quality(evaluator, known, reader)


def score_all(evaluator: Evaluator, seen: EvaluatorInput, size: int) -> Tensor:
    """Scores of all lists of one slate."""
    count = int(seen.mask.sum())
    scores = mine(Lookahead(evaluator, seen), seen.mask, size, perm(count, size)).scores[0]
    return scores[scores.isfinite()]


def score_random(evaluator: Evaluator, seen: EvaluatorInput, size: int, seed: int) -> Tensor:
    """Scores of random lists of one slate."""
    count = int(seen.mask.sum())
    noise = torch.rand(SAMPLED, count, generator=torch.Generator().manual_seed(seed))
    return score_lists(evaluator, seen, torch.zeros(1, count), noise.argsort(1)[None, :, :size])[0]


def evaluator_quality(evaluator: Evaluator, known: list[SlateFeatures], reader: InputReader) -> dict[str, float]:
    """`auc` and `calibration_error` of P(V >= k), see `train_evaluator.measure_quality`."""
    shape, probabilities, outcomes = evaluator.config, [], []
    for start in range(0, len(known), 256):
        block = enumerate(known[start : start + 256], start)
        shown = [draw_lists(one, shape.list_size, VALID_LISTS, seed) for seed, one in block]
        inputs = collate(shown, reader, shape.list_size)
        with torch.inference_mode():
            probabilities.append(evaluator(**inputs)["probabilities"].flatten(0, 1))
        outcomes.append(inputs["outcomes"][..., -1].flatten())
    quality = measure_quality(torch.cat(probabilities).numpy(), torch.cat(outcomes).numpy())
    return {f"evaluator_{name}": quality[name] for name in ("auc", "calibration_error")}

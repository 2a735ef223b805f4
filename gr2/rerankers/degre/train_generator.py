"""`gr2 fit --kind degre` and `--kind goalrank`: a pointer network learns to write lists that the evaluator values, greedily.

DeGRe (2605.25749): lists are mined by beam search, w_l = softmax(score / tau_w) over a request's lists, q_t = softmax(V / tau_q)
over its remaining candidates, L = sum_l w_l sum_t [CE(y_t, p_t) + alpha KL(q_t || p_t)]. alpha 0 leaves CE only, tau_w inf
leaves no weights, and without an evaluator the labels are one that is always right. tau_q is ours (the paper: 1).
GoalRank's way (2509.22046): a group of random lists, a reference policy that is the softmax of
their standardised scores, and cross-entropy against it.
"""

import torch
from torch.nn.functional import pad
from tqdm import tqdm
from transformers import set_seed

from gr2.data.catalogue import Catalogue
from gr2.errors import InputError
from gr2.files.slates import Slate
from gr2.rerankers.degre.evaluator import Evaluator
from gr2.rerankers.degre.lookahead import Labels, Lookahead, score
from gr2.rerankers.degre.mining import Mined, mine
from gr2.rerankers.list_writer import train as fitting
from gr2.rerankers.list_writer.batch import NONE, Requests
from gr2.rerankers.list_writer.decode import repeated
from gr2.rerankers.list_writer.network import ListWriter, placed, remaining
from gr2.rerankers.record import check_ids, check_kind
from gr2.rerankers.training import Slates
from gr2.stages.fit import Config

METRIC = "score"  # by the evaluator, of the written lists
BLOCK = 32  # requests mined at a time


def fit(learned: list[Slate], judged: list[Slate], catalogue: Catalogue, config: Config) -> None:
    """Keeps the epoch whose lists of `judged` have the highest scores."""
    evaluator = None
    if config.evaluator:
        check_kind(config.evaluator, ("evaluator",), "evaluator")
        check_ids(config.evaluator, catalogue)
        evaluator = Evaluator.from_pretrained(config.evaluator).eval()
    set_seed(config.seed)
    model = fitting.new_network("pointer", learned + judged, catalogue, config)
    if evaluator:
        check(evaluator, model, config.evaluator)
    found = group if config.kind == "goalrank" else mined
    taught = []
    for start in tqdm(range(0, len(learned), BLOCK), "lists to learn", unit="block", disable=None):
        taught += with_lists(learned[start : start + BLOCK], found, evaluator, catalogue, config)
    fitting.fit(Goal if config.kind == "goalrank" else Dense, model, Slates(taught), judged, collate, catalogue, config, METRIC,
                evaluator=evaluator, options=config)  # fmt: skip


def check(evaluator: Evaluator, model: ListWriter, folder: str) -> None:
    had, asked = evaluator.config.to_dict(), model.config.to_dict()
    for name in ("levels", "codes", "list_size", "history"):
        if had[name] != asked[name]:
            raise InputError(
                f"{folder}: its {name} is {had[name]}; expected {asked[name]}, as these slates and options have it"
            )


def with_lists(
    slates: list[Slate], found, evaluator: Evaluator | None, catalogue: Catalogue, config: Config
) -> list[tuple[Slate, Mined]]:
    """Slates and the lists that each is to learn from."""
    inputs = fitting.collate(slates, catalogue, config.history)
    with torch.no_grad():
        lists = found(evaluator, Requests(inputs["history"], inputs["candidates"]), inputs["labels"], config)
    return [(slate, Mined(*(part[row] for part in lists))) for row, slate in enumerate(slates)]


def collate(
    examples: list[Slate] | list[tuple[Slate, Mined]], catalogue: Catalogue, history: int
) -> dict[str, torch.Tensor]:
    """As without lists; those that are learned from have theirs in parts, `lists`, `scores` and `values`."""
    if isinstance(examples[0], Slate):
        return fitting.collate(examples, catalogue, history)
    slates, found = zip(*examples, strict=True)
    inputs = fitting.collate(slates, catalogue, history)
    width = inputs["labels"].shape[1]
    own = [mined.values[..., : len(slate.candidates)] for mined, slate in zip(found, slates, strict=True)]
    return inputs | {
        "lists": torch.stack([mined.lists for mined in found]),
        "scores": torch.stack([mined.scores for mined in found]),
        "values": torch.stack([pad(values, (0, width - values.shape[-1])) for values in own]),
    }


def mined(evaluator: Evaluator | None, asked: Requests, labels: torch.Tensor, config: Config) -> Mined:
    ahead = Lookahead(evaluator, asked) if evaluator else Labels(labels)
    return mine(ahead, asked.there, config.list_size, config.beams)


def group(evaluator: Evaluator | None, asked: Requests, labels: torch.Tensor, config: Config) -> Mined:
    """`group` random lists of each request."""
    noise = torch.rand(len(labels), config.group, labels.shape[1], device=labels.device)
    noise = noise.masked_fill(~asked.there[:, None], 2.0)
    lists = noise.argsort(2)[..., : config.list_size]
    lists = lists.masked_fill(~asked.there[:, None].expand_as(noise).gather(2, lists), NONE)
    scores = score(evaluator, asked, labels, lists)
    return Mined(lists, scores, torch.zeros(*lists.shape, asked.there.shape[1], device=lists.device))


class Taught(fitting.Writing):
    """Validation lists are worth what the evaluator says."""

    def __init__(self, *args, evaluator: Evaluator | None, options: Config, **others):
        super().__init__(*args, **others)
        self.evaluator, self.options = evaluator and evaluator.to(self.args.device), options

    def worth(self, inputs: dict, lists: torch.Tensor) -> torch.Tensor:
        asked = Requests(inputs["history"], inputs["candidates"])
        return score(self.evaluator, asked, inputs["labels"], lists[:, None])[:, 0]

    def taught(self, model, inputs: dict) -> tuple[torch.Tensor, ...]:
        """log P of every candidate at each place of every list, the lists as read, and V of every candidate, [n * B, m, (K)]."""
        encoded = repeated(model.encode(Requests(inputs["history"], inputs["candidates"])), inputs["lists"].shape[1])
        lists = placed(inputs["lists"].flatten(0, 1), encoded["order"])
        order = encoded["order"][:, None].expand(-1, lists.shape[1], -1)
        left = remaining(encoded["there"], lists)
        return model.distributions(encoded, lists), lists, inputs["values"].flatten(0, 1).gather(2, order), left


class Dense(Taught):
    def compute_loss(self, model, inputs: dict, return_outputs: bool = False, **_):
        logp, lists, values, left = self.taught(model, inputs)
        weights = (inputs["scores"] / self.options.tau_w).softmax(1)
        loss = dense(logp, lists, values, left, self.options.alpha, self.options.tau_q).view_as(weights)
        return (weights * loss).sum(1).mean()


class Goal(Taught):
    def compute_loss(self, model, inputs: dict, return_outputs: bool = False, **_):
        logp, lists, values, left = self.taught(model, inputs)
        scores = inputs["scores"]
        standard = (scores - scores.mean(1, keepdim=True)) / (scores.std(1, keepdim=True) + 1e-6)
        loss = dense(logp, lists, values, left, alpha=0.0, tau_q=1.0).view_as(scores)
        return (standard.softmax(1) * loss).sum(1).mean()


def dense(
    logp: torch.Tensor, lists: torch.Tensor, values: torch.Tensor, left: torch.Tensor, alpha: float, tau_q: float
) -> torch.Tensor:
    """sum_t [CE(y_t, p_t) + alpha KL(q_t || p_t)] of each list, float [n].

    logp, values: float [n, m, K], log P and V of the candidates; lists: int64 [n, m]; left: bool [n, m, K], who is not taken.
    """
    there = lists != NONE
    loss = -logp.gather(2, lists.clamp(min=0)[..., None]).squeeze(2)
    if alpha > 0:
        logq = (values / tau_q).masked_fill(~left, torch.finfo(values.dtype).min).log_softmax(2)
        loss = loss + alpha * (logq.exp() * (logq - logp)).masked_fill(~left, 0.0).sum(2)
    return loss.masked_fill(~there, 0.0).sum(1)

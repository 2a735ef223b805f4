"""Lists by brute force: every permutation is written out and read in full, without a cache, and tiny models to read it.

Permutations of the same tokens are equally long, so that a batch of them has no padding.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from gr2.choices.drawing import Drawing
from gr2.choices.spelling import Spelling
from gr2.choices.walk import Choice, ListWriter
from gr2.choices.write import begin, write_lists

VOCABULARY = 64
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "initializer_range": 0.25,  # large enough for distributions that are not flat
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
TEXT = [1, 50, 51, 52, 53, 54, 55, 56, 8, 5]
# IDs that share their starts; `start` has an ID that begins another, which goes on as what stands between two IDs.
IDS = {
    "levels": [[3, 10, 20, 30, 40, 4], [3, 10, 20, 30, 41, 4], [3, 10, 20, 31, 40, 4], [3, 10, 21, 30, 40, 4]],
    "pairs": [[3, 10, 20, 4], [3, 10, 21, 4], [3, 11, 20, 4], [3, 11, 21, 4]],
    "flat": [[10], [11, 12], [13], [14, 15, 16]],
    "start": [[10], [10, 5, 9], [10, 5, 6, 9], [11]],
}
FIVE = [*IDS["levels"], [3, 11, 20, 30, 40, 4]]


def spelling_of(items: list[list[int]]) -> Spelling:
    return Spelling([8, 5], items, [5, 6, 5], [5, 7, 2])


def tiny_model(kind: str, attention: str = "sdpa", seed: int = 0, **changes) -> PreTrainedModel:
    """Random weights in float32."""
    torch.manual_seed(seed)
    config = AutoConfig.for_model(kind, **SIZES | changes)
    return AutoModelForCausalLM.from_config(config, attn_implementation=attention, dtype=torch.float32).eval()


def write(
    model: PreTrainedModel,
    spelling: Spelling,
    drawings: Sequence[Drawing],
    text: Sequence[int] = TEXT,
    groups: bool = False,
) -> list[ListWriter]:
    """One text's lists, one for each of the drawings."""
    return write_all(model, [ListWriter(spelling, text, drawing) for drawing in drawings], groups)


def write_all(model: PreTrainedModel, writers: list[ListWriter], groups: bool = False) -> list[ListWriter]:
    with torch.inference_mode():
        write_lists(begin(model, writers, groups), writers)
    return writers


@dataclass(frozen=True)
class Step:
    """A token that stands at `place` of a list, the tokens that could stand there, and the model's logits of these."""

    place: int
    token: int
    among: list[int]
    logits: list[float]

    def log_prob(self, temperature: float = 1.0, top_p: float = 1.0) -> float:
        """Of the token, among the likeliest of those admitted that have `top_p` together."""
        scaled = torch.tensor(self.logits, dtype=torch.float64) / temperature
        probs, order = scaled.softmax(0).sort(descending=True)
        kept = order[probs.cumsum(0) - probs < top_p].tolist()
        at = self.among.index(self.token)
        return float(scaled[at] - scaled[kept].logsumexp(0)) if at in kept else -math.inf


@dataclass(frozen=True)
class Table:
    """Every order of a slate: the list's steps, admitted as all lists with the same beginning have it."""

    spelling: Spelling
    steps: dict[tuple[int, ...], list[Step]]

    def log_probs(self, temperature: float = 1.0, top_p: float = 1.0) -> dict[tuple[int, ...], float]:
        return {order: sum(step.log_prob(temperature, top_p) for step in steps) for order, steps in self.steps.items()}

    def choices(self, order: tuple[int, ...]) -> list[Choice]:
        return [Choice(step.place, step.token, sorted(step.among)) for step in self.steps[order] if len(step.among) > 1]

    def candidates(self, order: tuple[int, ...]) -> list[float]:
        """The log-probability of each candidate's tokens, with what follows it."""
        values, end = [], 0
        for index in order:
            start, end = end, end + len(self.spelling.items[index] + self.spelling.between)
            values.append(sum(step.log_prob() for step in self.steps[order] if start <= step.place < end))
        return values

    def greedy(self) -> tuple[int, ...]:
        """The order whose every candidate is the likeliest one after those before it."""
        order: tuple[int, ...] = ()
        while len(order) < len(self.spelling.items):
            scores = {
                full[len(order)]: self.candidates(full)[len(order)]
                for full in self.steps
                if full[: len(order)] == order
            }
            order += (max(scores, key=scores.get),)
        return order

    def first(self) -> list[float]:
        """Each candidate's log-probability of being the first: the sum over all orders that begin with it."""
        totals = [0.0] * len(self.spelling.items)
        for order, value in self.log_probs().items():
            totals[order[0]] += math.exp(value)
        return [math.log(total) for total in totals]


def read_all(model: PreTrainedModel, spelling: Spelling, text: Sequence[int] = TEXT) -> Table:
    orders = list(permutations(range(len(spelling.items))))
    lists = [spelling.write(order) for order in orders]
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([[*text, *tokens] for tokens in lists]), use_cache=False).logits
    logits = logits[:, len(text) - 1 : -1].double()
    admitted: dict[tuple[int, ...], set[int]] = {}
    for tokens in lists:
        for place, token in enumerate(tokens):
            admitted.setdefault(tuple(tokens[:place]), set()).add(token)
    steps = {}
    for row, (order, tokens) in enumerate(zip(orders, lists, strict=True)):
        amongs = [sorted(admitted[tuple(tokens[:place])]) for place in range(len(tokens))]
        steps[order] = [
            Step(place, token, among, logits[row, place, among].tolist())
            for place, (token, among) in enumerate(zip(tokens, amongs, strict=True))
        ]
    return Table(spelling, steps)

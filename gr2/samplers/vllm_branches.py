"""Choices among a slate's candidates with vLLM's engine: a question for each place where the candidates part.

The question is a prompt up to that place, of which one token is generated, for the log-probabilities of the tokens that
the slate admits there. Forced tokens belong to the next prompt, and prefix caching keeps what was read.
"""

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass

from vllm import SamplingParams
from vllm.outputs import RequestOutput
from vllm.sampling_params import MAX_LOGPROB_TOKEN_IDS, RequestOutputKind

from gr2.choices.walk import ListWriter, Plan


@dataclass(frozen=True)
class Question:
    """What the engine is asked: it goes on from `prompt`, token ids."""

    prompt: list[int]
    settings: SamplingParams


# Yields questions, takes the engine's answers to them, in their order.
Asking = Generator[list[Question], list[RequestOutput]]


def score_first(writer: ListWriter) -> Asking:
    """Returns each candidate's log-probability of being written first."""
    if writer.done:
        return [0.0]
    plan = writer.plan()
    log_probs = yield from score_branches(plan, spread([], plan))
    return writer.score_candidates(log_probs)


def write_choices(writer: ListWriter) -> Asking:
    """Writes the list to its end."""
    text: list[int] = []
    while not writer.done:
        plan = writer.plan()
        texts = spread(text, plan)
        log_probs = yield from score_branches(plan, texts)
        read = writer.choose(log_probs)
        text = texts[read[-1] if read else plan.decided - 1]


def spread(text: list[int], plan: Plan) -> dict[int, list[int]]:
    """The text up to each of the plan's tokens from the last decided one on; `text` came before them."""
    texts = {plan.decided - 1: text + plan.tokens[: plan.decided]}
    for index, parent in enumerate(plan.parents, plan.decided):
        texts[index] = texts[parent] + [plan.tokens[index]]
    return texts


def score_branches(plan: Plan, texts: dict[int, list[int]]) -> Asking:
    """Returns for each of the plan's branches the log-probabilities among its tokens."""
    step = MAX_LOGPROB_TOKEN_IDS
    questions = [(index, among[at : at + step]) for index, among in plan.branches for at in range(0, len(among), step)]
    outputs = yield [Question(texts[index], ask_scores(tokens)) for index, tokens in questions]
    values: dict[int, list[float]] = {index: [] for index, _ in plan.branches}
    for (index, tokens), output in zip(questions, outputs, strict=True):
        values[index] += [output.outputs[0].logprobs[0][token].logprob for token in tokens]
    return [normalise(of_branch) for of_branch in values.values()]


def ask_scores(tokens: list[int]) -> SamplingParams:
    """Log-probabilities among the whole vocabulary, at temperature 1; the token that is generated does not matter."""
    final = RequestOutputKind.FINAL_ONLY
    return SamplingParams(temperature=0, max_tokens=1, logprob_token_ids=tokens, detokenize=False, output_kind=final)


def normalise(log_probs: Sequence[float]) -> list[float]:
    best = max(log_probs)
    total = best + math.log(sum(math.exp(value - best) for value in log_probs))
    return [value - total for value in log_probs]

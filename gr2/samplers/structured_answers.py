"""Answers under a schema with a transformers model: the explanation token by token, the list choice by choice."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from gr2.choices.attention import Attention
from gr2.choices.drawing import Drawing
from gr2.choices.reading import Reading
from gr2.choices.spelling import Spelling, spell, spell_after
from gr2.choices.walk import Choice, ListWriter
from gr2.choices.write import begin, order_by_scores, score_first, write_lists
from gr2.samplers.base import Order
from gr2.samplers.explanations import Explanation, write_explanations
from gr2.samplers.grammar import sids_of


@dataclass(frozen=True)
class StructuredAnswer:
    """An answer, up to the end of its turn, or cut off within its explanation: then `log_probs` is None.

    log_probs: see `Sample`. explanation: of prompts that ask for one. choices: of the list, at their places in
    `tokens`; none with order first.
    """

    tokens: list[int]
    log_probs: list[float] | None
    explanation: Explanation | None
    choices: list[Choice]


def answer_structured(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[list[int]],
    schemas: Sequence[dict],
    drawings: Sequence[Drawing],
    max_tokens: int,
    order: Order | None = None,
    generation: GenerationConfig | None = None,
    after: Sequence[Callable] = (),
    groups: bool = False,
    anyone: Callable[[bool], bool] = bool,
) -> list[StructuredAnswer]:
    """One answer a prompt. `max_tokens` cuts explanations off; a list is never cut.

    generation, after: how explanations are sampled (`write_explanations`). groups: several rows share their prompt.
    anyone: see `write_lists`.
    """
    Attention.of(model)  # refuses before anything is written
    spellings = spell_all(tokenizer, schemas)
    if len(schemas[0]["properties"]) == 1:
        explanations, heads = [None] * len(prompts), [spelling.opening for spelling in spellings]
        texts = [prompt + head for prompt, head in zip(prompts, heads, strict=True)]
        writers = [ListWriter(*row) for row in zip(spellings, texts, drawings, strict=True)]
        reading = begin(model, writers, groups)
    else:
        lists = [spelling.opening + spelling.write(range(len(spelling.items))) for spelling in spellings]
        budgets = [max_tokens - len(tokens) for tokens in lists]
        generation.max_new_tokens = max(budgets)
        found = write_explanations(model, tokenizer, prompts, schemas, budgets, generation, after)
        explanations, cache, visible = found
        heads, writers = [], []
        for schema, spelling, drawing, one in zip(schemas, spellings, drawings, explanations, strict=True):
            rest = [] if one.rest is None else spell_after(tokenizer, one.rest, sids_of(schema)[0])
            heads.append(one.tokens + rest)
            writers.append(None if one.rest is None else ListWriter(spelling, one.tokens[-1:] + rest, drawing))
        reading = Reading(model, cache, visible)
    if order == "first":
        scores = score_first(reading, writers)
    else:
        write_lists(reading, writers, anyone)
        scores = [None] * len(writers)
    return [finish(*row) for row in zip(heads, explanations, writers, scores, strict=True)]


def finish(
    head: list[int], explanation: Explanation | None, writer: ListWriter | None, scores: list[float] | None
) -> StructuredAnswer:
    """The answer that begins with `head`; scores: of all candidates, of order first."""
    if writer is None:
        return StructuredAnswer(head, None, explanation, [])
    order, log_probs = writer.order, writer.log_probs
    if scores is not None:
        order, log_probs = order_by_scores(scores)
    choices = [Choice(len(head) + choice.place, choice.token, choice.among) for choice in writer.choices]
    return StructuredAnswer(head + writer.spelling.write(order), log_probs, explanation, choices)


def spell_all(tokenizer: PreTrainedTokenizerBase, schemas: Sequence[dict]) -> list[Spelling]:
    """The spelling of each schema's list; that of a slate that comes several times is made once."""
    made: dict[str, Spelling] = {}
    for schema in schemas:
        key = json.dumps(sids_of(schema))
        if key not in made:
            made[key] = spell(tokenizer, sids_of(schema))
    return [made[json.dumps(sids_of(schema))] for schema in schemas]


def pack_decisions(answer: StructuredAnswer, words: int) -> tuple[list[int], np.ndarray]:
    """The places of an answer's tokens that were chosen among several, and among which: int32 [decisions, words]."""
    places, masks = [], []
    if answer.explanation:
        admitted = answer.explanation.admitted
        several = np.bitwise_count(admitted.view(np.uint32)).sum(1) > 1
        places += several.nonzero()[0].tolist()
        masks += list(admitted[several])
    for choice in answer.choices:
        bits = np.zeros(32 * words, np.uint8)
        bits[choice.among] = 1
        places.append(choice.place)
        masks.append(np.packbits(bits, bitorder="little").view(np.int32))
    return places, np.array(masks, np.int32).reshape(-1, words)

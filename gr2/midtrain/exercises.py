"""Reranking exercises: the student's own prompt and answer, at positions that the model may learn from.

To look up what stands in its prompt a model from scratch has to learn, from more examples than there are slates. Ours;
docs/results/README.md has what it is worth.
"""

import random
from collections.abc import Iterator

from transformers import PreTrainedTokenizerBase

from gr2.answers import write_answer
from gr2.data.catalogue import Catalogue
from gr2.errors import InputError
from gr2.midtrain.tasks import Pieces
from gr2.prompts import Prompt, render
from gr2.template import category_weights, explain

CANDIDATES = 10


def exercises(
    count: int,
    histories: list[list[str]],
    window: int,
    prompt: Prompt,
    catalogue: Catalogue,
    tokenizer: PreTrainedTokenizerBase,
    rng: random.Random,
) -> Iterator[Pieces]:
    """A user's next item hidden among nine others, drawn as often as they are chosen; the answer puts it first, explained
    by the template, and leaves the others in their random order. Learned: the answer.
    """
    weights = category_weights(catalogue)
    chosen = [item_id for history in histories for item_id in history]
    if len(set(chosen)) < CANDIDATES:
        raise InputError(f"exercises: expected {CANDIDATES} different items in the histories, found {len(set(chosen))}")
    longer = [history for history in histories if len(history) > 1]
    if not longer:
        raise InputError("exercises: expected histories of two items or more")
    for _ in range(count):
        history = rng.choice(longer)
        at = rng.randrange(1, len(history))
        target, candidates = history[at], {history[at]: None}
        while len(candidates) < CANDIDATES:
            candidates[rng.choice(chosen)] = None
        shown = rng.sample(list(candidates), CANDIDATES)
        slate = {"history": history[max(0, at - window) : at], "candidates": shown}
        reasoning = explain(slate["history"], target, catalogue, weights) if prompt.has_trace else None
        answer = write_answer(reasoning, [target, *(item_id for item_id in shown if item_id != target)], catalogue)
        question = tokenizer.apply_chat_template(
            render(prompt, slate, catalogue), tokenize=False, add_generation_prompt=True
        )
        yield [(question, False), (answer, True)]

"""Reranking exercises: the student's own prompt and answer, at positions that the model may learn from.

A model from scratch learns to look up IDs in its prompt from more examples than there are slates. Ours;
docs/results/demo.md has what it gains.
"""

import random
from collections.abc import Iterator

from gr2.data.catalogue import Catalogue
from gr2.errors import InputError
from gr2.files.slates import Slate
from gr2.prompts.answer import write_answer
from gr2.prompts.explanation import category_weights, explain
from gr2.prompts.prompt import Prompt
from gr2.prompts.render import render

CANDIDATES = 10


def make_exercises(
    count: int, histories: list[list[str]], window: int, prompt: Prompt, catalogue: Catalogue, rng: random.Random
) -> Iterator[tuple[list[dict[str, str]], str]]:
    """(chat, answer): a user's next item hidden among nine others, drawn by popularity, none of which the user has
    chosen before; the answer puts it first, explained by the template from the history that the prompt shows, and
    leaves the others in their random order.
    """
    weights = category_weights(catalogue)
    events = [item_id for history in histories for item_id in history]
    pairs = [(history, last_target(history, len(set(events)))) for history in histories]
    usable = [(history, last) for history, last in pairs if last]
    if not usable:
        expected = f"a history of two items or more, and {CANDIDATES} items that its user has not chosen before"
        raise InputError(f"--exercises {count}: expected {expected}, found {len(set(events))} different items")
    for _ in range(count):
        history, last = rng.choice(usable)
        index = rng.randrange(1, last + 1)
        target, past = history[index], set(history[:index])
        drawn = {target: None}
        while len(drawn) < CANDIDATES:
            other = rng.choice(events)
            if other not in past:
                drawn[other] = None
        candidates = rng.sample(list(drawn), CANDIDATES)
        start = max(0, index - min(window, prompt.max_history))
        slate = Slate("exercise", history[start:index], candidates)
        reasoning = explain(slate.history, target, catalogue, weights) if prompt.has_trace else None
        ranking = [target, *(item_id for item_id in candidates if item_id != target)]
        yield render(prompt, slate, catalogue), write_answer(reasoning, ranking, catalogue)


def last_target(history: list[str], items: int) -> int:
    """The last index of a history at which `items` items leave CANDIDATES from outside the past; 0: none."""
    past: set[str] = set()
    for index, target in enumerate(history):
        if items - len(past | {target}) < CANDIDATES - 1:
            return max(0, index - 1)
        past.add(target)
    return max(0, len(history) - 1)

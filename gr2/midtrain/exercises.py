"""Reranking exercises: the student's own prompt and answer, at positions that the model may learn from.

To look up what stands in its prompt a model from scratch has to learn, from more examples than there are slates. Ours;
docs/results/README.md has what it is worth.
"""

import random
from collections.abc import Iterator

from gr2.data.catalogue import Catalogue
from gr2.errors import InputError
from gr2.files.slates import Slate
from gr2.prompts.answer import write_answer
from gr2.prompts.explanation import category_weights, explain
from gr2.prompts.prompt import Prompt, render

CANDIDATES = 10


def exercises(
    count: int,
    histories: list[list[str]],
    window: int,
    prompt: Prompt,
    catalogue: Catalogue,
    rng: random.Random,
) -> Iterator[tuple[list[dict[str, str]], str]]:
    """(chat, answer): a user's next item hidden among nine others, drawn as often as they are chosen, none of which the user
    has chosen before; the answer puts it first, explained by the template, and leaves the others in their random order.
    """
    weights = category_weights(catalogue)
    chosen = [item_id for history in histories for item_id in history]
    places = [(history, last_place(history, len(set(chosen)))) for history in histories]
    longer = [(history, last) for history, last in places if last]
    if not longer:
        raise InputError(f"exercises: expected a history of two items or more, and {CANDIDATES} items beside those that its "
                         f"user chose before, found {len(set(chosen))} different items in the histories")  # fmt: skip
    for _ in range(count):
        history, last = rng.choice(longer)
        at = rng.randrange(1, last + 1)
        target, past = history[at], set(history[:at])
        candidates = {target: None}
        while len(candidates) < CANDIDATES:
            other = rng.choice(chosen)
            if other not in past:
                candidates[other] = None
        shown = rng.sample(list(candidates), CANDIDATES)
        slate = Slate("exercise", history[max(0, at - window) : at], shown)
        reasoning = explain(slate.history, target, catalogue, weights) if prompt.has_trace else None
        ranking = [target, *(item_id for item_id in shown if item_id != target)]
        yield render(prompt, slate, catalogue), write_answer(reasoning, ranking, catalogue)


def last_place(history: list[str], items: int) -> int:
    """The last place of a history that `CANDIDATES` of `items` items can be shown for without one from before it; 0: none."""
    past: set[str] = set()
    for place, target in enumerate(history):
        if items - len(past | {target}) < CANDIDATES - 1:
            return max(0, place - 1)
        past.add(target)
    return max(0, len(history) - 1)

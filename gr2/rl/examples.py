"""Slates as rows for training on a model's own answers: the chat prompt, the answer's schema, what the reward needs."""

import json

from transformers import PreTrainedTokenizerBase

from gr2.data.catalogue import Catalogue
from gr2.errors import InputError
from gr2.files.slates import Slate
from gr2.language_model.chat import prompt_text
from gr2.prompts.history import fit_history
from gr2.prompts.prompt import Prompt
from gr2.prompts.render import render
from gr2.prompts.schema import answer_schema
from gr2.rl.rewards import NEEDS


def select_rewarded(slates: list[Slate], reward: str, file: str) -> list[Slate]:
    """The train slates on which the reward is defined; prints how many are left out. InputError where all are."""
    relevant = [slate for slate in slates if slate.relevant]
    if len(relevant) < len(slates):
        print(f"left out: {len(slates) - len(relevant)} train slates without a relevant candidate", flush=True)
    is_enough, needed = NEEDS.get(reward, (any, "a relevant candidate"))
    kept = [slate for slate in relevant if is_enough(slate.labels)]
    if len(kept) < len(relevant):
        print(f"left out: {len(relevant) - len(kept)} train slates without {needed}", flush=True)
    if not kept:
        raise InputError(f"{file}: no train slate has {needed}")
    return kept


def refuse_partial_batch(slates: int, batch: int, file: str, made_of: str) -> None:
    """InputError where the slates fill no batch, since TRL takes whole batches only; prints how many stay unused."""
    if slates < batch:
        expected = f"expected at least {batch}, a batch ({made_of}), or no step is made"
        raise InputError(f"{file}: {slates} train slates to learn from: {expected}")
    if unused := slates % batch:
        print(
            f"{unused} of {slates} slates are left out of each pass, others each time: a batch has {batch}", flush=True
        )


def check_context(rows: list[dict], tokenizer: PreTrainedTokenizerBase, max_tokens: int, context: int) -> None:
    """InputError where a prompt and an answer of `max_tokens` exceed the model's context: answers would be cut off."""
    texts = [prompt_text(tokenizer, row["prompt"]) for row in rows]
    longest = max(len(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"])
    if longest + max_tokens > context:
        excess = f"with a prompt of {longest} tokens that is more than the model's context of {context}"
        raise InputError(f"--max_completion_length {max_tokens}: {excess}; lower it, or set --max_prompt_tokens")


def build_rows(
    prompt: Prompt,
    catalogue: Catalogue,
    tokenizer: PreTrainedTokenizerBase,
    max_prompt_tokens: int | None,
    slates: list[Slate],
    shuffle_seed: int | None = None,
) -> list[dict]:
    """Rows with `prompt`, `schema`, `slate_id`, `candidates`, `labels` and `shown`.

    `candidates` and `labels` are in the pre-ranker's order, `shown` is the order that the prompt shows: random under
    `shuffle_seed`, if any, one order a slate for the whole training.
    """
    seen = slates if shuffle_seed is None else [slate.shuffled(shuffle_seed) for slate in slates]
    if max_prompt_tokens is not None:
        seen = fit_history(seen, lambda slate: render(prompt, slate, catalogue), tokenizer, max_prompt_tokens)
    return [
        {
            "prompt": render(prompt, shown, catalogue),
            "schema": json.dumps(answer_schema(prompt, shown, catalogue)),
            "slate_id": slate.slate_id,
            "candidates": slate.candidates,
            "labels": slate.labels,
            "shown": shown.candidates,
        }
        for slate, shown in zip(slates, seen, strict=True)
    ]

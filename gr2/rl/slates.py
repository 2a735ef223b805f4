"""Slates as rows for reinforcement learning: the chat prompt, the answer's schema, and what the reward needs, by name."""

import json

from gr2.data.catalogue import Catalogue
from gr2.data.slates import shuffled
from gr2.data.tables import read_slates
from gr2.errors import InputError
from gr2.language_model.history import fit_history
from gr2.language_model.loading import load_tokenizer
from gr2.prompts import Prompt, answer_schema, render
from gr2.rl.rewards import PAIRWISE, has_pairs


def training_rows(config, catalogue: Catalogue, prompt: Prompt) -> list[dict]:
    """The train slates that the reward can be had for; the rest is counted on the terminal."""
    slates = slates_of(config, catalogue, "train")
    kept = [slate for slate in slates if any(slate["labels"])]
    if len(kept) < len(slates):
        print(f"left out: {len(slates) - len(kept)} train slates without a relevant candidate", flush=True)
    if config.reward in PAIRWISE:
        paired = [slate for slate in kept if has_pairs(slate["labels"])]
        if len(paired) < len(kept):
            print(f"left out: {len(kept) - len(paired)} train slates in which every candidate is relevant", flush=True)
        kept = paired
    if not kept:
        needed = "a relevant and a not relevant candidate" if config.reward in PAIRWISE else "a relevant candidate"
        raise InputError(f"{config.slates}: no train slate has {needed}")
    return rows(config, kept[: config.max_slates], catalogue, prompt)


def validation_rows(config, catalogue: Catalogue, prompt: Prompt) -> list[dict]:
    """The first `eval_slates` valid slates with a relevant candidate."""
    slates = [slate for slate in slates_of(config, catalogue, "valid") if any(slate["labels"])]
    if not slates:
        raise InputError(f"{config.slates}: eval_slates {config.eval_slates}: no valid slate has a relevant candidate")
    return rows(config, slates[: config.eval_slates], catalogue, prompt)


def slates_of(config, catalogue: Catalogue, split: str) -> list[dict]:
    slates = read_slates(config.slates, catalogue.item_ids)
    return [slate for slate in slates.iter_rows(named=True) if slate["split"] == split]


def rows(config, slates: list[dict], catalogue: Catalogue, prompt: Prompt) -> list[dict]:
    """`candidates` and `labels` are in the pre-ranker's order, even where the prompt shows them in another."""
    shown = [shuffled(slate, config.seed) for slate in slates] if config.shuffle_candidates else slates
    if config.max_prompt_tokens is not None:
        tokenizer = load_tokenizer(config.model_name_or_path)
        shown = fit_history(shown, lambda slate: render(prompt, slate, catalogue), tokenizer, config.max_prompt_tokens)
    return [
        {
            "prompt": render(prompt, seen, catalogue),
            "schema": json.dumps(answer_schema(prompt, seen, catalogue)),
            **{name: slate[name] for name in ("slate_id", "candidates", "labels")},
        }
        for slate, seen in zip(slates, shown, strict=True)
    ]

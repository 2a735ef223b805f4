"""Slates as rows for reinforcement learning: the chat prompt, the answer's schema, and what the reward needs, by name."""

import json

import polars as pl
from transformers import PreTrainedTokenizerBase

from gr2.data.catalogue import Catalogue
from gr2.errors import InputError
from gr2.files.slates import Slate, sample_slates, slates_of
from gr2.files.tables import read_slates
from gr2.language_model.chat import prompt_text
from gr2.language_model.loading import load_tokenizer
from gr2.prompts.history import fit_history
from gr2.prompts.prompt import Prompt, answer_schema, render
from gr2.rl.rewards import PAIRWISE, has_pairs


def training_rows(config, catalogue: Catalogue, prompt: Prompt) -> list[dict]:
    """The train slates that the reward can be had for, or `max_slates` of them; the rest is counted on the terminal."""
    slates = slates_in(config, catalogue, "train")
    kept = [slate for slate in slates if any(slate.labels)]
    if len(kept) < len(slates):
        print(f"left out: {len(slates) - len(kept)} train slates without a relevant candidate", flush=True)
    if config.reward in PAIRWISE:
        paired = [slate for slate in kept if has_pairs(slate.labels)]
        if len(paired) < len(kept):
            print(f"left out: {len(kept) - len(paired)} train slates in which every candidate is relevant", flush=True)
        kept = paired
    if not kept:
        needed = "a relevant and a not relevant candidate" if config.reward in PAIRWISE else "a relevant candidate"
        raise InputError(f"{config.slates}: no train slate has {needed}")
    kept = sample_slates(kept, config.max_slates, config.seed)
    refuse_part_of_a_batch(len(kept), config.generation_batch_size // config.num_generations, config.slates,
                           "per_device_train_batch_size x processes x steps_per_generation / num_generations")  # fmt: skip
    return rows(config, kept, catalogue, prompt, config.shuffle_candidates)


def validation_rows(config, catalogue: Catalogue, prompt: Prompt) -> list[dict]:
    """`eval_slates` valid slates with a relevant candidate, their candidates in the order in which `gr2 rerank` shows them."""
    slates = [slate for slate in slates_in(config, catalogue, "valid") if any(slate.labels)]
    if not slates:
        raise InputError(f"{config.slates}: eval_slates {config.eval_slates}: no valid slate has a relevant candidate")
    return rows(config, sample_slates(slates, config.eval_slates, config.seed), catalogue, prompt, shuffle=False)


def slates_in(config, catalogue: Catalogue, split: str) -> list[Slate]:
    slates = read_slates(config.slates, catalogue.item_ids)
    return slates_of(slates.filter(pl.col("split") == split))


def refuse_part_of_a_batch(slates: int, batch: int, file: str, made_of: str) -> None:
    """InputError where the slates do not fill one batch, since TRL takes whole batches alone; says how many stay unused."""
    if slates < batch:
        raise InputError(
            f"{file}: {slates} train slates to learn from: expected at least {batch}, the slates of a batch ({made_of}); "
            "otherwise no step would be made"
        )
    if slates % batch:
        print(f"{slates % batch} of {slates} slates are left out of each pass, other ones each time: a batch has {batch}",
              flush=True)  # fmt: skip


def check_context(
    rows: list[dict], tokenizer: PreTrainedTokenizerBase, max_completion_length: int, context: int
) -> None:
    """InputError where a prompt and an answer are longer than the model's context: such answers would all be cut off."""
    texts = [prompt_text(tokenizer, row["prompt"]) for row in rows]
    longest = max(len(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"])
    if longest + max_completion_length > context:
        raise InputError(
            f"--max_completion_length {max_completion_length}: with a prompt of {longest} tokens that is more than the "
            f"model's context of {context}; lower it, or set --max_prompt_tokens"
        )


def rows(config, slates: list[Slate], catalogue: Catalogue, prompt: Prompt, shuffle: bool) -> list[dict]:
    """`candidates` and `labels` are in the pre-ranker's order, `shown` is the order that the prompt shows.

    A shuffled slate has one order for the whole training, each slate another.
    """
    seen = [slate.shuffled(config.seed) for slate in slates] if shuffle else slates
    if config.max_prompt_tokens is not None:
        tokenizer = load_tokenizer(config.model_name_or_path)
        seen = fit_history(seen, lambda slate: render(prompt, slate, catalogue), tokenizer, config.max_prompt_tokens)
    return [
        {
            "prompt": render(prompt, shown, catalogue),
            "schema": json.dumps(answer_schema(prompt, shown, catalogue)),
            "shown": shown.candidates,
            **{name: vars(slate)[name] for name in ("slate_id", "candidates", "labels")},
        }
        for slate, shown in zip(slates, seen, strict=True)
    ]

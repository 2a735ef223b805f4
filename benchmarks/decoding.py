"""Slates a second: a list token by token under a grammar, choice by choice, and scores of the first choice.

    python benchmarks/decoding.py                                    # the demo's student in size, and SmolLM2-135M
    python benchmarks/decoding.py --models smollm2-135m --candidates 10 --batch 512 --rounds 3      # on a GPU

Invented items with IDs of 4 levels of 256 codes, a tenth of which share their first two codes with another candidate;
histories of 1 to 20 items; the student's prompt without a trace. Weights of the new tokens are random: what is timed
does not depend on what a model knows. All three see the same prompts in the same batches on the same machine in the
same run, rounds alternate, and the median counts. Token by token is what gr2 did before: transformers' `generate` with
a mask of llguidance's for each token. The greedy lists of the first two are compared.
"""

import argparse
import statistics
import time

import numpy as np
import polars as pl
import torch
from transformers import GenerationConfig, LogitsProcessorList, PreTrainedModel

from gr2.choices.spelling import spell
from gr2.choices.walk import Drawing, ListWriter
from gr2.choices.write import begin, score_first, write_lists
from gr2.data.catalogue import Catalogue
from gr2.files.sid_tokens import sid_string, vocabulary
from gr2.files.slates import Slate
from gr2.language_model.chat import prompt_text
from gr2.language_model.loading import load_model, load_tokenizer
from gr2.language_model.scratch import small_model, train_tokenizer
from gr2.language_model.vocabulary import expand
from gr2.packaged import SMOLLM2
from gr2.prompts.answer import parse
from gr2.prompts.prompt import load_prompt
from gr2.prompts.render import render
from gr2.prompts.schema import answer_schema
from gr2.samplers.grammar_processor import GrammarProcessor

LEVELS, CODES, ITEMS = 4, 256, 2_000
PROMPT = load_prompt("student_no_trace")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["student", "smollm2-135m"])
    parser.add_argument("--candidates", type=int, nargs="+", default=[10, 20, 50])
    parser.add_argument("--batch", type=int, default=32, help="slates a batch")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--max_history", type=int, default=20)
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    print(f"{device}, {torch.get_num_threads()} threads, batches of {options.batch}")
    for name in options.models:
        model, tokenizer = open_model(name, device)
        print(f"{name}: {model.num_parameters():,} parameters, {model.dtype}, {len(tokenizer):,} tokens")
        for count in options.candidates:
            compare(model, tokenizer, draw_slates(options.batch, count, options.max_history), options.rounds)


def open_model(name: str, device: str) -> tuple:
    """A model and its tokenizer, with tokens for the IDs; bfloat16 on a GPU."""
    if name == "student":
        texts = ['{"recommendations": ["", ""]} Rerank the candidates for this user.'] * 3
        tokenizer = train_tokenizer(texts, 1000)
        model = small_model(tokenizer, hidden_size=128, layers=2, heads=4, context=4096, seed=0)
    else:
        model, tokenizer = load_model(SMOLLM2), load_tokenizer(SMOLLM2)
    expand(model, tokenizer, vocabulary(LEVELS, CODES), seed=0)
    return model.to(device, torch.bfloat16 if device == "cuda" else torch.float32).eval(), tokenizer


def draw_slates(count: int, candidates: int, max_history: int) -> tuple[Catalogue, list[Slate]]:
    rng = np.random.default_rng(0)
    codes = rng.integers(CODES, size=(ITEMS, LEVELS))
    near = rng.random(ITEMS) < 0.1
    near[0] = False
    codes[near, :2] = codes[np.flatnonzero(near) - 1, :2]
    names = [f"item{row}" for row in range(ITEMS)]
    nothing = dict.fromkeys(names, "")
    sids = dict(zip(names, map(sid_string, codes.tolist()), strict=True))
    assert len(set(sids.values())) == ITEMS
    catalogue = Catalogue(
        pl.Series(names), nothing, nothing, nothing, sids, dict(zip(names, map(tuple, codes.tolist())))
    )
    slates = []
    for index in range(count):
        first = rng.integers(ITEMS - candidates)  # neighbours, so that some share the start of their IDs
        history = [names[row] for row in rng.integers(ITEMS, size=rng.integers(1, max_history + 1))]
        slates.append(Slate(f"s{index}", history, names[first : first + candidates]))
    return catalogue, slates


def compare(model: PreTrainedModel, tokenizer, drawn: tuple[Catalogue, list[Slate]], rounds: int) -> None:
    catalogue, slates = drawn
    prompts = [
        tokenizer(prompt_text(tokenizer, render(PROMPT, slate, catalogue)), add_special_tokens=False)["input_ids"]
        for slate in slates
    ]
    spellings = [spell(tokenizer, [catalogue.sid[item] for item in slate.candidates]) for slate in slates]
    schemas = [answer_schema(PROMPT, slate, catalogue) for slate in slates]
    passes = count_passes(model)

    def by_token() -> list[list[str]]:
        texts = token_by_token(model, tokenizer, prompts, schemas, 4000)
        return [parse(text, slate.candidates, catalogue.sid, False).ranking for text, slate in zip(texts, slates)]

    def by_choice() -> list[list[str]]:
        writers = [
            ListWriter(spelling, prompt + spelling.opening, Drawing()) for spelling, prompt in zip(spellings, prompts)
        ]
        write_lists(begin(model, writers), writers)
        return [[slate.candidates[index] for index in writer.order] for writer, slate in zip(writers, slates)]

    def by_first() -> list:
        writers = [
            ListWriter(spelling, prompt + spelling.opening, Drawing()) for spelling, prompt in zip(spellings, prompts)
        ]
        return score_first(begin(model, writers), writers)

    systems = {"token by token": by_token, "choices": by_choice, "first choice": by_first}
    seconds, answers, used = {name: [] for name in systems}, {}, {}
    for _ in range(rounds):
        for name, system in systems.items():
            passes[0] = 0
            started = time.perf_counter()
            with torch.inference_mode():
                answers[name] = system()
            if model.device.type == "cuda":
                torch.cuda.synchronize()
            seconds[name].append(time.perf_counter() - started)
            used[name] = passes[0]
    same = np.mean([a == b for a, b in zip(answers["token by token"], answers["choices"])])
    slowest = statistics.median(seconds["token by token"])
    tokens = np.mean([len(spelling.opening + spelling.write(range(len(spelling.items)))) for spelling in spellings])
    print(
        f"  {len(slates[0].candidates)} candidates, prompts of {np.mean([*map(len, prompts)]):.0f} tokens, answers of {tokens:.0f}; same lists {same:.2f}"
    )
    for name in systems:
        took = statistics.median(seconds[name])
        print(
            f"    {name:15} {len(slates) / took:8.1f} slates/s {slowest / took:6.1f}x  {used[name]} passes", flush=True
        )


def count_passes(model: PreTrainedModel) -> list[int]:
    passes = [0]

    def count(*_) -> None:
        passes[0] += 1

    model.register_forward_pre_hook(count)
    return passes


def token_by_token(
    model: PreTrainedModel, tokenizer, prompts: list[list[int]], schemas: list[dict], longest: int
) -> list[str]:
    inputs = tokenizer.pad({"input_ids": prompts}, padding_side="left", return_tensors="pt").to(model.device)
    generation = GenerationConfig(
        do_sample=False,
        max_new_tokens=longest,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    processors = LogitsProcessorList([GrammarProcessor(tokenizer, schemas)])
    output = model.generate(**inputs, generation_config=generation, logits_processor=processors)
    return tokenizer.batch_decode(output[:, inputs["input_ids"].shape[1] :], skip_special_tokens=False)


if __name__ == "__main__":
    main()

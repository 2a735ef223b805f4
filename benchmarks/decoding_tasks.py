"""Invented slates for decoding.py, and the models that it compares."""

from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from gr2.choices.spelling import Spelling, spell
from gr2.choices.walk import Drawing, ListWriter
from gr2.data.catalogue import Catalogue
from gr2.files.sid_tokens import sid_string, vocabulary
from gr2.files.slates import Slate
from gr2.language_model.chat import prompt_text
from gr2.language_model.loading import load_model, load_tokenizer
from gr2.language_model.scratch import small_model, train_tokenizer
from gr2.language_model.vocabulary import expand
from gr2.packaged_models import SMOLLM2
from gr2.prompts.prompt import load_prompt
from gr2.prompts.render import render
from gr2.prompts.schema import answer_schema

LEVELS, CODES, ITEMS, MAX_HISTORY = 4, 256, 2_000, 20
PROMPT = load_prompt("student_no_trace")


@dataclass(frozen=True)
class Task:
    """A slate as each of the systems needs it. sids: of its candidates."""

    prompt: list[int]
    sids: list[str]
    schema: dict
    spelling: Spelling

    @property
    def answer_tokens(self) -> int:
        return len(self.spelling.opening + self.spelling.write(range(len(self.sids))))

    def writer(self, drawing: Drawing) -> ListWriter:
        return ListWriter(self.spelling, self.prompt + self.spelling.opening, drawing)


def open_model(name: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A model in float32 and its tokenizer, with tokens for the IDs."""
    if name == "student":
        texts = ['{"recommendations": ["", ""]} Rerank the candidates for this user.'] * 3
        tokenizer = train_tokenizer(texts, 1000)
        model = small_model(tokenizer, hidden_size=128, layers=2, heads=4, context=8192, seed=0)
    else:
        model, tokenizer = load_model(SMOLLM2), load_tokenizer(SMOLLM2)
    expand(model, tokenizer, vocabulary(LEVELS, CODES), seed=0)
    return model.to("cuda" if torch.cuda.is_available() else "cpu").eval(), tokenizer


def draw_slates(count: int, candidates: int) -> tuple[Catalogue, list[Slate]]:
    """Neighbours are candidates of a slate, so that some share the start of their IDs; one of them is relevant."""
    rng = np.random.default_rng(0)
    codes = rng.integers(CODES, size=(ITEMS, LEVELS))
    near = rng.random(ITEMS) < 0.1
    near[0] = False
    codes[near, :2] = codes[np.flatnonzero(near) - 1, :2]
    names = [f"item{row}" for row in range(ITEMS)]
    untold = dict.fromkeys(names, "")
    sids = dict(zip(names, map(sid_string, codes.tolist()), strict=True))
    assert len(set(sids.values())) == ITEMS
    slates = []
    for number in range(count):
        first = rng.integers(ITEMS - candidates)
        history = [names[row] for row in rng.integers(ITEMS, size=rng.integers(1, MAX_HISTORY + 1))]
        labels = [0.0] * candidates
        labels[number % candidates] = 1.0
        slates.append(Slate(f"s{number}", history, names[first : first + candidates], labels))
    return Catalogue(pl.Series(names), untold, untold, untold, sids, {}), slates


def draw_tasks(tokenizer: PreTrainedTokenizerBase, count: int, candidates: int) -> list[Task]:
    """Sorted by the length of their prompts."""
    catalogue, slates = draw_slates(count, candidates)
    tasks = []
    for slate in slates:
        text = prompt_text(tokenizer, render(PROMPT, slate, catalogue))
        prompt = tokenizer(text, add_special_tokens=False)["input_ids"]
        ids = [catalogue.sid[item] for item in slate.candidates]
        tasks.append(Task(prompt, ids, answer_schema(PROMPT, slate, catalogue), spell(tokenizer, ids)))
    return sorted(tasks, key=lambda task: len(task.prompt))

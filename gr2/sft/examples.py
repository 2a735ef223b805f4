"""What SFT learns from: train slates with an accepted trace, or with a teacher's ranking.

Examples are rows, not random transforms: a resumed training finds the same example at the same index.
"""

from dataclasses import dataclass, replace

import polars as pl
from transformers import PreTrainedTokenizerBase

from gr2.data.catalogue import Catalogue
from gr2.data.teacher_rankings import read_teacher_slates
from gr2.errors import InputError
from gr2.files.sid_tokens import SID
from gr2.files.slates import Slate, read_slate_table, slates_of
from gr2.prompts.answer import write_answer
from gr2.prompts.history import fit_history
from gr2.prompts.prompt import Prompt
from gr2.prompts.render import render, shown_items
from gr2.traces.store import read_traces

TRACE_COLUMNS = ("slate_id", "accepted", "reasoning", "ranking")


@dataclass(frozen=True)
class Example:
    """A slate and the trace that the student learns for it."""

    slate: Slate
    reasoning: str | None
    ranking: list[str]
    shares: dict[str, float] | None = None  # the teacher's, by candidate

    def chat(self, prompt: Prompt, catalogue: Catalogue) -> tuple[list[dict[str, str]], str]:
        """(the prompt's messages, the answer)."""
        reasoning = self.reasoning if prompt.has_trace else None
        return render(prompt, self.slate, catalogue), write_answer(reasoning, self.ranking, catalogue)


def read_train_slates(slates_file: str, item_ids: pl.Series) -> list[Slate]:
    """Without `sources`, which no prompt shows."""
    table = read_slate_table(slates_file, item_ids).filter(pl.col("split") == "train")
    return slates_of(table.drop("sources", strict=False))


def read_examples(
    slates_file: str, traces_files: list[str], item_ids: pl.Series, explained: bool = False
) -> list[Example]:
    """The train slates with an accepted trace, in file order, each with its first one.

    InputError for a trace of a slate that is not in the train split, or an accepted one whose ranking is not of its
    slate's candidates: the same slate_id is given to another pre-ranker's list for that event. With `explained` also
    for an accepted one without an explanation.
    """
    slates = read_train_slates(slates_file, item_ids)
    candidates = {slate.slate_id: slate.candidates for slate in slates}
    traces: dict[str, dict] = {}
    for file in traces_files:
        for row, trace in enumerate(read_traces(file, TRACE_COLUMNS)):
            slate_id = trace["slate_id"]
            if slate_id not in candidates:
                raise InputError(f"{file}: row {row}, slate_id '{slate_id}': expected a train slate of {slates_file}")
            if not trace["accepted"]:
                continue
            if sorted(trace["ranking"] or []) != sorted(candidates[slate_id]):
                expected = f"the {len(candidates[slate_id])} candidates of slate_id '{slate_id}' in {slates_file}"
                raise InputError(f"{file}: row {row}, column 'ranking': expected {expected}; is it of other slates?")
            if explained and not trace["reasoning"].strip():
                expected = "expected an explanation, for which --prompt asks"
                raise InputError(f"{file}: row {row}, slate_id '{slate_id}', column 'reasoning': {expected}")
            traces.setdefault(slate_id, trace)
    if not traces:
        raise InputError(f"{', '.join(traces_files)}: no accepted trace")
    print(f"{len(traces)} slates with an accepted trace", flush=True)
    pairs = [(slate, traces[slate.slate_id]) for slate in slates if slate.slate_id in traces]
    return [Example(slate, trace["reasoning"], trace["ranking"]) for slate, trace in pairs]


def read_lessons(slates_file: str, item_ids: pl.Series, teacher: str, *mixture: float) -> list[Example]:
    """The train slates that the teacher ranked, each in the order of its shares; mixture: see `read_teacher_slates`."""
    slates = read_train_slates(slates_file, item_ids)
    ranked = read_shares(teacher, slates, *mixture)
    print(f"{len(ranked)} slates in the order of {teacher}", flush=True)
    return [Example(slate, None, sorted(shares, key=shares.get, reverse=True), shares) for slate, shares in ranked]


def add_shares(examples: list[Example], teacher: str, *mixture: float) -> list[Example]:
    """The examples, of traces, with their teacher's shares; without those that it teaches nothing."""
    ranked = read_shares(teacher, [example.slate for example in examples], *mixture)
    shares = {slate.slate_id: of_slate for slate, of_slate in ranked}
    known = [example for example in examples if example.slate.slate_id in shares]
    if len(known) < len(examples):
        print(f"left out: {len(examples) - len(known)} examples that {teacher} teaches nothing", flush=True)
    return [replace(example, shares=shares[example.slate.slate_id]) for example in known]


def read_shares(teacher: str, slates: list[Slate], *mixture: float) -> list[tuple[Slate, dict[str, float]]]:
    """The slates of `read_teacher_slates` with two candidates or more, and what the teacher gives each candidate."""
    ranked = [slate for slate in read_teacher_slates(teacher, slates, *mixture) if len(slate.candidates) > 1]
    if not ranked:
        raise InputError(f"--teacher {teacher}: expected slates with two candidates or more")
    return [(slate, dict(zip(slate.candidates, slate.labels, strict=True))) for slate in ranked]


def shuffle(examples: list[Example], orders: int, seed: int) -> list[Example]:
    """All examples `orders` times, one pass after the other, each time with the candidates in another random order."""
    orders = [(order, example) for order in range(orders) for example in examples]
    return [replace(example, slate=example.slate.shuffled(seed, order)) for order, example in orders]


def fit_histories(
    examples: list[Example], prompt: Prompt, catalogue: Catalogue, tokenizer: PreTrainedTokenizerBase, budget: int
) -> list[Example]:
    """The examples with histories shortened until their prompts have at most `budget` tokens."""
    slates = [example.slate for example in examples]
    fitted = fit_history(slates, lambda slate: render(prompt, slate, catalogue), tokenizer, budget)
    return [replace(example, slate=slate) for example, slate in zip(examples, fitted, strict=True)]


def drop_hidden_citations(examples: list[Example], prompt: Prompt, catalogue: Catalogue) -> list[Example]:
    """The examples whose explanation cites only items that the student's prompt shows; prints how many are left out."""
    if not prompt.has_trace:
        return examples

    def cites_only_shown(example: Example) -> bool:
        shown = {catalogue.sid[item_id] for item_id in shown_items(prompt, example.slate)}
        return shown.issuperset(match[0] for match in SID.finditer(example.reasoning))

    kept = [example for example in examples if cites_only_shown(example)]
    if not kept:
        limits = "max_history and --max_prompt_tokens: expected no less than the teacher saw"
        raise InputError(f"every explanation cites an item that the prompt '{prompt.name}' does not show; {limits}")
    if len(kept) < len(examples):
        dropped = f"{len(examples) - len(kept)} of {len(examples)} examples"
        print(f"left out: {dropped}, whose explanation cites an item that the prompt does not show", flush=True)
    return kept

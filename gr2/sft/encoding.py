"""Examples as tokens: what a training reads of each, and what of it is learned, with which weight."""

from collections.abc import Callable

import pyarrow
from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from gr2.choices.spelling import spell
from gr2.data.catalogue import Catalogue
from gr2.errors import InputError
from gr2.language_model.chat import IGNORED, encode_turn, prompt_text, turn_end_id
from gr2.processes import map_chunks
from gr2.prompts.answer import reasoning_span
from gr2.prompts.prompt import Prompt
from gr2.prompts.render import render
from gr2.sft.examples import Example
from gr2.sft.teacher import plan_lessons

IDS, WEIGHTS = pyarrow.list_(pyarrow.int32()), pyarrow.list_(pyarrow.float32())
LESSON = {"place": pyarrow.int32(), "among": IDS, "shares": WEIGHTS, "weight": pyarrow.float32()}
TYPES = {"input_ids": IDS, "labels": IDS, "weights": WEIGHTS, "lessons": pyarrow.list_(pyarrow.struct(LESSON))}


def encode(
    messages: list[dict[str, str]], answer: str, tokenizer: PreTrainedTokenizerBase, reasoning: float, ranking: float
) -> dict[str, list]:
    """A chat and its answer as `input_ids`, `labels` and `weights`, one entry a token; the prompt is not learned.

    A token has the weight `reasoning` if all of its characters are the explanation's text. Every other token of the
    assistant's turn, JSON's marks and the end of the turn too, has the weight `ranking`: without them no ranking can be
    read. An answer without a trace is all ranking.
    """
    prompt_ids, answer_ids, spans = encode_turn(tokenizer, messages, answer)
    start, end = reasoning_span(answer)
    weights = [reasoning if start <= first and last <= end else ranking for first, last in spans]
    return {
        "input_ids": prompt_ids + answer_ids,
        "labels": [IGNORED] * len(prompt_ids) + answer_ids,
        "weights": [0.0] * len(prompt_ids) + weights,
    }


def encode_choices(
    example: Example, prompt: Prompt, catalogue: Catalogue, tokenizer: PreTrainedTokenizerBase, *weights: float
) -> dict[str, list]:
    """As `encode`, with `lessons`: the list is learned by its choices, whose `place` is one of `input_ids`.

    An explanation, and what JSON writes around it, is learned by tokens.
    """
    candidates, (_, ranking) = example.slate.candidates, weights
    spelling = spell(tokenizer, [catalogue.sid[item_id] for item_id in candidates])
    order = [candidates.index(item_id) for item_id in example.ranking]
    written = spelling.write(order)
    if prompt.has_trace:
        row = encode(*example.chat(prompt, catalogue), tokenizer, *weights)
        end = len(row["labels"]) - row["labels"][::-1].index(turn_end_id(tokenizer))
        row = {name: values[: end - len(written)] for name, values in row.items()}
    else:
        text = prompt_text(tokenizer, render(prompt, example.slate, catalogue))
        ids = tokenizer(text, add_special_tokens=False)["input_ids"] + spelling.opening
        row = {"input_ids": ids, "labels": [IGNORED] * len(ids), "weights": [0.0] * len(ids)}
    start, length = len(row["input_ids"]), len(written)
    lessons = plan_lessons(spelling, order, [example.shares[item_id] for item_id in candidates])
    return {
        "input_ids": row["input_ids"] + written,
        "labels": row["labels"] + [IGNORED] * length,
        "weights": row["weights"] + [0.0] * length,
        "lessons": [vars(one) | {"place": start + one.place, "weight": ranking * one.weight} for one in lessons],
    }


def encode_all(examples: list[Example], encode: Callable[[Example], dict[str, list]]) -> Dataset:
    """The columns that `encode` makes of every example, on all cores; in 32 bits, as a batch has its numbers."""

    def encode_chunk(chunk: list[Example]) -> pyarrow.Table:
        rows = [encode(example) for example in chunk]
        return pyarrow.Table.from_pylist(rows, pyarrow.schema({name: TYPES[name] for name in rows[0]}))

    return Dataset(pyarrow.concat_tables(map_chunks(encode_chunk, examples, "encoding")))


def check_lengths(lengths: list[int], max_length: int | None) -> None:
    """Prints the examples' lengths in tokens; InputError for one above `max_length`: cut, it would lose its answer."""
    print(f"tokens an example: median {sorted(lengths)[len(lengths) // 2]}, longest {max(lengths)}", flush=True)
    if max_length is not None and max(lengths) > max_length:
        advice = "raise --max_length, or shorten histories with --max_prompt_tokens"
        raise InputError(f"--max_length {max_length}: the longest example has {max(lengths)} tokens; {advice}")

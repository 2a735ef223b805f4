"""SFT's examples as tokens, with a weight for each."""

import pyarrow
from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from gr2.data.catalogue import Catalogue
from gr2.errors import InputError
from gr2.language_model.chat import IGNORED, encode_turn
from gr2.processes import map_chunks
from gr2.prompts.answer import reasoning_span
from gr2.prompts.prompt import Prompt
from gr2.sft.examples import Example


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


def encode_examples(
    examples: list[Example],
    prompt: Prompt,
    catalogue: Catalogue,
    tokenizer: PreTrainedTokenizerBase,
    reasoning: float,
    ranking: float,
) -> Dataset:
    """`encode` of every example, on all cores: 50,000 slates take a minute on one."""

    def encode_chunk(chunk: list[Example]) -> pyarrow.Table:
        chats = [example.chat(prompt, catalogue) for example in chunk]
        return pyarrow.Table.from_pylist([encode(*chat, tokenizer, reasoning, ranking) for chat in chats])

    return Dataset(pyarrow.concat_tables(map_chunks(encode_chunk, examples, "encoding")))


def check_lengths(lengths: list[int], max_length: int | None) -> None:
    """Prints the examples' lengths in tokens; InputError for one above `max_length`: cut, it would lose its answer."""
    print(f"tokens an example: median {sorted(lengths)[len(lengths) // 2]}, longest {max(lengths)}", flush=True)
    if max_length is not None and max(lengths) > max_length:
        raise InputError(
            f"--max_length {max_length}: the longest example has {max(lengths)} tokens; raise --max_length, or "
            "shorten histories with --max_prompt_tokens"
        )

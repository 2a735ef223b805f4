"""Checks, before anything is sampled, that an answer fits into max_tokens at all."""

from transformers import PreTrainedTokenizerBase

from gr2.data.catalogue import Catalogue
from gr2.errors import InputError
from gr2.files.slates import Slate
from gr2.prompts.answer import write_answer
from gr2.prompts.prompt import Prompt

CHUNK = 1000  # answers tokenised at once


def check_room(
    slates: list[Slate],
    catalogue: Catalogue,
    prompt: Prompt,
    tokenizer: PreTrainedTokenizerBase,
    limit: int,
    option: str = "max_tokens",
) -> None:
    """InputError if the shortest answer that ranks a slate, its end included, has more than `limit` tokens.

    option: the limit's name.
    """
    reasoning = "." if prompt.has_trace else None
    for start in range(0, len(slates), CHUNK):
        chunk = slates[start : start + CHUNK]
        answers = [write_answer(reasoning, slate.candidates, catalogue) for slate in chunk]
        for slate, ids in zip(chunk, tokenizer(answers, add_special_tokens=False)["input_ids"], strict=True):
            if len(ids) + 1 > limit:
                raise InputError(
                    f"--{option} {limit}: expected at least {len(ids) + 1}, the tokens of the shortest answer for "
                    f"the {len(slate.candidates)} candidates of slate_id '{slate.slate_id}'"
                )

"""Whether an answer fits into max_tokens at all: counted before anything is sampled."""

from transformers import PreTrainedTokenizerBase

from gr2.data.catalogue import Catalogue
from gr2.errors import InputError
from gr2.files.slates import Slate
from gr2.prompts.answer import write_answer
from gr2.prompts.prompt import Prompt


def check_room(
    slates: list[Slate],
    catalogue: Catalogue,
    prompt: Prompt,
    tokenizer: PreTrainedTokenizerBase,
    limit: int,
    option: str = "max_tokens",
) -> None:
    """InputError where the shortest answer that ranks a slate has more than `limit` tokens, its end included.

    slates: `slate_id` and `candidates` are read. option: the limit's name.
    """
    reasoning = "." if prompt.has_trace else None
    for start in range(0, len(slates), 1000):
        part = slates[start : start + 1000]
        answers = [write_answer(reasoning, slate.candidates, catalogue) for slate in part]
        for slate, tokens in zip(part, tokenizer(answers, add_special_tokens=False)["input_ids"], strict=True):
            if len(tokens) + 1 > limit:
                raise InputError(
                    f"--{option} {limit}: expected at least {len(tokens) + 1}, the tokens of the shortest answer for "
                    f"the {len(slate.candidates)} candidates of slate_id '{slate.slate_id}'"
                )

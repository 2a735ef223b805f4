"""Shortens histories until a slate's prompt fits into a budget of tokens: measured, never cut blindly."""

import bisect
from collections.abc import Callable
from typing import TYPE_CHECKING

from gr2.errors import InputError
from gr2.files.slates import Slate

if TYPE_CHECKING:  # slow to import
    from transformers import PreTrainedTokenizerBase


def fit_history(
    slates: list[Slate],
    messages: Callable[[Slate], list[dict[str, str]]],
    tokenizer: "PreTrainedTokenizerBase",
    max_prompt_tokens: int,
) -> list[Slate]:
    """The slates, each with its longest latest history that its prompt has room for; prints how many were shortened.

    `messages` renders a slate as a chat; its tokens are counted under the model's own chat template, up to where the
    answer begins. Every stage that shows a slate to the same model should pass the same prompt and budget, so that all
    see the same history. InputError if not even one item fits.
    """

    def count_tokens(slate: Slate, kept: int) -> int:
        chat = messages(slate.with_latest(kept))
        return len(tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=True, return_dict=False))

    def shorten(slate: Slate) -> Slate:
        length = len(slate.history)
        if count_tokens(slate, length) <= max_prompt_tokens:
            return slate
        # A prompt grows with each item kept, and bisection returns a length that it has measured.
        kept = bisect.bisect_right(range(1, length + 1), max_prompt_tokens, key=lambda kept: count_tokens(slate, kept))
        if kept == 0:
            least = f"{count_tokens(slate, 1)} prompt tokens with a single history item; expected as many or more"
            raise InputError(f"--max_prompt_tokens {max_prompt_tokens}: slate_id '{slate.slate_id}' has {least}")
        return slate.with_latest(kept)

    fitted = [shorten(slate) for slate in slates]
    shortened = sum(len(new.history) < len(old.history) for new, old in zip(fitted, slates, strict=True))
    print(f"{shortened} of {len(slates)} histories shortened to fit {max_prompt_tokens} prompt tokens", flush=True)
    return fitted

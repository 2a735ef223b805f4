"""Histories shortened until a slate's prompt fits into a budget of tokens: measured, never cut blindly."""

import bisect
from collections.abc import Callable
from dataclasses import replace

from transformers import PreTrainedTokenizerBase

from gr2.errors import InputError
from gr2.files.slates import Slate


def fit_history(
    slates: list[Slate],
    messages: Callable[[dict], list[dict[str, str]]],
    tokenizer: PreTrainedTokenizerBase,
    max_prompt_tokens: int,
) -> list[dict]:
    """The slates, each with as many of its latest history items as its prompt has room for; says how many were shortened.

    `messages` renders a slate as a chat; its tokens are counted under the model's own chat template, up to where the
    answer begins. Every stage that shows a slate to the same model should pass the same prompt and budget, so that all
    see the same history. InputError where not even one item fits.
    """

    def tokens(slate: Slate, kept: int) -> int:
        chat = messages(replace(slate, history=slate.history[-kept:]))
        return len(tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=True, return_dict=False))

    def fitted(slate: Slate) -> dict:
        length = len(slate.history)
        if tokens(slate, length) <= max_prompt_tokens:
            return slate
        # With each item kept a prompt grows; bisection returns a length that it has measured.
        kept = bisect.bisect_right(range(1, length + 1), max_prompt_tokens, key=lambda count: tokens(slate, count))
        if kept == 0:
            raise InputError(f"max_prompt_tokens {max_prompt_tokens}: slate_id '{slate.slate_id}' has {tokens(slate, 1)} "
                             "prompt tokens with a single history item; expected a larger budget")  # fmt: skip
        return replace(slate, history=slate.history[-kept:])

    fit = [fitted(slate) for slate in slates]
    shortened = sum(len(new.history) < len(old.history) for new, old in zip(fit, slates, strict=True))
    print(
        f"{shortened} of {len(slates)} histories shortened: prompts of at most {max_prompt_tokens} tokens", flush=True
    )
    return fit

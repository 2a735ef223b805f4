"""Checked before anything is trained or sampled: an answer fits a model's tokenizer, chat template and max_tokens."""

from typing import TYPE_CHECKING

from gr2.choices.spelling import spell
from gr2.data.catalogue import Catalogue
from gr2.errors import InputError
from gr2.files.slates import Slate
from gr2.language_model.chat import encode_turn, prompt_text, turn_end, turn_end_id
from gr2.packaged_models import resolve
from gr2.prompts.answer import parse, write_answer
from gr2.prompts.prompt import Prompt
from gr2.prompts.render import render
from gr2.prompts.schema import answer_schema
from gr2.samplers.base import stop_token_ids

if TYPE_CHECKING:  # slow to import
    from transformers import PreTrainedTokenizerBase

CHUNK = 1000  # answers tokenised at once


def check_answer(
    name_or_path: str, tokenizer: "PreTrainedTokenizerBase", prompt: Prompt, slate: Slate, catalogue: Catalogue
) -> None:
    """InputError unless one slate's answer survives: as tokens and back, piece by piece, to its end, under the grammar.

    `slate` may be any real one. The grammar of a prompt with a pattern is only built.
    """
    if tokenizer.chat_template is None:
        raise InputError(f"{name_or_path}: the tokenizer has no chat template; expected a model made for chats")
    messages = render(prompt, slate, catalogue)
    answer = write_answer("It comes next." if prompt.has_trace else None, slate.candidates, catalogue)
    _, ids, _ = encode_turn(tokenizer, messages, answer)
    shown = prompt_text(tokenizer, messages)
    if not all(message["content"].strip() in shown for message in messages):
        raise InputError(f"{name_or_path}: its chat template does not show the whole prompt '{prompt.name}'")
    end = turn_end_id(tokenizer)
    if end not in ids or end not in stop_token_ids(resolve(name_or_path), tokenizer):
        mark = turn_end(tokenizer).strip()
        expected = "eos_token or an entry of generation_config.json's eos_token_id"
        raise InputError(f"{name_or_path}: its chat template ends a turn with {mark!r}: expected {expected}")
    ids = ids[: ids.index(end)]
    text = tokenizer.decode(ids, skip_special_tokens=False)
    if parse(text, slate.candidates, catalogue.sid, prompt.has_trace).ranking != slate.candidates:
        change = f"{answer[-60:]!r} comes back as {text[-60:]!r}"
        raise InputError(f"{name_or_path}: its tokenizer does not keep an answer: {change}")
    check_list(tokenizer, [catalogue.sid[item_id] for item_id in slate.candidates], [*ids, end])
    if prompt.has_trace:
        check_explanation(tokenizer, answer_schema(prompt, slate, catalogue), [] if prompt.pattern else ids)


def check_list(tokenizer: "PreTrainedTokenizerBase", sids: list[str], ids: list[int]) -> None:
    """InputError unless a list in another order has the same pieces; `ids`: an answer that ends with the list."""
    spelling = spell(tokenizer, sids)
    order = list(range(len(sids)))
    if ids[-len(spelling.write(order)) :] != spelling.write(order):
        pieces = tokenizer.convert_ids_to_tokens(ids)
        raise InputError(f"{tokenizer.name_or_path}: it writes a list after an explanation in other tokens: {pieces}")
    if spell(tokenizer, sids[::-1]).write(order[::-1]) != spelling.write(order):
        raise InputError(
            f"{tokenizer.name_or_path}: its tokenizer splits an ID otherwise when the order changes; take another model"
        )


def check_explanation(tokenizer: "PreTrainedTokenizerBase", schema: dict, ids: list[int]) -> None:
    """InputError if llguidance cannot read the tokenizer, or the explanation's grammar does not admit `ids`."""
    from gr2.samplers.explanations import Grammars

    name = tokenizer.name_or_path
    try:
        matcher = Grammars(tokenizer, [schema], [len(ids)]).matchers[0]
        admitted = matcher.try_consume_tokens(ids)
    except BaseException as error:  # llguidance is Rust: a panic there is no Exception
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        raise InputError(f"{name}: no grammar can be made for its tokenizer ({error})") from None
    if admitted < len(ids) and not matcher.is_accepting():
        token = tokenizer.decode(ids[admitted])
        raise InputError(f"{name}: the grammar does not admit an answer's token {token!r}")


def check_room(
    slates: list[Slate],
    catalogue: Catalogue,
    prompt: Prompt,
    tokenizer: "PreTrainedTokenizerBase",
    limit: int,
    option: str = "max_tokens",
) -> None:
    """InputError if the shortest answer that ranks a slate, its end included, is above `limit`, the option's value."""
    reasoning = "." if prompt.has_trace else None
    for start in range(0, len(slates), CHUNK):
        chunk = slates[start : start + CHUNK]
        answers = [write_answer(reasoning, slate.candidates, catalogue) for slate in chunk]
        for slate, ids in zip(chunk, tokenizer(answers, add_special_tokens=False)["input_ids"], strict=True):
            if len(ids) + 1 > limit:
                what = f"tokens of the shortest answer for the {len(slate.candidates)} candidates"
                least = f"expected at least {len(ids) + 1}, the {what} of slate_id '{slate.slate_id}'"
                raise InputError(f"--{option} {limit}: {least}")

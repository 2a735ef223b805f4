"""The chat as a model reads it: the one place that knows where a prompt ends and an answer begins, in text and tokens.

A training example is the inference prompt plus the answer plus the end of the turn, token for token. What a template
writes before an answer (Qwen3's empty block of thoughts) belongs to the prompt and is never learned.
"""

from typing import TYPE_CHECKING

from jinja2 import TemplateError

from gr2.errors import InputError

if TYPE_CHECKING:  # slow to import
    from transformers import PreTrainedTokenizerBase

IGNORED = -100  # the label of a token that does not count in the loss
PROBE = [{"role": "system", "content": "SYSTEM-WORDS"}, {"role": "user", "content": "USER-WORDS"}]
ANSWER = {"role": "assistant", "content": "ANSWER-WORDS"}
WITHOUT_THOUGHTS = "{%- set enable_thinking = false %}"
SYSTEM_IN_USER = (
    "{%- if messages and messages[0]['role'] == 'system' %}{%- set messages = [{'role': 'user', 'content': "
    "messages[0]['content'] + '\\n\\n' + messages[1]['content']}] + messages[2:] %}{%- endif %}"
)
NO_THOUGHTS = "\n</think>\n\n"  # closes a block that the template opens


def prompt_text(tokenizer: "PreTrainedTokenizerBase", messages: list[dict[str, str]]) -> str:
    """The messages as text, up to where the assistant's answer begins."""
    return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)


def encode_turn(
    tokenizer: "PreTrainedTokenizerBase", messages: list[dict[str, str]], answer: str
) -> tuple[list[int], list[int], list[tuple[int, int]]]:
    """(the prompt's tokens, the tokens of answer and end of turn, and the start and end of each of these in `answer`).

    The prompt's tokens are those of the prompt alone, as at inference. The answer is tokenised together with the
    prompt, unless that changes the prompt's tokens.
    """
    prompt, text = prompt_text(tokenizer, messages), answer + turn_end(tokenizer)
    prompt_ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    encoded, start = tokenizer(prompt + text, add_special_tokens=False, return_offsets_mapping=True), len(prompt)
    ids, offsets = encoded["input_ids"][len(prompt_ids) :], encoded["offset_mapping"][len(prompt_ids) :]
    if encoded["input_ids"][: len(prompt_ids)] != prompt_ids:
        encoded, start = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True), 0
        ids, offsets = encoded["input_ids"], encoded["offset_mapping"]
    return prompt_ids, ids, [(first - start, last - start) for first, last in offsets]


def turn_end(tokenizer: "PreTrainedTokenizerBase") -> str:
    """What the template writes after an answer, the token that ends the turn first."""
    text = tokenizer.apply_chat_template([*PROBE, ANSWER], tokenize=False)
    return text.rpartition(ANSWER["content"])[2].lstrip(" ") or tokenizer.eos_token


def turn_end_id(tokenizer: "PreTrainedTokenizerBase") -> int:
    """The token that ends an answer."""
    return tokenizer.encode(turn_end(tokenizer), add_special_tokens=False)[0]


def answer_at_once(tokenizer: "PreTrainedTokenizerBase") -> None:
    """Changes the chat template, in place, so that trainers, engines and servers all render our prompt with it.

    Thinking is off: by the template's own switch, or by an empty block of thoughts at the end of the prompt. A template
    without a system role (Gemma) gets the system message at the start of the user's. A template that does all this
    already is not changed. InputError if the changed template still drops the system or the user message.
    """
    if tokenizer.chat_template is None:
        return
    if not isinstance(tokenizer.chat_template, str):
        raise InputError(f"{tokenizer.name_or_path}: expected one chat template, found several")
    if not _shows_messages(tokenizer):
        tokenizer.chat_template = SYSTEM_IN_USER + tokenizer.chat_template
    if not _shows_messages(tokenizer):
        name = tokenizer.name_or_path
        raise InputError(f"{name}: its chat template does not show a system message and a user message")
    silent = tokenizer.apply_chat_template(PROBE, tokenize=False, add_generation_prompt=True, enable_thinking=False)
    if silent != prompt_text(tokenizer, PROBE):
        tokenizer.chat_template = WITHOUT_THOUGHTS + tokenizer.chat_template
    if before_answer := _missing(tokenizer, silent):
        written = before_answer.replace("\\", "\\\\").replace("\n", "\\n").replace("'", "\\'")
        tokenizer.chat_template = tokenizer.chat_template.removesuffix("\n") + (
            "{% if add_generation_prompt %}{{ '" + written + "' }}{% endif %}"
        )
    if prompt_text(tokenizer, PROBE) != silent + before_answer:
        raise InputError(f"{tokenizer.name_or_path}: its chat template cannot be told to answer without thinking")


def _shows_messages(tokenizer: "PreTrainedTokenizerBase") -> bool:
    try:
        text = prompt_text(tokenizer, PROBE)
    except TemplateError:
        return False
    return all(message["content"] in text for message in PROBE)


def _missing(tokenizer: "PreTrainedTokenizerBase", prompt: str) -> str:
    """What the template's prompt lacks before an answer: the end of a block of thoughts, or a mark."""
    if prompt.rstrip().endswith("<think>"):
        return NO_THOUGHTS.removeprefix("\n" if prompt.endswith("\n\n") else "")
    chat = tokenizer.apply_chat_template([*PROBE, ANSWER], tokenize=False)
    if not chat.startswith(prompt):
        return ""
    between = chat[len(prompt) :].partition(ANSWER["content"])[0]
    return between if between.strip() else ""

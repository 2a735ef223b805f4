import json
from pathlib import Path

import pytest

from gr2.data.catalogue import read_catalogue
from gr2.errors import InputError
from gr2.files.sid_tokens import vocabulary
from gr2.files.slates import Slate
from gr2.language_model.chat import answer_at_once, encode_turn, prompt_text
from gr2.language_model.scratch import train_tokenizer
from gr2.prompts.answer import parse, write_answer
from gr2.prompts.prompt import load_prompt
from gr2.prompts.render import render
from gr2.sft.encoding import encode

TEMPLATES = Path(__file__).parent / "templates"
# The family's first token, the end of its turns, and how its prompt ends once it answers at once.
FAMILIES = {
    "qwen3": (None, "<|im_end|>", "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"),
    "smollm2": ("<|im_start|>", "<|im_end|>", "<|im_end|>\n<|im_start|>assistant\n"),
    "llama3": ("<|begin_of_text|>", "<|eot_id|>", "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"),
    "mistral": ("<s>", "</s>", "[/INST]"),
    "gemma": ("<bos>", "<end_of_turn>", "<end_of_turn>\n<start_of_turn>model\n"),
    "deepseek_r1_distill": ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>",
                            "<｜Assistant｜><think>\n\n</think>\n\n"),
}  # fmt: skip
MARKS = [
    "<|start_header_id|>",
    "<|end_header_id|>",
    "[INST]",
    "[/INST]",
    "<start_of_turn>",
    "<｜User｜>",
    "<｜Assistant｜>",
]
SLATE = Slate("s", ["film00", "film01"], ["film04", "film05", "film06"])


def tokenizer_of(family: str, template: str | None = None):
    """A tiny tokenizer with the family's own template and special tokens."""
    first, end, _ = FAMILIES[family]
    tokenizer = train_tokenizer(['{"explanation": "The history leans to Drama, so it comes first."}'] * 3, 400)
    tokenizer.chat_template = template or (TEMPLATES / f"{family}.jinja").read_text(encoding="utf-8")
    tokenizer.add_special_tokens(
        {"additional_special_tokens": MARKS, "eos_token": end} | ({"bos_token": first} if first else {})
    )
    tokenizer.add_tokens(vocabulary(3, 8))
    answer_at_once(tokenizer)
    return tokenizer


def chat_of(world) -> tuple[list[dict], str]:
    catalogue = read_catalogue(world.items, world.semantic_ids)
    messages = render(load_prompt("student"), SLATE, catalogue)
    return messages, write_answer("Drama, as before.", SLATE.candidates, catalogue)


@pytest.mark.parametrize("family", FAMILIES)
def test_training_text_is_inference_prompt_answer_and_end_of_turn(world, family):
    _, end, prompt_end = FAMILIES[family]
    tokenizer, (messages, answer) = tokenizer_of(family), chat_of(world)
    prompt = prompt_text(tokenizer, messages)
    assert prompt.endswith(prompt_end)
    assert all(message["content"].strip() in prompt for message in messages)
    row = encode(messages, answer, tokenizer, 0.3, 1.0)
    asked = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=False)
    assert row["input_ids"][: len(asked)] == asked  # what every engine and TRL send
    assert tokenizer.decode(row["input_ids"]).rstrip("\n") == prompt + answer + end
    learned = [token for token, label in zip(row["input_ids"], row["labels"], strict=True) if label != -100]
    assert learned == row["input_ids"][len(asked) :]
    catalogue = read_catalogue(world.items, world.semantic_ids)
    read = parse(tokenizer.decode(learned), SLATE.candidates, catalogue.sid)
    assert read.ranking == SLATE.candidates


@pytest.mark.parametrize("family", FAMILIES)
def test_an_answer_is_learned_with_the_weights_of_its_parts(world, family):
    tokenizer, (messages, answer) = tokenizer_of(family), chat_of(world)
    row = encode(messages, answer, tokenizer, 0.3, 1.0)
    reasoning = [token for token, weight in zip(row["input_ids"], row["weights"], strict=True) if weight == 0.3]
    ranking = [token for token, weight in zip(row["input_ids"], row["weights"], strict=True) if weight == 1.0]
    assert tokenizer.decode(reasoning) == "Drama, as before."
    assert tokenizer.decode(ranking).startswith(json.dumps({"explanation": ""})[:-1])
    assert tokenizer.decode(ranking).rstrip("\n").endswith("]}" + FAMILIES[family][1])


@pytest.mark.parametrize("family", FAMILIES)
def test_the_template_is_changed_once_and_saved_with_the_tokenizer(world, family, tmp_path):
    from gr2.language_model.loading import load_tokenizer

    tokenizer, (messages, _) = tokenizer_of(family), chat_of(world)
    tokenizer.save_pretrained(tmp_path)
    again = load_tokenizer(str(tmp_path))
    assert again.chat_template == tokenizer.chat_template
    assert prompt_text(again, messages) == prompt_text(tokenizer, messages)


def test_a_template_that_answers_at_once_already_is_left_as_it_is():
    assert tokenizer_of("smollm2").chat_template == (TEMPLATES / "smollm2.jinja").read_text(encoding="utf-8")
    assert tokenizer_of("llama3").chat_template == (TEMPLATES / "llama3.jinja").read_text(encoding="utf-8")


def test_a_mark_that_a_template_writes_before_every_answer_belongs_to_the_prompt(world):
    template = (
        "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}{% if m.role == 'assistant' %}<final>{% endif %}"
        "{{ m.content + '<|im_end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    )
    tokenizer, (messages, answer) = tokenizer_of("smollm2", template), chat_of(world)
    assert prompt_text(tokenizer, messages).endswith("<|im_start|>assistant\n<final>")
    _, learned, _ = encode_turn(tokenizer, messages, answer)
    assert tokenizer.decode(learned) == answer + "<|im_end|>\n"


def test_a_template_that_drops_messages_is_refused():
    with pytest.raises(InputError, match="does not show a system message and a user message"):
        tokenizer_of("smollm2", "{{ messages[-1]['content'][:3] }}{% if add_generation_prompt %}>{% endif %}")


def test_prompt_tokens_stay_where_the_answer_would_merge_with_them(world):
    tokenizer, (messages, _) = tokenizer_of("smollm2"), chat_of(world)
    tokenizer.chat_template = (
        tokenizer.chat_template.rstrip().removesuffix("' }}{% endif %}") + "{\"expl' }}{% endif %}"
    )
    asked = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    whole = tokenizer.encode(prompt_text(tokenizer, messages) + 'anation": "x"}', add_special_tokens=False)
    assert whole[: len(asked)] != asked
    prompt, learned, spans = encode_turn(tokenizer, messages, 'anation": "x"}')
    assert tokenizer.decode(learned) == 'anation": "x"}<|im_end|>\n'
    assert prompt == asked
    assert spans[0][0] == 0 and spans[-3][1] == len('anation": "x"}')

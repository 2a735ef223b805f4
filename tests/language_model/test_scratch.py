import torch
from hypothesis import given
from hypothesis import strategies as st

from gr2.language_model.loading import load_tokenizer
from gr2.language_model.scratch import small_model, train_tokenizer
from tests.helpers import save_model

TEXTS = ['"Toy Story (1995)", Animation > Children.', '"Heat (1995)", Crime > Drama.'] * 20
TOKENIZER = train_tokenizer(TEXTS, 320)


@given(st.text())
def test_any_text_comes_back(text):
    assert TOKENIZER.decode(TOKENIZER.encode(text, add_special_tokens=False)) == text


def test_words_of_the_catalogue_are_short():
    assert len(TOKENIZER.encode("Toy Story (1995)")) < len("Toy Story (1995)") / 2
    assert 280 < len(TOKENIZER) <= 320
    assert TOKENIZER.eos_token == "<|im_end|>" and TOKENIZER.pad_token == "<|endoftext|>"


def test_the_chat_template_is_chatml():
    messages = [{"role": "system", "content": "Rank."}, {"role": "user", "content": "a, b"}]
    prompt = TOKENIZER.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert prompt == "<|im_start|>system\nRank.<|im_end|>\n<|im_start|>user\na, b<|im_end|>\n<|im_start|>assistant\n"
    answered = TOKENIZER.apply_chat_template([*messages, {"role": "assistant", "content": "b"}], tokenize=False)
    assert answered == prompt + "b<|im_end|>\n"
    ids = TOKENIZER.encode(prompt, add_special_tokens=False)
    assert ids.count(TOKENIZER.convert_tokens_to_ids("<|im_start|>")) == 3
    assert ids.count(TOKENIZER.eos_token_id) == 2


def test_the_same_texts_give_the_same_tokenizer_and_the_same_seed_the_same_model(tmp_path):
    again = train_tokenizer(iter(TEXTS), 320)
    assert again.get_vocab() == TOKENIZER.get_vocab()
    assert again.backend_tokenizer.to_str() == TOKENIZER.backend_tokenizer.to_str()
    shape = {"hidden_size": 32, "layers": 2, "heads": 4, "context": 128}
    models = [small_model(TOKENIZER, **shape, seed=seed) for seed in (0, 0, 1)]
    weights = [torch.cat([parameter.flatten() for parameter in model.parameters()]) for model in models]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])
    config = models[0].config
    assert (config.model_type, config.num_hidden_layers, config.num_key_value_heads, config.head_dim) == (
        "qwen3",
        2,
        2,
        8,
    )
    save_model(models[0], TOKENIZER, tmp_path)
    loaded = load_tokenizer(str(tmp_path))
    assert loaded.chat_template == TOKENIZER.chat_template and loaded.encode(TEXTS[0]) == TOKENIZER.encode(TEXTS[0])


def test_a_dirty_title_makes_no_token_that_a_grammar_cannot_hold():
    """3,000 times the same letter; llguidance panics on a token of 256 bytes and more."""
    from gr2.prompts.checks import check_explanation

    tokenizer = train_tokenizer(["x" * 3000] * 5, 400)
    assert max(map(len, tokenizer.get_vocab())) <= 32
    properties = {"explanation": {"type": "string", "maxLength": 20}, "recommendations": {"type": "array"}}
    check_explanation(tokenizer, {"type": "object", "properties": properties}, [])

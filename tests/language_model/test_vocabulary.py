import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

from gr2.files.sid_tokens import sid_string, vocabulary
from gr2.language_model.loading import load_model, load_tokenizer
from gr2.language_model.scratch import train_tokenizer
from gr2.language_model.vocabulary import expand
from tests.helpers import save_model

SHAPE = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
}
TOKENS = vocabulary(3, 20)
KINDS = ["llama-tied", "llama-untied", "qwen3-larger-than-its-tokenizer"]


def base(kind):
    tokenizer = train_tokenizer(["some words of a catalogue, some titles"], 290)
    torch.manual_seed(0)
    if kind.startswith("llama"):
        config = LlamaConfig(**SHAPE, vocab_size=len(tokenizer), tie_word_embeddings=kind == "llama-tied")
        return LlamaForCausalLM(config).eval(), tokenizer
    config = Qwen3Config(**SHAPE, head_dim=8, vocab_size=len(tokenizer) + 30, tie_word_embeddings=True)
    return Qwen3ForCausalLM(config).eval(), tokenizer


def tables(model):
    return [layer.weight.detach() for layer in (model.get_input_embeddings(), model.get_output_embeddings())]


@pytest.fixture(params=KINDS)
def expanded(request):
    model, tokenizer = base(request.param)
    before = [table.clone() for table in tables(model)]
    words = len(tokenizer)
    ids = expand(model, tokenizer, TOKENS, seed=0)
    return request.param, model, tokenizer, ids, before, words


def test_every_token_is_one_id_and_no_id_is_used_twice(expanded):
    _, _, tokenizer, ids, _, words = expanded
    assert ids == list(range(words, words + len(TOKENS)))
    for token, number in zip(TOKENS, ids, strict=True):
        assert tokenizer.encode(token, add_special_tokens=False) == [number]
    sid = sid_string([1, 19, 0])
    text = f"a {sid}{sid} b"
    numbers = tokenizer.encode(text, add_special_tokens=False)
    assert sum(number >= words for number in numbers) == 10
    assert tokenizer.decode(numbers, skip_special_tokens=True) == text  # ordinary tokens: decoding keeps them


def test_the_matrix_fits_and_is_padded(expanded):
    _, model, _, ids, before, _ = expanded
    for table in tables(model):
        assert table.shape[0] % 64 == 0 and max(ids) < table.shape[0] < max(ids) + 1 + 64
        assert table.shape[0] >= before[0].shape[0]
    assert model.config.vocab_size == tables(model)[0].shape[0]


def test_old_rows_stay_and_new_rows_are_plausible_and_distinct(expanded):
    _, model, _, ids, before, words = expanded
    for table, old in zip(tables(model), before, strict=True):
        assert torch.equal(table[:words], old[:words])
        mean, spread = old[:words].mean(0), old[:words].std(0)
        new = table[ids]
        assert ((new - mean).abs() < 0.6 * spread).all()  # noise of a tenth of the spread: 6 standard deviations
        assert torch.pdist(new).min() > 0.01 * spread.norm()
        assert (0.07 * spread < (new - mean).std(0)).all() and ((new - mean).std(0) < 0.13 * spread).all()


def test_tied_stays_tied_and_untied_untied(expanded, tmp_path):
    kind, model, tokenizer, _, _, _ = expanded
    save_model(model, tokenizer, tmp_path)
    for one in (model, load_model(str(tmp_path))):
        input_table, output_table = tables(one)
        assert (input_table.data_ptr() == output_table.data_ptr()) == (kind != "llama-untied")
        assert one.config.tie_word_embeddings == (kind != "llama-untied")


def test_expanded_trained_saved_and_loaded_it_says_the_same(expanded, tmp_path):
    _, model, tokenizer, ids, _, _ = expanded
    batch = torch.tensor([tokenizer.encode("some " + sid_string([3, 4, 5]), add_special_tokens=False)])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    untrained = model(batch).logits
    model(batch, labels=batch).loss.backward()
    optimizer.step()
    with torch.inference_mode():
        expected = model(batch).logits
    assert not torch.allclose(expected, untrained, atol=1e-3)
    save_model(model, tokenizer, tmp_path)
    again, words = load_model(str(tmp_path)).eval(), load_tokenizer(str(tmp_path))
    assert words.encode("some " + sid_string([3, 4, 5]), add_special_tokens=False) == batch[0].tolist()
    with torch.inference_mode():
        assert torch.equal(again(batch).logits, expected)
    assert words.convert_tokens_to_ids(TOKENS) == ids
    assert not again.generation_config.do_sample and words.padding_side == "left"


def test_a_second_time_nothing_is_added(expanded):
    _, model, tokenizer, ids, _, _ = expanded
    before, words = [table.clone() for table in tables(model)], len(tokenizer)
    assert expand(model, tokenizer, TOKENS, seed=1) == ids
    assert len(tokenizer) == words
    assert all(torch.equal(table, old) for table, old in zip(tables(model), before, strict=True))


def test_more_codes_later_leave_the_learned_rows_alone(expanded):
    _, model, tokenizer, ids, _, _ = expanded
    before = tables(model)[0].clone()
    more = expand(model, tokenizer, vocabulary(3, 25), seed=1)
    assert set(ids) < set(more) and len(set(more)) == 2 + 75
    assert torch.equal(tables(model)[0][: max(ids) + 1], before[: max(ids) + 1])


def test_the_seed_decides_the_new_rows():
    made = []
    for seed in (0, 0, 1):
        model, tokenizer = base("llama-untied")
        expand(model, tokenizer, TOKENS, seed=seed)
        made.append(torch.cat(tables(model)))
    assert torch.equal(made[0], made[1]) and not torch.equal(made[0], made[2])

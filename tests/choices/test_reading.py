"""Reading ahead with a cache against reading everything in full, for families of models; logits at some places."""

import pytest
import torch

from gr2.choices.drawing import Drawing
from gr2.choices.reading import logits_at, shared_start
from gr2.choices.walk import ListWriter
from gr2.choices.write import begin, score_first
from gr2.errors import InputError
from gr2.language_model.scratch import train_tokenizer
from gr2.language_model.trainable import add_lora
from tests.choices.brute_force import FIVE, IDS, TEXT, read_all, spelling_of, tiny_model, write, write_all
from tests.helpers import untied_llama

LONG = [1, *range(30, 60), 8, 5]
WINDOW = {"sliding_window": 6}  # shorter than the text, and than an ID and what stands between two
FAMILIES = {
    "llama": {},
    "qwen3": {},
    "mistral": WINDOW,
    "qwen2": WINDOW | {"use_sliding_window": True, "max_window_layers": 1},
    "gemma2": WINDOW | {"attn_logit_softcapping": 2.0, "final_logit_softcapping": 3.0, "query_pre_attn_scalar": 8},
    "gemma3_text": WINDOW | {"layer_types": ["sliding_attention", "full_attention"]},
    "gpt_neox": {},
}
REFUSED = {
    "mamba": {"state_size": 8},
    "lfm2": {"layer_types": ["conv", "full_attention"]},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 0, "num_experts": 2, "use_mamba_kernels": False},
    "llama4_text": {
        "attention_chunk_size": 8,
        "layer_types": ["chunked_attention", "full_attention"],
        "num_local_experts": 2,
        "intermediate_size_mlp": 48,
    },
    "bloom": {},
}


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("family", FAMILIES)
def test_reading_ahead_is_reading_in_full(family, attention):
    model = tiny_model(family, attention, **FAMILIES[family])
    for ids in (IDS["levels"], IDS["start"]):
        spelling = spelling_of(ids)
        table = read_all(model, spelling, LONG)
        expected = table.log_probs()
        assert max(expected.values()) - min(expected.values()) > 1
        drawings = [Drawing(40.0, seed=seed) for seed in range(30)]
        writers = write(model, spelling, drawings, LONG, groups=True)
        writers += write(model, spelling, [*drawings[:4], Drawing()], LONG)
        for writer in writers:
            assert sum(writer.log_probs) == pytest.approx(expected[tuple(writer.order)], abs=1e-5)
        assert tuple(writers[-1].order) == table.greedy()


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("family", ["mistral", "gemma3_text"])
def test_a_window_counts_positions_in_a_padded_batch_too(family, attention):
    model = tiny_model(family, attention, **FAMILIES[family])
    texts = [LONG, TEXT, LONG[:1] + LONG[20:], LONG]
    for groups in (False, True):
        writers = [
            ListWriter(spelling_of(IDS["start"]), text, Drawing(2.0, seed=seed)) for seed, text in enumerate(texts)
        ]
        for writer, text in zip(write_all(model, writers, groups), texts, strict=True):
            expected = read_all(model, writer.spelling, text).log_probs()[tuple(writer.order)]
            assert sum(writer.log_probs) == pytest.approx(expected, abs=1e-5)


def test_a_window_matters():
    """Otherwise the tests above would hold without one."""
    spelling = spelling_of(IDS["pairs"])
    near, far = (
        read_all(
            tiny_model("gemma3_text", layer_types=["sliding_attention"] * 2, sliding_window=window), spelling, LONG
        )
        for window in (6, 64)
    )
    order = (0, 1, 2, 3)
    assert abs(near.log_probs()[order] - far.log_probs()[order]) > 1e-2


@pytest.mark.parametrize("kind", REFUSED)
def test_a_model_that_cannot_read_ahead_is_refused(kind):
    model = tiny_model(kind, "eager", **REFUSED[kind])
    with pytest.raises(InputError, match=f"{kind}: choices need full or sliding-window attention"):
        write(model, spelling_of(FIVE), [Drawing()])


@pytest.mark.parametrize("attention", ["flash_attention_2", "flex_attention"])
def test_an_attention_that_takes_no_mask_is_refused(attention):
    model = tiny_model("llama")
    model.config._attn_implementation = attention  # without the library and the card that it needs
    with pytest.raises(InputError, match=f"attn_implementation {attention}: expected sdpa or eager"):
        write(model, spelling_of(FIVE), [Drawing()])


@pytest.mark.parametrize("groups", [False, True])
@pytest.mark.parametrize("text", [[1], [1, 2], [1, 2, 3]])
def test_a_text_may_be_a_token_long(text, groups):
    model, spelling = tiny_model("llama"), spelling_of(IDS["flat"])
    expected = read_all(model, spelling, text).log_probs()
    for texts in ([text], [text, [9, 8]]):
        writers = [ListWriter(spelling, one, Drawing(1.0, seed=2)) for one in texts]
        writer = write_all(model, writers, groups)[0]
        assert sum(writer.log_probs) == pytest.approx(expected[tuple(writer.order)], abs=1e-5)


def test_what_texts_share_is_read_once():
    assert shared_start([[1, 2, 3, 4], [1, 2, 5], [1, 2, 3]], 1) == 2
    assert shared_start([[1, 2, 3], [1, 2, 3, 4]], 1) == 2
    assert shared_start([[1, 2, 3], [1, 2, 3, 4]], 2) == 1
    assert shared_start([[1], [1, 2]], 2) == 0
    assert shared_start([[1, 2], [3, 4]], 1) == 0
    model, lengths = tiny_model("llama"), []
    hook = model.register_forward_pre_hook(
        lambda module, args, kwargs: lengths.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    texts = [LONG[:20] + rest for rest in ([40, 41, 8, 5], [42, 8, 5], [42, 8, 5])]
    write_all(model, [ListWriter(spelling_of(IDS["flat"]), text, Drawing()) for text in texts], groups=True)
    hook.remove()
    assert lengths[:2] == [(1, 20), (2, 3)] and lengths[2][0] == 3


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_bfloat16_gives_scores_near_those_of_float32(attention):
    spelling, model = spelling_of(FIVE), tiny_model("qwen3", attention)
    expected = read_all(model, spelling).first()
    writers = [ListWriter(spelling, text, Drawing()) for text in (TEXT, LONG)]
    with torch.inference_mode():
        reading = begin(model.to(torch.bfloat16), writers)
        scores = score_first(reading, writers)[0]
    assert scores == pytest.approx(expected, abs=0.2)


def adapted() -> torch.nn.Module:
    """A LoRA model whose updates are not zero."""
    torch.manual_seed(0)
    model = add_lora(untied_llama(train_tokenizer(["one two three"], 300)), [5, 6, 7], rank=2, alpha=4).eval()
    for parameter in model.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.1)
    return model


def test_a_model_with_lora_reads_ahead():
    model, spelling = adapted(), spelling_of(IDS["levels"])
    expected = read_all(model, spelling).log_probs()
    assert max(expected.values()) - min(expected.values()) > 1
    for writer in write(model, spelling, [Drawing(40.0, seed=seed) for seed in range(20)], groups=True):
        assert sum(writer.log_probs) == pytest.approx(expected[tuple(writer.order)], abs=1e-5)


def gather_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return -logits.log_softmax(-1).gather(-1, targets[..., None]).mean()


@pytest.mark.parametrize("kind", ["llama", "gemma2", "tied", "lora"])
def test_a_loss_at_some_places_is_the_loss_of_full_logits(kind):
    if kind == "lora":
        model = adapted()
    elif kind == "tied":
        model = tiny_model("llama", tie_word_embeddings=True)
    else:
        model = tiny_model(kind, **FAMILIES[kind])
    model.train()
    torch.manual_seed(1)
    tokens, mask = torch.randint(3, 60, (3, 14)), torch.ones(3, 14, dtype=torch.long)
    mask[1, :5] = 0
    columns = torch.tensor([[5, 7, 13], [6, 6, 12], [0, 3, 4]])
    rows, targets = torch.arange(3)[:, None].expand(3, 3), torch.randint(3, 60, (3, 3))

    def loss_and_gradients(at_places: bool) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        model.zero_grad()
        if at_places:
            with logits_at(model, rows, columns):
                logits = model(input_ids=tokens, attention_mask=mask).logits
            assert logits.shape[:2] == (3, 3)
        else:
            logits = model(input_ids=tokens, attention_mask=mask).logits[rows, columns]
        loss = gather_loss(logits, targets)
        loss.backward()
        gradients = {name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None}
        return loss.detach(), gradients

    (some, gradients), (full, expected) = loss_and_gradients(True), loss_and_gradients(False)
    assert torch.allclose(some, full, atol=1e-6)
    assert gradients.keys() == expected.keys() and gradients
    assert any(gradient.abs().max() > 1e-3 for gradient in expected.values())
    for name, gradient in gradients.items():
        assert torch.allclose(gradient, expected[name], rtol=1e-4, atol=1e-6), name


def test_logits_are_full_again_afterwards():
    model, tokens = tiny_model("llama"), torch.randint(3, 60, (2, 6))
    with torch.no_grad():
        before = model(input_ids=tokens).logits
        with pytest.raises(RuntimeError), logits_at(model, torch.tensor([0]), torch.tensor([1])):
            raise RuntimeError
        assert torch.equal(model(input_ids=tokens).logits, before)

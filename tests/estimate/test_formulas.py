"""Formulas against what they stand for: models' parameters, tensors that autograd keeps, FLOPs that torch counts."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM

from gr2.estimate import formulas as cost
from gr2.estimate.shapes import PUBLISHED, Shape

SIZES = {
    "vocab_size": 512,
    "hidden_size": 96,
    "intermediate_size": 160,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
}
BILLIONS = {  # as the model cards state them
    "qwen/qwen3-0.6b": 0.6, "qwen/qwen3-1.7b": 1.7, "qwen/qwen3-4b": 4.0, "qwen/qwen3-8b": 8.2,
    "qwen/qwen3-14b": 14.8, "qwen/qwen3-32b": 32.8, "huggingfacetb/smollm2-135m": 0.135,
    "huggingfacetb/smollm2-360m": 0.362, "huggingfacetb/smollm2-1.7b": 1.71,
}  # fmt: skip


def make(kind: str, **changed):
    sizes = SIZES | {"tie_word_embeddings": True} | changed
    if kind == "qwen3":
        return Qwen3ForCausalLM(Qwen3Config(head_dim=16, **sizes))
    return Qwen2ForCausalLM(Qwen2Config(**sizes)) if kind == "qwen2" else LlamaForCausalLM(LlamaConfig(**sizes))


def shape_of(kind: str, layers: int = 2, tied: bool = True) -> Shape:
    return Shape(96, layers, 6, 2, 16, 160, 512, tied, kind)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_shapes_have_the_parameters_that_their_cards_state(name):
    assert cost.count_parameters(PUBLISHED[name]) / 1e9 == pytest.approx(BILLIONS[name], rel=0.02)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kind", ["qwen3", "qwen2", "llama"])
def test_parameters_are_those_of_the_model(kind, tied):
    model = make(kind, tie_word_embeddings=tied)
    assert cost.count_parameters(shape_of(kind, tied=tied)) == model.num_parameters()


def test_parameters_of_lora_are_those_of_peft():
    from gr2.language_model.trainable import add_lora

    adapted = add_lora(make("qwen3"), list(range(500, 512)), rank=4, alpha=8)
    trained = sum(weight.numel() for weight in adapted.parameters() if weight.requires_grad)
    assert cost.count_lora(shape_of("qwen3"), 4, 12) == trained


@pytest.mark.parametrize("kind", ["qwen3", "llama"])
def test_flops_are_those_that_torch_counts(kind):
    from torch.utils.flop_counter import FlopCounterMode

    model, length = make(kind, attn_implementation="eager"), 32
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(input_ids=torch.zeros(2, length, dtype=torch.long))
    shape = shape_of(kind)
    whole = 2 * length * shape.queries * 2 * length * shape.layers  # torch counts scores that causal attention hides
    rotary = counter.get_total_flops() - cost.read_flops(shape, 2 * length, length) - whole
    assert 0 <= rotary < 0.001 * whole


def kept(kind: str, layers: int, mixed: bool, masked: bool) -> float:
    """Bytes that autograd keeps of a pass over 2 x 64 tokens, weights left out, also those in bfloat16."""
    model, found, alive = make(kind, num_hidden_layers=layers), {}, []
    own = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    sizes = {tuple(weight.shape) for weight in model.parameters()} | {
        weight.shape[::-1] for weight in model.parameters()
    }

    def pack(tensor):
        storage, is_copy = tensor.untyped_storage(), tuple(tensor.shape) in sizes and tensor.dtype == torch.bfloat16
        if storage.data_ptr() not in own and not is_copy:
            found[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)  # so that no other tensor gets its place
        return tensor

    mask = torch.ones(2, 64, dtype=torch.long)
    mask[0, :10] = 1 - masked
    hooks = torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor)
    with hooks, torch.autocast("cpu", torch.bfloat16, enabled=mixed):
        model.model(input_ids=torch.zeros(2, 64, dtype=torch.long), attention_mask=mask, use_cache=False)
    return sum(found.values())


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("kind", ["qwen3", "llama"])
def test_a_layer_keeps_the_bytes_that_autograd_keeps(kind, mixed, masked):
    measured = (kept(kind, 3, mixed, masked) - kept(kind, 2, mixed, masked)) / 128
    assert cost.layer_bytes(shape_of(kind), mixed, 64 if masked else 0) == pytest.approx(measured, rel=0.002)


def test_spreads_hold_what_the_papers_say():
    shape, devices = PUBLISHED["qwen/qwen3-8b"], 64
    every = cost.count_parameters(shape)

    def bytes_each(spread: str, count: int = devices) -> float:
        held = cost.hold_states(shape, every, spread, count, mixed=True, accumulates=False)
        return (held.weights + held.gradients + held.optimizer) / every

    assert bytes_each("zero2") == pytest.approx(2 + 14 / devices)  # ZeRO, figure 1: 2 + (2 + K) / N, K = 12
    gather_weights = 2 * cost.LIVE / every
    assert bytes_each("zero3") - gather_weights == pytest.approx(16 / devices)
    assert bytes_each("one", 1) == pytest.approx(4 + 2 + 4 + 8)  # float32, and autocast's copies
    assert bytes_each("ddp") == pytest.approx(bytes_each("one", 1) + 4)  # and its buckets
    assert bytes_each("fsdp2") < bytes_each("fsdp2", 8) < bytes_each("zero2", 8) < bytes_each("ddp", 8)


def test_lora_trains_a_fraction():
    shape = PUBLISHED["qwen/qwen3-8b"]
    trained = cost.count_lora(shape, 32, 1026)
    held = cost.hold_states(shape, trained, "one", 1, mixed=True, accumulates=False)
    assert trained / 1e6 == pytest.approx(91.5, rel=0.01)
    assert held.gradients + held.optimizer == 12 * trained


def test_checkpointing_keeps_a_layer_and_the_residual_stream():
    shape = PUBLISHED["qwen/qwen3-8b"]
    whole, kept_less = (cost.keep_activations(shape, 1000, True, 0, checkpointing) for checkpointing in (False, True))
    saved = 1000 * ((shape.layers - 1) * cost.layer_bytes(shape, True, 0) - 4 * (shape.layers - 4) * shape.hidden)
    assert whole - kept_less == pytest.approx(saved)


def test_the_peak_has_gradients_or_activations():
    memory = cost.Memory(weights=1, gradients=5, optimizer=2, activations=3, logits=1)
    assert memory.peak == 8
    assert cost.Memory(weights=1, gradients=5, optimizer=2, activations=3, logits=1, held=5).peak == 12

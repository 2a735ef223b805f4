from dataclasses import replace

import pytest
import torch

from gr2.devices import find_device
from gr2.estimate.formulas import NARROW, count_parameters, keep_cache
from gr2.estimate.loads import VLLM_SHARE, Answers, Batch, Cluster, read, train
from gr2.estimate.shapes import PUBLISHED, scratch_shape

H100, TEACHER = Cluster(find_device("h100"), 1, "one"), PUBLISHED["qwen/qwen3-32b"]
MANY = Answers(256, prompt=2000, answer=256, passes=256, launched=False)


def test_vllm_keeps_as_many_answers_as_fit_and_one_at_least():
    memory = MANY.memory(TEACHER, H100)
    assert memory.peak == pytest.approx(VLLM_SHARE * H100.device.memory)
    assert keep_cache(TEACHER, 1, 2256, NARROW) < memory.cache < keep_cache(TEACHER, 256, 2256, NARROW)
    few = replace(MANY, rows=4).memory(TEACHER, H100)
    assert few.cache == keep_cache(TEACHER, 4, 2256, NARROW) and few.peak < memory.peak
    small = Cluster(find_device("l4"), 1, "one")
    memory = MANY.memory(TEACHER, small)
    assert memory.peak > small.device.memory and memory.cache == keep_cache(TEACHER, 1, 2256, NARROW)


def test_generate_holds_all_answers_at_once():
    memory = replace(MANY, launched=True).memory(TEACHER, H100)
    assert memory.cache == keep_cache(TEACHER, 256, 2256, NARROW)
    assert memory.activations > 10 * MANY.memory(TEACHER, H100).activations


def test_a_model_without_an_output_layer_computes_nothing_there():
    """The FLOPs are those that torch counts; the vocabulary changes none of them."""
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import Qwen3Config, Qwen3Model

    on_cpu, length = Cluster(find_device("cpu"), 1, "one"), 32
    small, large = (scratch_shape(32, 1, 2, vocabulary) for vocabulary in (100, 20_000))
    config = Qwen3Config(vocab_size=100, hidden_size=32, intermediate_size=64, num_hidden_layers=1, head_dim=16,
                         num_attention_heads=2, num_key_value_heads=1, attn_implementation="eager")  # fmt: skip
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        Qwen3Model(config)(input_ids=torch.zeros(4, length, dtype=torch.long))
    whole = 4 * length * 2 * length * small.queries  # torch counts scores that causal attention hides
    flops = (counter.get_total_flops() - whole) * 10
    for shape in (small, large):
        answered = read("one_pass", shape, on_cpu, 4, length, 10)
        assert answered.seconds * 0.2 * on_cpu.device.peak == pytest.approx(flops, rel=0.01)
        assert answered.tokens == 4 * length * 10 and answered.memory.logits == answered.memory.cache == 0
        batch = Batch(4, length, 0, "none", 10)
        learned = train("one_pass", shape, count_parameters(shape), on_cpu, batch, mixed=False)
        assert learned.seconds == pytest.approx(3 * answered.seconds) and learned.memory.logits == 0

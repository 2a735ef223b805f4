from dataclasses import replace

import pytest

from gr2.devices import find_device
from gr2.estimate.formulas import NARROW, keep_cache
from gr2.estimate.loads import VLLM_SHARE, Answers, Cluster
from gr2.estimate.shapes import PUBLISHED

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

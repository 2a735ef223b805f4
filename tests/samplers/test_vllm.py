"""The environment in which vLLM is imported; test_vllm_orders.py and test_ray.py run the engine."""

import os
from unittest.mock import patch

import pytest

from gr2.samplers import vllm


@pytest.mark.parametrize(("user", "binding"), [
    ({"OMP_NUM_THREADS": "1"}, "nobind"),
    ({"OMP_NUM_THREADS": "1", "VLLM_CPU_OMP_THREADS_BIND": "0-3"}, "0-3"),
    ({}, None),
])  # fmt: skip
def test_a_number_of_threads_that_the_user_sets_is_kept(user, binding):
    """vLLM would set its own and bind the threads to cores, those of several engines to the same ones."""
    with patch.dict(os.environ, user, clear=True):
        vllm._set_environment()
        assert os.environ.get("VLLM_CPU_OMP_THREADS_BIND") == binding
        assert int(os.environ["OMP_NUM_THREADS"]) >= 1

"""gr2/samplers/no_repeats.py as a logits processor of vLLM's engine.

Called by vLLM's first model runner: on CPUs, and on GPUs with VLLM_USE_V2_MODEL_RUNNER=0.
"""

import functools
from collections.abc import Callable

import torch
from llguidance.hf import from_tokenizer
from vllm import SamplingParams
from vllm.v1.sample.logits_processor import AdapterLogitsProcessor

from gr2.language_model.loading import load_tokenizer
from gr2.samplers.no_repeats import NoRepeats, find_repeats, long_lists

SCHEMA = "gr2_schema"  # the entry of SamplingParams.extra_args


class NoRepeatsProcessor(AdapterLogitsProcessor):
    """Removes, after the grammar, the tokens that would repeat a choice in a request's list."""

    def __init__(self, vllm_config, device: torch.device, is_pin_memory: bool):
        super().__init__(vllm_config, device, is_pin_memory)
        words = from_tokenizer(load_tokenizer(vllm_config.model_config.tokenizer))
        self.text_of = functools.cache(lambda token: words.decode_str([token]))

    def is_argmax_invariant(self) -> bool:
        return False

    def new_req_logits_processor(self, params: SamplingParams) -> Callable | None:
        schema = (params.extra_args or {}).get(SCHEMA)
        return FollowedRequest(long_lists(schema), self.text_of) if schema else None


class FollowedRequest:
    """One request: the lists of its answer, and how many output tokens they have read."""

    def __init__(self, lists: list[NoRepeats], text_of: Callable[[int], str]):
        self.lists, self.text_of, self.read = lists, text_of, 0

    def __call__(self, output_ids: list[int], logits: torch.Tensor) -> torch.Tensor:
        """logits [vocabulary], changed in place."""
        for token in output_ids[self.read :]:
            for one in self.lists:
                one.write(self.text_of(token))
        self.read = len(output_ids)
        if any(one.watches() for one in self.lists):
            admitted = (logits > -torch.inf).nonzero().flatten().cpu().numpy()
            logits[find_repeats(self.lists, admitted, self.text_of)] = -torch.inf
        return logits

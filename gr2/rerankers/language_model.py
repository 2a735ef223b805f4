"""A language model as a reranker: prompt, sample, parse; an unusable answer leaves the input order as it is."""

import hashlib
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import cached_property, partial
from typing import Self

from gr2.files.artifacts import files_below, sha256
from gr2.files.partial import PartialFile
from gr2.files.rankings import Ranking
from gr2.files.slates import Slate
from gr2.prompts.answer import parse
from gr2.prompts.checks import check_answer, check_room
from gr2.prompts.history import fit_history
from gr2.prompts.prompt import load_prompt, prompt_file
from gr2.prompts.render import render
from gr2.prompts.schema import answer_schema
from gr2.rerankers.on_ray import rank_batches
from gr2.rerankers.protocol import Inputs, Sampling
from gr2.samplers.base import Sampler, sample_seed
from gr2.samplers.open import open_sampler
from gr2.terminal import show_progress

PARTIAL = "answers.partial"


class LanguageModel:
    def __init__(self, folder: str, inputs: Inputs, sampling: Sampling):
        """InputError where the model was not taught the catalogue's semantic IDs."""
        from gr2.language_model.id_record import check_taught
        from gr2.language_model.loading import load_tokenizer

        self.folder, self.inputs, self.sampling = folder, inputs, sampling
        catalogue = inputs.catalogue(folder)
        self.prompt = load_prompt(sampling.prompt)
        self.tokenizer = load_tokenizer(folder)
        check_taught(folder, self.tokenizer, catalogue, inputs.semantic_ids)
        self.catalogue = catalogue.safe_for(self.tokenizer, self.prompt.title_tokens)

    @classmethod
    def open(cls, folder: str, inputs: Inputs, sampling: Sampling) -> Self:
        return cls(folder, inputs, sampling)

    @cached_property
    def sampler(self) -> Sampler:
        """Loaded with the first batch: what can be known to go wrong is refused before."""
        names = ("engine", "batch_size", "base_url", "concurrency", "deadline")
        options = {name: vars(self.sampling)[name] for name in names}
        float32_logits = self.sampling.order != "written"
        return open_sampler(model_name_or_path=self.folder, float32_logits=float32_logits, **options)

    def rank(self, slates: list[Slate]) -> list[Ranking]:
        """Keeps answers in `sampling.unfinished` after every batch: an interrupted run goes on from there."""
        how = self.sampling
        check_answer(self.folder, self.tokenizer, self.prompt, slates[0], self.catalogue)
        check_room(slates, self.catalogue, self.prompt, self.tokenizer, how.max_tokens)
        kept = PartialFile(how.unfinished / PARTIAL, self.made_of(slates)) if how.unfinished else None
        rankings = {row["slate_id"]: Ranking(**row) for row in kept.rows} if kept else {}
        left = [slate for slate in self.shorten(slates) if slate.slate_id not in rankings]
        batches = [left[start : start + how.batch_size] for start in range(0, len(left), how.batch_size)]
        for answered in show_progress(self.answers(batches), "rerank", len(batches), "batches"):
            if kept:
                kept.append([asdict(ranking) for ranking in answered])
            rankings |= {ranking.slate_id: ranking for ranking in answered}
        return [rankings[slate.slate_id] for slate in slates]

    def shorten(self, slates: list[Slate]) -> list[Slate]:
        """The slates with histories that fit into `max_prompt_tokens`."""
        most = self.sampling.max_prompt_tokens
        return slates if most is None else fit_history(slates, self.messages, self.tokenizer, most)

    def answers(self, batches: list[list[Slate]]) -> Iterator[list[Ranking]]:
        """Of each batch, as they come: from Ray's workers, which hold the model, or from this process."""
        if self.sampling.engine != "ray":
            return map(self.answer, batches)
        in_worker = replace(self.sampling, engine=self.sampling.ray_engine, unfinished=None)
        return rank_batches(partial(LanguageModel.open, self.folder, self.inputs, in_worker), batches, self.sampling)

    def answer(self, batch: list[Slate]) -> list[Ranking]:
        """latency_ms is the batch's wall-clock time divided by its slates: throughput, not the wait of one request."""
        how, sampler = self.sampling, self.sampler
        started = time.monotonic()
        under_schema = {}
        if how.order != "written":
            schemas = [answer_schema(self.prompt, slate, self.catalogue) for slate in batch]
            under_schema = {"schemas": schemas, "order": how.order}
        samples = sampler.sample(
            [self.messages(slate) for slate in batch],
            temperature=how.temperature,
            top_p=1.0,
            max_tokens=how.max_tokens,
            seeds=[sample_seed(how.seed, slate.slate_id) for slate in batch],
            **under_schema,
        )
        latency = 1000 * (time.monotonic() - started) / len(batch)
        rankings, sid, traced = [], self.catalogue.sid, self.prompt.has_trace
        for slate, sample in zip(batch, samples, strict=True):
            answer = parse(sample.text, slate.candidates, sid, traced, sample.finish_reason)
            rankings.append(Ranking(
                slate.slate_id,
                ranking=answer.ranking or list(slate.candidates),
                valid=answer.ranking is not None,
                scores=sample.log_probs if how.order == "first" else None,
                choice_log_probs=sample.log_probs if how.order == "choices" else None,
                reason=answer.reason,
                reasoning=answer.reasoning,
                prompt_tokens=sample.prompt_tokens,
                completion_tokens=sample.completion_tokens,
                latency_ms=latency,
            ))  # fmt: skip
        return rankings

    def messages(self, slate: Slate) -> list[dict[str, str]]:
        return render(self.prompt, slate, self.catalogue)

    def made_of(self, slates: list[Slate]) -> dict:
        """What the answers depend on: the slates, the sha256 of every input file, and how they are sampled."""
        how = asdict(self.sampling)
        for name in ("unfinished", "concurrency", "deadline", "workers", "gpus_per_worker"):
            del how[name]
        if how["engine"] != "ray":
            del how["ray_engine"]
        paths = {"reranker": self.folder, "items": self.inputs.items, "semantic_ids": self.inputs.semantic_ids}
        paths["prompt"] = prompt_file(how.pop("prompt"))
        files = {name: {str(file): sha256(file) for file in files_below(path)} for name, path in paths.items()}
        return files | {"slates": hashlib.sha256(repr(slates).encode()).hexdigest()} | how

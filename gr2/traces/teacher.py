"""What a teacher is asked about a slate, and what its answers are worth."""

import hashlib
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from gr2.data.catalogue import Catalogue
from gr2.errors import InputError
from gr2.files.sid_tokens import sid_string
from gr2.files.slates import Slate
from gr2.language_model.loading import load_tokenizer
from gr2.prompts.answer import parse
from gr2.prompts.history import fit_history
from gr2.prompts.prompt import Prompt, answer_schema, render
from gr2.prompts.room import check_room
from gr2.samplers.base import Request, Sample, Sampler, open_sampler
from gr2.traces.accept import Rules, judge

if TYPE_CHECKING:
    from gr2.stages.traces import Config


class Teacher:
    """A prompt, and how its answers are judged; `open` loads the language model."""

    def __init__(self, config: "Config", prompt: Prompt, catalogue: Catalogue):
        self.config = config
        self.prompt = prompt
        self.levels = catalogue.levels
        self.sids = catalogue.sid
        name = config.tokenizer or (None if config.engine == "openai" else config.model_name_or_path)
        self.tokenizer = load_tokenizer(name) if name else None  # nobody knows a server's
        if self.tokenizer:
            catalogue = catalogue.safe_for(self.tokenizer)
        self.shown = short_catalogue(catalogue) if config.short_ids else catalogue
        self.rules = Rules(config.accept_top, config.least_gain, config.script)

    def open(self) -> Sampler:
        config = self.config
        return open_sampler(
            config.engine,
            config.model_name_or_path,
            max_model_len=config.max_model_len,
            base_url=config.base_url,
            batch_size=config.batch_size,
            concurrency=config.concurrency,
            deadline=config.deadline,
            ray_engine=config.ray_engine,
            workers=config.workers,
            gpus_per_worker=config.gpus_per_worker,
        )

    def fit(self, slates: list[Slate]) -> list[dict]:
        """The slates with histories that the budget of prompt tokens has room for; without a budget as they are."""
        if self.config.max_prompt_tokens is None:
            return slates
        return fit_history(slates, self.messages, self.tokenizer, self.config.max_prompt_tokens)

    def check_room(self, slates: list[Slate]) -> None:
        """InputError where an answer cannot fit into max_tokens, as far as the tokenizer is known."""
        if self.tokenizer:
            check_room(slates, self.shown, self.prompt, self.tokenizer, self.config.max_tokens)

    def request(self, slate: Slate, attempt: int) -> Request:
        """What a slate is asked; every attempt has its own seed, the same in a resumed run, and is hotter."""
        return Request(
            slate.slate_id,
            self.messages(slate),
            sample_seed(self.config.seed, slate.slate_id, attempt),
            self.config.temperature + attempt * self.config.temperature_step,
            answer_schema(self.prompt, slate, self.shown) if self.config.structured else None,
        )

    def messages(self, slate: Slate) -> list[dict[str, str]]:
        """The relevant item is shown in targeted mode alone."""
        target = slate.relevant[0] if self.config.mode == "targeted" else None
        return render(self.prompt, slate, self.shown, target)

    def row(self, slate: Slate, attempt: int, messages: list[dict[str, str]], sample: Sample) -> dict:
        """A row of traces.jsonl, judged."""
        answer = parse(sample.text, slate.candidates, self.shown.sid, self.prompt.has_trace, sample.finish_reason)
        seen = "\n".join(message["content"] for message in messages)
        if self.config.short_ids:
            answer = replace(answer, reasoning=long_ids(answer.reasoning, self.levels))
            seen = long_ids(seen, self.levels)
        shown = replace(slate, history=slate.history[-self.prompt.max_history :])
        reason = judge(answer, seen, shown, self.sids, self.rules, self.prompt.has_trace)
        return {
            "slate_id": slate.slate_id,
            "mode": self.config.mode,
            "sample": attempt,
            "messages": messages,
            "completion": sample.text,
            "reasoning": answer.reasoning,
            "ranking": answer.ranking,
            "accepted": reason is None,
            "reason": reason,
            "finish_reason": sample.finish_reason,
            "prompt_tokens": sample.prompt_tokens,
            "completion_tokens": sample.completion_tokens,
            "teacher": self.config.model_name_or_path,
        }


def sample_seed(seed: int, slate_id: str, attempt: int) -> int:
    """31 bits that depend on all three and on nothing else."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{attempt}/{slate_id}".encode()).digest()[:4]) >> 1


def short_catalogue(catalogue: Catalogue) -> Catalogue:
    """The catalogue with `57-7-23` in place of `<|sid_begin|><s_a_57><s_b_7><s_c_23><|sid_end|>`."""
    if catalogue.levels < 2:
        raise InputError("short_ids: expected semantic IDs of at least two levels; one number alone can mean anything")
    return replace(catalogue, sid={item_id: "-".join(map(str, codes)) for item_id, codes in catalogue.codes.items()})


def long_ids(text: str, levels: int) -> str:
    """Writes every short ID of a text, known or invented, as the semantic ID that it stands for."""
    short = re.compile(rf"(?<![\d-])\d+(?:-\d+){{{levels - 1}}}(?![\d-])")
    return short.sub(lambda match: sid_string([int(code) for code in match[0].split("-")]), text)

"""What a teacher is asked about a slate, and how its answers are judged."""

import re
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from gr2.data.catalogue import Catalogue
from gr2.errors import InputError
from gr2.files.sid_tokens import sid_string
from gr2.files.slates import Slate
from gr2.prompts.answer import parse
from gr2.prompts.prompt import Prompt
from gr2.prompts.render import render
from gr2.prompts.schema import answer_schema
from gr2.samplers.base import Request, Sample, sample_seed
from gr2.traces.accept import Rules, judge


@dataclass(frozen=True)
class Sampling:
    """How answers are sampled; the temperature rises by `step` with each further try."""

    temperature: float
    step: float
    top_p: float
    max_tokens: int
    seed: int


@dataclass(frozen=True)
class Teacher:
    """A model and the prompt that it is shown; how its answers are sampled and judged."""

    name: str
    mode: Literal["targeted", "rejection"]  # targeted: it is shown the relevant item
    prompt: Prompt
    catalogue: Catalogue
    sampling: Sampling
    rules: Rules
    structured: bool  # under the answer's schema
    short_ids: bool  # it sees and writes 57-7-23 for a semantic ID

    @cached_property
    def shown(self) -> Catalogue:
        """The catalogue as the teacher sees it."""
        return short_catalogue(self.catalogue) if self.short_ids else self.catalogue

    def request(self, slate: Slate, attempt: int) -> Request:
        """The question about a slate; every attempt has its own seed, the same in a resumed run, and is hotter."""
        return Request(
            slate.slate_id,
            self.messages(slate),
            sample_seed(self.sampling.seed, slate.slate_id, attempt),
            self.sampling.temperature + attempt * self.sampling.step,
            answer_schema(self.prompt, slate, self.shown) if self.structured else None,
        )

    def messages(self, slate: Slate) -> list[dict[str, str]]:
        """The chat about a slate."""
        target = slate.relevant[0] if self.mode == "targeted" else None
        return render(self.prompt, slate, self.shown, target)

    def row(self, slate: Slate, attempt: int, messages: list[dict[str, str]], sample: Sample) -> dict:
        """A judged row of traces.jsonl."""
        answer = parse(sample.text, slate.candidates, self.shown.sid, self.prompt.has_trace, sample.finish_reason)
        seen = "\n".join(message["content"] for message in messages)
        if self.short_ids:
            answer = replace(answer, reasoning=long_ids(answer.reasoning, self.catalogue.levels))
            seen = long_ids(seen, self.catalogue.levels)
        latest = slate.with_latest(self.prompt.max_history)
        reason = judge(answer, seen, latest, self.catalogue.sid, self.rules, self.prompt.has_trace)
        return {
            "slate_id": slate.slate_id,
            "mode": self.mode,
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
            "teacher": self.name,
        }


def short_catalogue(catalogue: Catalogue) -> Catalogue:
    """The catalogue with `57-7-23` in place of `<|sid_begin|><s_a_57><s_b_7><s_c_23><|sid_end|>`."""
    if catalogue.levels < 2:
        raise InputError("--short_ids true: expected semantic IDs of two levels or more: a number can mean anything")
    return replace(catalogue, sid={item_id: "-".join(map(str, codes)) for item_id, codes in catalogue.codes.items()})


def long_ids(text: str, levels: int) -> str:
    """The text with every short ID, known or invented, written as the semantic ID that it stands for."""
    short = re.compile(rf"(?<![\d-])\d+(?:-\d+){{{levels - 1}}}(?![\d-])")
    return short.sub(lambda match: sid_string([int(code) for code in match[0].split("-")]), text)

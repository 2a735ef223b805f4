"""The interface of all engines that sample chat completions: vLLM, transformers, an OpenAI-style server, and Ray.

A sampler takes requests whenever it has room and gives answers as they come, so that an engine that batches
continuously is never drained by the slowest answer of a batch.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from gr2.errors import InputError
from gr2.language_model.chat import prompt_text

if TYPE_CHECKING:  # slow to import
    from transformers import PreTrainedTokenizerBase


Order = Literal["choices", "first"]


@dataclass(frozen=True)
class Request:
    """One question. `key`: the caller's name for it; temperature 0: greedy; `schema`: a JSON schema to decode under.

    order: how the schema's list is written, with log-probabilities. choices: one candidate after the other; first: all
    candidates by the probability that each of them would be written first. None: as choices, without them.
    """

    key: Hashable
    messages: list[dict[str, str]]
    seed: int
    temperature: float
    schema: dict | None = None
    order: Order | None = None


@dataclass(frozen=True)
class Sample:
    """One completion; tokens are counted by the engine.

    log_probs: of each item of the list, as it is written: of its choices, those before it given (order choices), or of
    being the first (order first); by engines that know them, for requests with a schema. Order first generates nothing
    but the explanation.
    `finish_reason`: `stop` (the model ended it) or `length`; from a service that withheld the answer, `content_filter`
    or `refusal`.
    """

    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    log_probs: list[float] | None = None


Take = Callable[[int], list[Request]]
Answered = list[tuple[Request, Sample]]


class Sampler(ABC):
    """What `open_sampler` returns; an engine defines `stream`."""

    @abstractmethod
    def stream(self, take: Take, *, top_p: float, max_tokens: int) -> Iterator[Answered]:
        """Yields answers as they come, one for each request, until nothing is in flight and `take` has no more.

        `take(n)` gives n requests or fewer; it may give more after an answer, for what was not good enough.
        A request's sample depends on its own seed, not on the requests beside it (but for how a batch rounds).
        Raises InputError where a prompt and its answer do not fit into the model's context, ServiceError where a server
        or worker fails.
        """

    def answer(self, requests: Sequence[Request], *, top_p: float, max_tokens: int) -> Answered:
        """Answers all of these requests; in the order in which the answers came."""
        left, answered = list(reversed(requests)), []

        def take(room: int) -> list[Request]:
            return [left.pop() for _ in range(min(room, len(left)))]

        for some in self.stream(take, top_p=top_p, max_tokens=max_tokens):
            answered += some
        return answered

    def sample(
        self,
        conversations: Sequence[list[dict[str, str]]],
        *,
        temperature: float,
        top_p: float,
        max_tokens: int,
        seeds: Sequence[int],
        schemas: Sequence[dict] | None = None,
        order: Order | None = None,
    ) -> list[Sample]:
        """One sample per conversation, in order. Requested by length: padding is least among prompts that are alike."""
        schemas = schemas or [None] * len(conversations)
        requests = [
            Request(index, messages, seed, temperature, schema, order)
            for index, (messages, seed, schema) in enumerate(zip(conversations, seeds, schemas, strict=True))
        ]
        requests.sort(key=lambda request: sum(len(message["content"]) for message in request.messages))
        answers = {request.key: sample for request, sample in self.answer(requests, top_p=top_p, max_tokens=max_tokens)}
        return [answers[index] for index in range(len(conversations))]


def sample_seed(seed: int, slate_id: str, attempt: int = 0) -> int:
    """31 bits that depend on all three and on nothing else, so that slates do not share their random numbers."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{attempt}/{slate_id}".encode()).digest()[:4]) >> 1


def prompt_ids(
    tokenizer: "PreTrainedTokenizerBase", requests: Sequence[Request], max_tokens: int, context: int
) -> list[list[int]]:
    """The requests' conversations as token ids, each up to where the assistant's answer begins.

    InputError where a prompt leaves no room for `max_tokens` in `context`: a cut prompt would lose candidates.
    """
    if not requests:
        return []
    texts = [prompt_text(tokenizer, request.messages) for request in requests]
    ids = tokenizer(texts, add_special_tokens=False)["input_ids"]
    for request, prompt in zip(requests, ids, strict=True):
        if len(prompt) + max_tokens > context:
            excess = f"with max_tokens {max_tokens} that is more than the model's context of {context}"
            advice = "lower max_tokens, or max_history in the prompt file"
            raise InputError(f"prompt {request.key} has {len(prompt)} tokens; {excess}: {advice}")
    return ids


def padding_rows(tokenizer: "PreTrainedTokenizerBase", rows: int) -> list[int]:
    """The rows of a model's vocabulary that its tokenizer has no word for: padding, which decodes to nothing."""
    words = set(tokenizer.get_vocab().values())
    return [row for row in range(rows) if row not in words]


def stop_token_ids(name_or_path: str, tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """The tokens that end an answer: the tokenizer's, and those that the generation config adds (Gemma, Llama)."""
    from transformers import GenerationConfig

    try:
        configured = GenerationConfig.from_pretrained(name_or_path).eos_token_id
    except OSError:  # the folder has none
        configured = None
    configured = configured if isinstance(configured, list) else [configured]
    return sorted({*configured, tokenizer.eos_token_id} - {None})

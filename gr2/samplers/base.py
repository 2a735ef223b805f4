"""One small interface over the engines that sample chat completions: vLLM, transformers, OpenAI-style servers, and Ray.

A sampler asks for requests whenever it has room and gives answers as they come, so that an engine that batches
continuously is never drained by the slowest answer of a batch.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass

from gr2.errors import InputError
from gr2.language_model.chat import prompt_text

ENGINES = ("vllm", "openai", "transformers", "ray")


@dataclass(frozen=True)
class Request:
    """One question. `key` is the asker's name for it; temperature 0 is greedy; `schema` is JSON, to decode under."""

    key: Hashable
    messages: list[dict[str, str]]
    seed: int
    temperature: float
    schema: dict | None = None


@dataclass(frozen=True)
class Sample:
    """One completion; tokens are the engine's.

    `finish_reason` is `stop` (the model ended it) or `length`; from a service also `content_filter` or `refusal`, where
    it kept the answer back.
    """

    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int


Take = Callable[[int], list[Request]]
Answered = list[tuple[Request, Sample]]


class Sampler(ABC):
    """What `open_sampler` returns; an engine defines `stream`."""

    progress = False

    @abstractmethod
    def stream(self, take: Take, *, top_p: float, max_tokens: int) -> Iterator[Answered]:
        """Yields answers as they come, each request's once, until nothing is in flight and `take` has no more.

        `take(n)` gives at most n requests; it may give more after an answer, for what was not good enough.
        A request's sample depends on its own seed, with transformers on the whole batch's.
        Raises InputError where a prompt and its answer do not fit into the model's context, ServiceError where a server
        or worker fails.
        """

    def answer(self, requests: Sequence[Request], *, top_p: float, max_tokens: int) -> Answered:
        """All of these requests, in the order in which they are answered."""
        from tqdm import tqdm

        left = list(reversed(requests))
        answered: Answered = []
        with tqdm(total=len(left), desc="sampling", disable=not self.progress) as bar:
            for some in self.stream(
                lambda room: [left.pop() for _ in range(min(room, len(left)))], top_p=top_p, max_tokens=max_tokens
            ):
                answered += some
                bar.update(len(some))
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
    ) -> list[Sample]:
        """One sample per conversation, in order. Asked by length: a padded batch should hold prompts that are alike."""
        schemas = schemas or [None] * len(conversations)
        requests = [
            Request(number, messages, seed, temperature, schema)
            for number, (messages, seed, schema) in enumerate(zip(conversations, seeds, schemas, strict=True))
        ]
        requests.sort(key=lambda request: sum(len(message["content"]) for message in request.messages))
        answers = {request.key: sample for request, sample in self.answer(requests, top_p=top_p, max_tokens=max_tokens)}
        return [answers[number] for number in range(len(conversations))]


def open_sampler(
    engine: str,
    model_name_or_path: str,
    *,
    max_model_len: int | None = None,
    base_url: Sequence[str] = (),
    batch_size: int = 128,
    concurrency: int = 32,
    deadline: float = 600.0,
    ray_engine: str = "vllm",
    workers: int = 1,
    gpus_per_worker: float = 0.0,
    progress: bool = True,
) -> Sampler:
    """Loads the model (`packaged:` names too), or connects to the servers at `base_url` where it runs.

    `max_model_len` (tokens, prompt + answer) is the model's own where None. `batch_size` is transformers' batch and what
    vLLM, which batches by itself, is given at once; `concurrency` is openai's requests in flight at each server, `deadline`
    the seconds that each may take. Ray has `workers` processes with a sampler of `ray_engine` each.
    """
    if engine == "vllm":
        from gr2.samplers.vllm import VllmSampler

        sampler = VllmSampler(model_name_or_path, max_model_len, batch_size)
    elif engine == "transformers":
        from gr2.samplers.transformers import TransformersSampler

        sampler = TransformersSampler(model_name_or_path, max_model_len, batch_size)
    elif engine == "openai":
        from gr2.samplers.openai import OpenaiSampler

        sampler = OpenaiSampler(model_name_or_path, base_url, concurrency, deadline)
    elif engine == "ray":
        from gr2.samplers.ray import RaySampler

        sampler = RaySampler(model_name_or_path, max_model_len, batch_size, ray_engine, workers, gpus_per_worker)
    else:
        raise InputError(f"engine '{engine}': expected one of {', '.join(ENGINES)}")
    sampler.progress = progress
    return sampler


def prompt_ids(tokenizer, requests: Sequence[Request], max_tokens: int, context: int) -> list[list[int]]:
    """The requests' conversations as token ids, each open for the assistant's answer.

    Raises InputError where a prompt leaves no room for `max_tokens` in `context`: cut prompts lose candidates.
    """
    if not requests:
        return []
    texts = [prompt_text(tokenizer, request.messages) for request in requests]
    ids = tokenizer(texts, add_special_tokens=False)["input_ids"]
    for request, prompt in zip(requests, ids, strict=True):
        if len(prompt) + max_tokens > context:
            raise InputError(
                f"prompt {request.key} has {len(prompt)} tokens; with max_tokens {max_tokens} that is more than the "
                f"model's context of {context}: lower max_tokens, or max_history in the prompt file"
            )
    return ids


def not_words(tokenizer, rows: int) -> list[int]:
    """The rows of a model's vocabulary that its tokenizer has no word for: padding, which decodes to nothing."""
    words = set(tokenizer.get_vocab().values())
    return [number for number in range(rows) if number not in words]


def stop_token_ids(name_or_path: str, tokenizer) -> list[int]:
    """The tokens that end an answer: the tokenizer's, and those that the generation config adds (Gemma, Llama)."""
    from transformers import GenerationConfig

    try:
        configured = GenerationConfig.from_pretrained(name_or_path).eos_token_id
    except OSError:  # the folder has none
        configured = None
    configured = configured if isinstance(configured, list) else [configured]
    return sorted({*configured, tokenizer.eos_token_id} - {None})

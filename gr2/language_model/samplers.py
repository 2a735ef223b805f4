"""One small interface over three engines that sample chat completions: vLLM, transformers, an OpenAI-style server."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from gr2.errors import InputError

ENGINES = ("vllm", "openai", "transformers")


@dataclass(frozen=True)
class Sample:
    """One completion. `finish_reason` is `stop` (the model ended it) or `length`; tokens are the engine's."""

    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int


class Sampler(Protocol):
    """What `open_sampler` returns."""

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
        """One sample per conversation, in order; temperature 0 is greedy.

        A conversation's sample depends on its own seed, with transformers on the whole batch's. `schemas` are JSON
        schemas, one per conversation, to decode under.
        Raises InputError where a prompt and its answer do not fit into the model's context.
        """


def open_sampler(
    engine: str,
    model_name_or_path: str,
    *,
    max_model_len: int | None = None,
    base_url: str | None = None,
    batch_size: int = 128,
    concurrency: int = 32,
    progress: bool = True,
) -> Sampler:
    """Loads the model (`packaged:` names too), or connects to the server at `base_url` where it runs.

    `max_model_len` (tokens, prompt + answer) is the model's own where None. `batch_size` is transformers' (vLLM batches
    by itself), `concurrency` is openai's requests in flight.
    """
    if engine == "vllm":
        from gr2.language_model.samplers_vllm import VllmSampler

        return VllmSampler(model_name_or_path, max_model_len, progress)
    if engine == "transformers":
        from gr2.language_model.samplers_transformers import TransformersSampler

        return TransformersSampler(model_name_or_path, max_model_len, batch_size, progress)
    if engine == "openai":
        from gr2.language_model.samplers_openai import OpenaiSampler

        return OpenaiSampler(model_name_or_path, base_url, concurrency, progress)
    raise InputError(f"engine '{engine}': expected one of {', '.join(ENGINES)}")


def prompt_ids(tokenizer, conversations: Sequence[list[dict]], max_tokens: int, context: int) -> list[list[int]]:
    """The conversations as token ids, each open for the assistant's answer.

    Raises InputError where a prompt leaves no room for `max_tokens` in `context`: cut prompts lose candidates.
    """
    texts = [tokenizer.apply_chat_template(c, tokenize=False, add_generation_prompt=True) for c in conversations]
    ids = tokenizer(texts, add_special_tokens=False)["input_ids"]
    for number, prompt in enumerate(ids):
        if len(prompt) + max_tokens > context:
            raise InputError(
                f"prompt {number} has {len(prompt)} tokens; with max_tokens {max_tokens} that is more than the model's "
                f"context of {context}: lower max_tokens, or max_history in the prompt file"
            )
    return ids


def stop_token_ids(name_or_path: str, tokenizer) -> list[int]:
    """The tokens that end an answer: the tokenizer's, and those that the generation config adds (Gemma, Llama)."""
    from transformers import GenerationConfig

    try:
        configured = GenerationConfig.from_pretrained(name_or_path).eos_token_id
    except OSError:  # the folder has none
        configured = None
    configured = configured if isinstance(configured, list) else [configured]
    return sorted({*configured, tokenizer.eos_token_id} - {None})

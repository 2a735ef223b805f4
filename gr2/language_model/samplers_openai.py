"""Samples from a server that speaks OpenAI's chat completions: a teacher too large for this machine."""

import asyncio
import os
from collections.abc import Sequence

from gr2.errors import InputError
from gr2.language_model.grammar import plain_json
from gr2.language_model.samplers import Sample


class OpenaiSampler:
    """Bounded concurrency; 408, 409, 429 and 5xx are tried again with back-off. The key is OPENAI_API_KEY."""

    def __init__(self, model: str, base_url: str | None, concurrency: int, progress: bool):
        try:
            import openai  # noqa: F401
        except ImportError:
            raise InputError("engine openai: the client is not installed: pip install gr2[openai]") from None
        self.model = model
        self.base_url = base_url
        self.concurrency = concurrency
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
        """See `Sampler.sample`; whether a seed is honoured is the server's affair."""
        requests = [
            {"model": self.model, "messages": messages, "seed": seed, "temperature": temperature, "top_p": top_p,
             "max_tokens": max_tokens, **_response_format(schema)}
            for messages, seed, schema in zip(conversations, seeds, schemas or [None] * len(seeds), strict=True)
        ]  # fmt: skip
        return asyncio.run(self._all(requests))

    async def _all(self, requests: list[dict]) -> list[Sample]:
        import openai
        from tqdm import tqdm

        key = os.environ.get("OPENAI_API_KEY", "EMPTY")
        slots = asyncio.Semaphore(self.concurrency)
        with tqdm(total=len(requests), desc="sampling", disable=not self.progress) as bar:
            async with openai.AsyncOpenAI(base_url=self.base_url, api_key=key, max_retries=5, timeout=600) as client:

                async def one(request: dict) -> Sample:
                    async with slots:
                        sample = await _ask(client, request)
                    bar.update()
                    return sample

                return await asyncio.gather(*map(one, requests))


async def _ask(client, request: dict) -> Sample:
    import openai

    try:
        answer = await client.chat.completions.create(**request)
    except (openai.BadRequestError, openai.AuthenticationError, openai.NotFoundError) as error:
        # A prompt longer than the context arrives here too: as the server's sentence about it.
        raise InputError(f"{client.base_url} refused a request: {error.message}") from None
    choice = answer.choices[0]
    usage = (answer.usage.prompt_tokens, answer.usage.completion_tokens) if answer.usage else (0, 0)
    return Sample(choice.message.content or "", choice.finish_reason, *usage)


def _response_format(schema: dict | None) -> dict:
    """JSON-schema decoding."""
    if schema is None:
        return {}
    answer = {"name": "answer", "strict": True, "schema": plain_json(schema)}
    return {"response_format": {"type": "json_schema", "json_schema": answer}}

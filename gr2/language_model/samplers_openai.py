"""Samples from servers that speak OpenAI's chat completions: a teacher too large for this machine, or several of it."""

import asyncio
import os
from collections.abc import Iterator, Sequence

from gr2.errors import InputError
from gr2.language_model.grammar import plain_json
from gr2.language_model.samplers import Answered, Request, Sample, Sampler, Take

RETRIES = 5  # of a request at its server, with back-off: 0.5, 1, 2, 4 and 8 s, or what the server asks for


class OpenaiSampler(Sampler):
    """Bounded concurrency at each server; 408, 409, 429, 5xx and lost connections are tried again with back-off.

    A server that still fails then is left out, and its requests go to the others. The key is OPENAI_API_KEY.
    """

    def __init__(self, model: str, base_url: Sequence[str], concurrency: int):
        try:
            import openai  # noqa: F401
        except ImportError:
            raise InputError("engine openai: the client is not installed: pip install gr2[openai]") from None
        self.model = model
        self.urls = list(base_url) or [None]  # None: OPENAI_BASE_URL, or OpenAI's own
        self.concurrency = concurrency

    def stream(self, take: Take, *, top_p: float, max_tokens: int) -> Iterator[Answered]:
        """See `Sampler.stream`; whether a seed is honoured is the server's affair. InputError when all servers fail."""
        import openai

        key = os.environ.get("OPENAI_API_KEY", "EMPTY")
        settings = {"model": self.model, "top_p": top_p, "max_tokens": max_tokens}
        with asyncio.Runner() as runner:  # its end cancels what is in flight
            servers = [
                openai.AsyncOpenAI(base_url=url, api_key=key, max_retries=RETRIES, timeout=600) for url in self.urls
            ]
            free = dict.fromkeys(servers, self.concurrency)  # of the servers that work
            tasks: dict[asyncio.Task, tuple[openai.AsyncOpenAI, Request]] = {}
            again: list[Request] = []
            failure = ""
            while True:
                room = sum(free.values())
                requests, again = again[:room], again[room:]
                for request in requests + take(room - len(requests)):
                    server = max(free, key=free.get)
                    free[server] -= 1
                    tasks[runner.get_loop().create_task(_ask(server, request, settings))] = server, request
                if not tasks and again:
                    raise InputError(f"no server is left that answers; the last to fail: {failure}")
                if not tasks:
                    break
                answered = []
                for task in runner.run(_first(tasks)):
                    server, request = tasks.pop(task)
                    if server in free:
                        free[server] += 1
                    try:
                        answered.append((request, task.result()))
                    except (openai.APIConnectionError, openai.APIStatusError) as error:
                        failure = f"{server.base_url} ({error})"
                        again.append(request)
                        if free.pop(server, None) is not None:
                            print(f"gr2: left out {failure}, {len(free)} of {len(servers)} servers left", flush=True)
                if answered:
                    yield answered
            runner.run(_close(servers))


async def _first(tasks: dict) -> set[asyncio.Task]:
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    return done


async def _close(servers: list) -> None:
    for server in servers:
        await server.close()


async def _ask(server, request: Request, settings: dict) -> Sample:
    import openai

    sampling = {"seed": request.seed, "temperature": request.temperature} | _response_format(request.schema)
    try:
        answer = await server.chat.completions.create(messages=request.messages, **settings, **sampling)
    except openai.APIStatusError as error:
        if error.status_code in (408, 409, 429) or error.status_code >= 500:
            raise
        # A prompt longer than the context arrives here too: as the server's sentence about it.
        raise InputError(f"{server.base_url} refused a request: {error.message}") from None
    choice = answer.choices[0]
    usage = (answer.usage.prompt_tokens, answer.usage.completion_tokens) if answer.usage else (0, 0)
    return Sample(choice.message.content or "", choice.finish_reason, *usage)


def _response_format(schema: dict | None) -> dict:
    """JSON-schema decoding."""
    if schema is None:
        return {}
    answer = {"name": "answer", "strict": True, "schema": plain_json(schema)}
    return {"response_format": {"type": "json_schema", "json_schema": answer}}

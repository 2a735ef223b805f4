"""Samples from servers that speak OpenAI's chat completions: a teacher too large for this machine, or several of it."""

import asyncio
import os
from collections.abc import Iterator, Sequence

from gr2.errors import InputError, ServiceError
from gr2.masking import mask
from gr2.samplers.base import Answered, Request, Sample, Sampler, Take
from gr2.samplers.grammar import plain_json
from gr2.samplers.openai_answers import UnusableAnswer, read_completion, retry_after, shorten, what_went_wrong

RETRIES = 5  # of a request at its server, after .5, 1, 2, 4 and 8 s; one that ran out of time is asked once more


class OpenaiSampler(Sampler):
    """Bounded concurrency at each server, `deadline` seconds for each answer, whole. The key is OPENAI_API_KEY.

    Status 408, 409, 429 and 5xx, lost connections, and answers that are no chat completion are tried again; `Retry-After`
    is followed for `longest_wait` seconds a request, all its waits together. A server that still fails is left out, and
    its requests go to the others. After every `notice` seconds without an answer the run says what it waits for.
    """

    def __init__(self, model: str, base_url: Sequence[str], concurrency: int, deadline: float):
        try:
            import openai  # noqa: F401
        except ImportError:
            raise InputError("engine openai: the client is not installed: pip install gr2[openai]") from None
        self.model = model
        self.urls = list(base_url) or [None]  # None: OPENAI_BASE_URL, or OpenAI's own
        self.concurrency = concurrency
        self.deadline = deadline
        self.pause = 0.5  # before the first retry, and at least for a Retry-After
        self.longest_wait = 300.0
        self.notice = 60.0
        self.trouble = ""  # the last failure, of any server

    def stream(self, take: Take, *, top_p: float, max_tokens: int) -> Iterator[Answered]:
        """See `Sampler.stream`; whether a seed is honoured is the server's affair.

        ServiceError when no server is left, InputError when one refuses a request (status 4xx); what was answered by
        then has been yielded.
        """
        settings = {"model": self.model, "top_p": top_p, "max_tokens": max_tokens}
        tasks: dict[asyncio.Task, tuple[object, Request]] = {}
        with asyncio.Runner() as runner:
            servers = [self.connect(url) for url in self.urls]
            free = dict.fromkeys(servers, self.concurrency)  # of the servers that work
            again: list[Request] = []
            try:
                while True:
                    room = sum(free.values())
                    requests, again = again[:room], again[room:]
                    for request in requests + take(room - len(requests)):
                        server = max(free, key=free.get)
                        free[server] -= 1
                        tasks[runner.get_loop().create_task(self.ask(server, request, settings))] = server, request
                    if not tasks and again:
                        raise ServiceError(
                            f"no server is left that answers; the same command goes on from here. The last to fail: {self.trouble}"
                        )
                    if not tasks:
                        return
                    done = runner.run(first_done(tasks, self.notice))
                    if not done:
                        self.say_waiting(len(tasks))
                    outcomes = [(*tasks.pop(task), task.result()) for task in done]
                    for server, request, outcome in outcomes:
                        if isinstance(outcome, ServiceError):
                            again.append(request)
                            self.trouble = str(outcome)
                            if free.pop(server, None) is not None:
                                left = f"{len(free)} of {len(servers)} servers left"
                                print(f"gr2: left out {outcome}, {left}", flush=True)
                        elif server in free:
                            free[server] += 1
                    answered = [(asked, outcome) for _, asked, outcome in outcomes if isinstance(outcome, Sample)]
                    if answered:
                        yield answered
                    for refused in [outcome for *_, outcome in outcomes if isinstance(outcome, InputError)]:
                        raise refused
            finally:
                runner.run(close(servers, list(tasks)))

    def connect(self, url: str | None):
        import openai

        timeout = openai.Timeout(self.deadline, connect=min(30.0, self.deadline))
        key = os.environ.get("OPENAI_API_KEY", "EMPTY")
        return openai.AsyncOpenAI(base_url=url, api_key=key, max_retries=0, timeout=timeout)

    async def ask(self, server, request: Request, settings: dict) -> Sample | InputError | ServiceError:
        """The answer to a request, or the error, given back so that a task that nobody waits for raises nothing."""
        import openai

        sampling = {"seed": request.seed, "temperature": request.temperature} | _response_format(request.schema)
        where = f"{mask(str(server.base_url))} (request {request.key})"
        failed = timeouts = 0
        waited = 0.0
        while True:
            wait = None
            try:
                async with asyncio.timeout(self.deadline):
                    create = server.chat.completions.with_raw_response.create
                    answer = await create(messages=request.messages, **settings, **sampling)
                return read_completion(answer.text)
            except openai.APIStatusError as error:
                said = f"status {error.status_code}, {what_went_wrong(error.response.text)}"
                if error.status_code not in (408, 409, 429) and error.status_code < 500:
                    # A prompt longer than the context arrives here too: as the server's sentence about it.
                    return InputError(f"{where} refused: {said}")
                wait = retry_after(error.response.headers)
            except UnusableAnswer as error:
                said = str(error)
            except TimeoutError:
                timeouts += 1
                said = f"no whole answer within {self.deadline:g} s"
            except openai.APIError as error:
                said = mask(shorten(f"{error.message} {error.__cause__ or ''}".strip()))
            self.trouble = f"{where}: {said}"
            if wait is None:
                failed += 1
                if failed > RETRIES or timeouts > 1:
                    return ServiceError(self.trouble)
                await asyncio.sleep(self.pause * 2 ** (failed - 1))
            else:
                wait = max(wait, self.pause)
                waited += wait
                if waited > self.longest_wait:
                    return ServiceError(f"{self.trouble}; it asks to wait {wait:.4g} s, and a request waits at most "
                                        f"{self.longest_wait:g} s in all")  # fmt: skip
                await asyncio.sleep(wait)

    def say_waiting(self, count: int) -> None:
        trouble = f"; last failure: {self.trouble}" if self.trouble else ""
        print(f"gr2: no answer for {self.notice:g} s, {count} requests in flight{trouble}", flush=True)


async def first_done(tasks: dict, seconds: float) -> set[asyncio.Task]:
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED, timeout=seconds)
    return done


async def close(servers: list, tasks: list[asyncio.Task]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for server in servers:
        await server.close()


def _response_format(schema: dict | None) -> dict:
    """JSON-schema decoding."""
    if schema is None:
        return {}
    answer = {"name": "answer", "strict": True, "schema": plain_json(schema)}
    return {"response_format": {"type": "json_schema", "json_schema": answer}}

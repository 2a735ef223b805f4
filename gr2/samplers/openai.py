"""Samples from a server that speaks OpenAI's chat completions: a teacher too large for this machine."""

import asyncio
import os
from collections.abc import Iterator

from gr2.errors import GOES_ON, InputError, ServiceError
from gr2.masking import mask
from gr2.samplers.base import Answered, Request, Sample, Sampler, Take
from gr2.samplers.grammar import plain_json
from gr2.samplers.openai_answers import UnusableAnswer, describe_failure, read_completion, retry_after, shorten

RETRIES = 5  # of a request, after .5, 1, 2, 4 and 8 s; one that ran out of time is sent once more


class OpenaiSampler(Sampler):
    """`concurrency` requests in flight, `deadline` seconds for each whole answer. The key is OPENAI_API_KEY.

    Status 408, 409, 429 and 5xx, lost connections and answers that are no chat completion are tried again. Retry-After
    is followed, for `longest_wait` seconds a request in all. After every `notice` seconds without an answer the run
    says what it waits for. For several servers give a router's URL.
    """

    def __init__(self, model: str, base_url: str | None, concurrency: int, deadline: float):
        try:
            import openai  # noqa: F401
        except ImportError:
            raise InputError("engine openai: the client is not installed: pip install 'gr2[openai]'") from None
        self.model = model
        self.base_url = base_url  # None: OPENAI_BASE_URL, or OpenAI's own
        self.concurrency = concurrency
        self.deadline = deadline
        self.pause = 0.5  # before the first retry, and at least for a Retry-After
        self.longest_wait = 300.0
        self.notice = 60.0
        self.trouble = ""  # the last failure

    def stream(self, take: Take, *, top_p: float, max_tokens: int) -> Iterator[Answered]:
        """See `Sampler.stream`; whether a seed is honoured is up to the server.

        InputError when it refuses a request (status 4xx), and for one of order first: a chat gives no scores.
        ServiceError when a request fails for good: nothing more is sent, but what is in flight is waited for. What was
        answered has been yielded by then.
        """
        settings = {"model": self.model, "top_p": top_p, "max_tokens": max_tokens}
        tasks: dict[asyncio.Task, Request] = {}
        failure: ServiceError | None = None
        with asyncio.Runner() as runner:
            server = self.connect()
            try:
                while True:
                    requests = [] if failure else take(self.concurrency - len(tasks))
                    if any(request.order == "first" for request in requests):
                        raise InputError(
                            "--order first: a chat server gives no scores: use --engine vllm or transformers"
                        )
                    for request in requests:
                        tasks[runner.get_loop().create_task(self.ask(server, request, settings))] = request
                    if not tasks:
                        break
                    done = runner.run(first_done(tasks, self.notice))
                    if not done:
                        self.report_waiting(len(tasks))
                    outcomes = [(tasks.pop(task), task.result()) for task in done]
                    answered = [(request, outcome) for request, outcome in outcomes if isinstance(outcome, Sample)]
                    if answered:
                        yield answered
                    for _, outcome in outcomes:
                        if isinstance(outcome, InputError):
                            raise outcome
                        if isinstance(outcome, ServiceError):
                            failure = outcome
            finally:
                runner.run(close(server, list(tasks)))
        if failure:
            raise ServiceError(f"the server failed: {failure}; {GOES_ON}")

    def connect(self):
        import openai

        timeout = openai.Timeout(self.deadline, connect=min(30.0, self.deadline))
        key = os.environ.get("OPENAI_API_KEY", "EMPTY")
        return openai.AsyncOpenAI(base_url=self.base_url, api_key=key, max_retries=0, timeout=timeout)

    async def ask(self, server, request: Request, settings: dict) -> Sample | InputError | ServiceError:
        """The answer to a request, or the error, returned so that a task that nobody waits for raises nothing."""
        import openai

        sampling = {"seed": request.seed, "temperature": request.temperature} | response_format(request.schema)
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
                problem = f"status {error.status_code}, {describe_failure(error.response.text)}"
                if error.status_code not in (408, 409, 429) and error.status_code < 500:
                    # A prompt longer than the context arrives here too: as the server's sentence about it.
                    return InputError(f"{where} refused: {problem}")
                wait = retry_after(error.response.headers)
            except UnusableAnswer as error:
                problem = str(error)
            except TimeoutError:
                timeouts += 1
                problem = f"no whole answer within {self.deadline:g} s"
            except openai.APIError as error:
                problem = mask(shorten(f"{error.message} {error.__cause__ or ''}".strip()))
            self.trouble = f"{where}: {problem}"
            if wait is None:
                failed += 1
                if failed > RETRIES or timeouts > 1:
                    return ServiceError(self.trouble)
                await asyncio.sleep(self.pause * 2 ** (failed - 1))
            else:
                wait = max(wait, self.pause)
                waited += wait
                if waited > self.longest_wait:
                    limit = f"a request waits at most {self.longest_wait:g} s in all"
                    return ServiceError(f"{self.trouble}; it asks to wait {wait:.4g} s, and {limit}")
                await asyncio.sleep(wait)

    def report_waiting(self, count: int) -> None:
        trouble = f"; last failure: {self.trouble}" if self.trouble else ""
        print(f"gr2: no answer for {self.notice:g} s, {count} requests in flight{trouble}", flush=True)


async def first_done(tasks: dict, seconds: float) -> set[asyncio.Task]:
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED, timeout=seconds)
    return done


async def close(server, tasks: list[asyncio.Task]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await server.close()


def response_format(schema: dict | None) -> dict:
    """The setting that asks for decoding under a JSON schema."""
    if schema is None:
        return {}
    answer = {"name": "answer", "strict": True, "schema": plain_json(schema)}
    return {"response_format": {"type": "json_schema", "json_schema": answer}}

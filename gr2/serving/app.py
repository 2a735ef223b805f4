"""The routes, and what holds for all of them: a token, limits, an answer for everything that may be sent."""

import asyncio
import hmac
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from fastapi import FastAPI, Request, Response
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from gr2.errors import InputError
from gr2.serving import logs
from gr2.serving.batching import Batcher, FullQueueError
from gr2.serving.forms import explain
from gr2.serving.messages import Answer, RankingJob
from gr2.serving.metrics import Metrics
from gr2.serving.settings import Limits
from gr2.serving.supervisor import Supervisor
from gr2.serving.wire import INTERFACES, Interface, Refusal, check
from gr2.serving.worker import BrokenEngineError

READING = 10.0  # seconds in which a body must arrive
DISCARDED = 16  # times the limit: what is read of a body that is too long


@dataclass
class Server:
    """What the routes share."""

    supervisor: Supervisor
    batcher: Batcher
    metrics: Metrics
    limits: Limits
    token: str | None
    leaving: bool = False  # it answers what it has, and takes no more connections
    taken: int = 0
    answered: int = 0

    def check_token(self, request: Request) -> None:
        """Refusal without the bearer token, where there is one."""
        given = request.headers.get("authorization", "").encode("latin-1")
        if self.token and not hmac.compare_digest(given, f"Bearer {self.token}".encode()):
            raise Refusal(
                401, "Expected the header Authorization with the bearer token.", **{"WWW-Authenticate": "Bearer"}
            )

    async def read_body(self, request: Request) -> bytes:
        """Refusal where it is too long, before it is parsed, or too slow.

        Of what is too long the rest is read, up to a bound, since a client hears nothing while it sends.
        """
        parts, length, most = [], 0, self.limits.bytes
        try:
            async with asyncio.timeout(READING):
                async for part in request.stream():
                    length += len(part)
                    if length <= most:
                        parts.append(part)
                    elif length > DISCARDED * most:
                        break
        except TimeoutError:
            raise Refusal(408, f"Expected the whole body within {READING:g} seconds.", Connection="close") from None
        if length > most:
            raise Refusal(413, f"Expected a body of at most {most} bytes.", Connection="close")
        return b"".join(parts)

    def respond(self, status: int, body: object, **headers: str) -> Response:
        text = json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        content = text.encode("utf-8", "replace")
        if self.leaving:
            headers["Connection"] = "close"
        return Response(content, status, headers, media_type="application/json")

    async def rank(self, interface: Interface, request: Request) -> Response:
        """Reads a request, has it ranked, and counts and logs how it went."""
        self.taken += 1
        started, facts, headers = time.monotonic(), {}, {}
        try:
            self.check_token(request)
            body = await self.read_body(request)
            started = time.monotonic()
            if self.batcher.full:
                raise FullQueueError
            form = interface.form.model_validate_json(body)
            job = interface.job(form)
            check(job, self.limits)
            answer = await self.batcher.answer(job)
            self.metrics.count(answer)
            version = answer.model or self.supervisor.version
            facts, headers = describe(job, answer), label(answer, version)
            status, content = 200, interface.body(form, job, answer, version)
        except ValidationError as error:
            status, content = 422, interface.error(explain(error))
        except FullQueueError:
            status, content = 429, interface.error("The queue is full; try again after a second.")
            headers = {"Retry-After": "1"}
        except Refusal as refusal:
            status, content, headers = refusal.status, interface.error(refusal.sentence), refusal.headers
        except ClientDisconnect:
            status, content = 499, interface.error("The client left.")
        except Exception as error:  # a fault of ours
            logs.write("fault", "error", error=logs.describe(error))
            status, content = 500, interface.error("The server failed on this request.")
        seconds = time.monotonic() - started
        self.metrics.requests.labels(interface.path, status).inc()
        self.metrics.seconds.labels(interface.path).observe(seconds)
        logs.write("request", route=interface.path, status=status, ms=round(1000 * seconds, 2), **facts)
        self.answered += 1
        return self.respond(status, content, **headers)


def describe(job: RankingJob, answer: Answer) -> dict:
    """What a log may hold of a request."""
    facts = {"request": job.number, "candidates": len(job.candidates), "fallback": answer.fallback}
    facts |= {"lacks": answer.lacks} if answer.lacks else {}
    return facts | ({"unranked": len(answer.marks)} if answer.marks else {})


def label(answer: Answer, version: str) -> dict[str, str]:
    """Headers for interfaces whose bodies have no place for it."""
    headers = {"X-Gr2-Fallback": answer.fallback, "X-Gr2-Lacks": answer.lacks}
    return {"X-Gr2-Model": version} | {name: value for name, value in headers.items() if value}


def make_app(server: Server) -> FastAPI:
    """The engine is opened before the first request, and ended after the last."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        running = asyncio.gather(server.batcher.run(), server.supervisor.watch())
        yield
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        await server.supervisor.stop()
        logs.write("stop", taken=server.taken, answered=server.answered)

    app = FastAPI(title="gr2 serve", lifespan=lifespan, docs_url=None, redoc_url=None, redirect_slashes=False)

    @app.get("/health")
    async def health() -> Response:
        """200 while the server runs."""
        return server.respond(200, {"status": "ok"})

    @app.get("/ready")
    async def ready() -> Response:
        """200 while the engine answers."""
        trouble = ("leaving", "The server is shutting down.") if server.leaving else server.supervisor.trouble
        if trouble:
            return server.respond(503, {"status": trouble[0], "message": trouble[1]})
        return server.respond(200, {"status": "ready", "model": server.supervisor.version})

    @app.get("/metrics")
    async def metrics() -> Response:
        """What Prometheus reads."""
        server.metrics.ready.set(server.supervisor.trouble is None)
        server.metrics.queue.set(len(server.batcher.queue))
        return Response(server.metrics.show(), media_type="text/plain; version=0.0.4")

    @app.post("/v1/reload")
    async def reload(request: Request) -> Response:
        """Opens the reranker's folder again; the old engine answers until the new one is ready."""
        try:
            server.check_token(request)
            return server.respond(200, {"model": await server.supervisor.reload()})
        except Refusal as refusal:
            return server.respond(refusal.status, {"message": refusal.sentence}, **refusal.headers)
        except (InputError, BrokenEngineError) as error:
            logs.write("not_reloaded", "error", why=str(error))
            sentence = "The new engine did not open; the old one stays. The log says why."
            return server.respond(409, {"message": sentence})

    @app.exception_handler(HTTPException)
    async def refuse(request: Request, error: HTTPException) -> Response:
        sentences = {404: "There is no such route.", 405: "This route takes another method."}
        sentence = sentences.get(error.status_code, "The request cannot be answered.")
        return server.respond(error.status_code, {"message": sentence}, **(error.headers or {}))

    for interface in INTERFACES:  # after FastAPI's own, which app.openapi() describes
        add_route(app, server, interface)
    return app


def add_route(app: FastAPI, server: Server, interface: Interface) -> None:
    """A route of Starlette's: FastAPI would look for parameters and dependencies at every request."""

    async def route(request: Request) -> Response:
        return await server.rank(interface, request)

    app.add_route(interface.path, route, ["POST"])
    body = {"content": {"application/json": {"schema": interface.form.model_json_schema()}}, "required": True}
    described = {"requestBody": body, "responses": {"200": {"description": "The ranking"}}}
    app.openapi()["paths"][interface.path] = {"post": described}

"""Runs the server until it is told to stop; then everything that it took is answered first."""

import asyncio
import gc
import socket
from types import FrameType

import uvicorn
import uvloop

from gr2.errors import InputError
from gr2.serving import logs
from gr2.serving.app import Server, make_app
from gr2.serving.batching import Batcher
from gr2.serving.metrics import Metrics
from gr2.serving.settings import BatchLimits, Limits, Settings, Timeouts
from gr2.serving.supervisor import Supervisor
from gr2.serving.worker import BrokenEngineError

DRAIN = 1.0  # seconds in which answers tell clients to close their connections, before the server does
LEAVING = 30  # seconds for the last answers


class Uvicorn(uvicorn.Server):
    """Ends as follows: /ready says no, connections close with their next answer, then no new one is taken."""

    def __init__(self, config: uvicorn.Config, server: Server):
        super().__init__(config)
        self.ours, self.loop = server, asyncio.get_running_loop()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.loop.call_soon_threadsafe(self.leave)

    def leave(self) -> None:
        """A second signal skips the pause."""
        if self.ours.leaving:
            self.should_exit = True
            return
        self.ours.leaving = True
        logs.write("leaving")
        self.loop.call_later(DRAIN, self.leave)


def run(
    settings: Settings,
    timeouts: Timeouts,
    batch_limits: BatchLimits,
    limits: Limits,
    token: str | None,
    host: str,
    port: int,
) -> None:
    """InputError where the reranker cannot be opened or the address is taken."""
    logs.take_over()
    listening = listen(host, port)

    async def serve() -> None:
        metrics = Metrics()
        supervisor = Supervisor(settings, timeouts, metrics)
        server = Server(supervisor, Batcher(supervisor, batch_limits, metrics), metrics, limits, token)
        try:
            await supervisor.start()
        except BrokenEngineError as error:
            raise InputError(f"{settings.reranker}: its engine did not open: {error}") from None
        gc.collect()
        gc.freeze()
        logs.write("listening", host=host, port=listening.getsockname()[1], model=supervisor.version)
        await Uvicorn(configure(server), server).serve([listening])

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve())


def configure(server: Server) -> uvicorn.Config:
    return uvicorn.Config(
        make_app(server),
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=LEAVING,
        timeout_keep_alive=30,
    )


def listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise InputError(f"--host {host} --port {port}: {error.strerror}") from None

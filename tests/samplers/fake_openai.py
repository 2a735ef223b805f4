"""A fake of an OpenAI-style chat server on 127.0.0.1: it answers what a test's function answers, and is no model.

    python tests/fake_openai.py DELAY

is one in a process of its own, which can be killed; it prints its URL.
"""

import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Odd:
    """An answer of a server that fails."""

    body: str | dict = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    hang: float = 0.0  # seconds before the first byte
    drip: float = 0.0  # seconds between two bytes
    cut: bool = False  # the connection ends in the middle of the body


class FakeServer:
    """Use as a context manager. `reply(request)` returns the answer's text, (HTTP status, error message), or `Odd`."""

    def __init__(self, reply: Callable[[dict], str | tuple[int, str] | Odd]):
        self.requests: list[dict] = []
        self.most_at_once = 0
        self._reply = reply
        self._at_once = 0
        self._lock = threading.Lock()
        self._closed = threading.Event()

    def __enter__(self) -> "FakeServer":
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        return self

    def __exit__(self, *_) -> None:
        self._closed.set()
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with fake._lock:
                    fake.requests.append(request)
                    fake._at_once += 1
                    fake.most_at_once = max(fake.most_at_once, fake._at_once)
                reply = fake._reply(request)
                with fake._lock:
                    fake._at_once -= 1
                with suppress(ConnectionError):  # the client has given up
                    self.send(odd(reply))

            def send(self, reply: Odd) -> None:
                content = (reply.body if isinstance(reply.body, str) else json.dumps(reply.body)).encode()
                fake._closed.wait(reply.hang)
                self.send_response(reply.status)
                length = str(len(content) + 10 * reply.cut)
                for name, value in (
                    {"Content-Type": "application/json", "Content-Length": length} | reply.headers
                ).items():
                    self.send_header(name, value)
                self.end_headers()
                for byte in content if reply.drip else ():
                    if fake._closed.wait(reply.drip):
                        return
                    self.wfile.write(bytes([byte]))
                self.wfile.write(content if not reply.drip else b"")

            def log_message(self, *_) -> None:
                pass

        return Handler


def odd(reply: str | tuple[int, str] | Odd) -> Odd:
    if isinstance(reply, Odd):
        return reply
    return Odd(completion(reply)) if isinstance(reply, str) else Odd(failure(reply[1]), reply[0])


def completion(text: str | None, **changes) -> dict:
    """The body of a good answer; `changes` are of its choice or, `usage`, of the whole."""
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    usage = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
    answer = {"id": "fake", "object": "chat.completion", "created": 0, "model": "fake"}
    usage = changes.pop("usage", usage)
    return answer | {"choices": [choice | changes], "usage": usage}


def failure(message: str) -> dict:
    return {"error": {"message": message}}


def by_seed(request: dict) -> str:
    """An answer that hangs on the request alone, as a real server's should: the candidates, shuffled by its seed."""
    schema = request["response_format"]["json_schema"]["schema"]
    ids = schema["properties"]["recommendations"]["items"]["enum"]
    random.Random(request["seed"]).shuffle(ids)
    return json.dumps({"explanation": f"The user likes this kind of film, so {ids[0]} fits.", "recommendations": ids})


@contextmanager
def server_process(delay: float) -> Iterator[tuple[subprocess.Popen, str]]:
    """A fake server as a process, and its URL."""
    with subprocess.Popen([sys.executable, __file__, str(delay)], stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def main(delay: float) -> None:
    def reply(request: dict) -> str:
        time.sleep(delay)
        return by_seed(request)

    with FakeServer(reply) as server:
        print(server.url, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main(float(sys.argv[1]))

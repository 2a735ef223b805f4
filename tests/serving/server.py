"""A running `gr2 serve`, for tests."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

OPENING = 240  # seconds


class Running:
    """The process, its log so far, and a client of it."""

    def __init__(self, words: list[str], token: str | None):
        env = os.environ | ({"GR2_TOKEN": token} if token else {})
        command = [sys.executable, "-m", "gr2", "serve", *words, "--port", "0"]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=env)
        self.log: list[dict] = []
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()
        self.url = f"http://127.0.0.1:{self.wait_for('listening')['port']}"
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.client = httpx.Client(base_url=self.url, headers=headers, timeout=60)

    def read(self) -> None:
        for line in self.process.stderr:
            self.log.append(json.loads(line) if line.startswith("{") else {"event": "text", "text": line})

    def events(self, name: str) -> list[dict]:
        return [entry for entry in self.log if entry["event"] == name]

    def wait_for(self, event: str, count: int = 1) -> dict:
        """The event of the log that is the count-th of its name."""
        end = time.monotonic() + OPENING
        while time.monotonic() < end and self.process.poll() is None:
            found = self.events(event)
            if len(found) >= count:
                return found[count - 1]
            time.sleep(0.02)
        raise AssertionError(f"no {event}; the log: {self.log}")

    @property
    def engine(self) -> int:
        """The process id of the engine that answers now."""
        while not Path(f"/proc/{self.events('engine_ready')[-1]['pid']}").exists():
            time.sleep(0.02)  # the log is read a little later than it is written
        return self.events("engine_ready")[-1]["pid"]

    def post(self, path: str, body: object, **options) -> httpx.Response:
        return self.client.post(path, json=body, **options)

    def is_ready(self) -> bool:
        return self.client.get("/ready").status_code == 200

    def wait_until_ready(self) -> None:
        end = time.monotonic() + OPENING
        while not self.is_ready():
            assert time.monotonic() < end, self.log
            time.sleep(0.05)

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's lines that have these labels."""
        total = 0.0
        for line in self.client.get("/metrics").text.splitlines():
            head, _, value = line.rpartition(" ")
            if head.partition("{")[0] == name and all(f'{key}="{text}"' in head for key, text in labels.items()):
                total += float(value)
        return total


@contextmanager
def serving(*words: str | Path, token: str | None = None) -> Iterator[Running]:
    """A server with these options; it has to end by itself when it is told to."""
    running = Running([*map(str, words)], token)
    try:
        yield running
    finally:
        running.client.close()
        running.process.terminate()
        try:
            code = running.process.wait(60)
        except subprocess.TimeoutExpired:
            running.process.kill()
            raise
        running.reader.join(10)
    assert code == 0, running.log[-5:]

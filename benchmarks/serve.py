"""What `gr2 serve` does under load: latency, capacity, twice its capacity, and memory over many requests.

    python benchmarks/serve.py runs/demo/fit_prm --run runs/demo --slates runs/demo/slates/slates.parquet

Starts the server with its defaults on a free port of this machine, and asks it about test slates, filled up to
--candidates with items drawn at random. What it should answer is computed first, by the reranker itself. A time begins
when a request is due, whether or not an earlier one is still waiting, and ends with the last byte of the answer, which
is checked afterwards. Prints one JSON line a part:

latency   --rate requests a second, for --seconds
capacity  16 clients that ask again as soon as they are answered: right answers a second
overload  twice as many a second, for --seconds; `lost` are requests without an answer
memory    --requests by 16 clients; MiB of the server and of its engine after each tenth
"""

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import uvloop

from gr2.api import Slate, find_inputs, open_reranker, read_slates
from gr2.files.items import read_items

CLIENTS, CONNECTIONS, DISTINCT = 16, 256, 200


@dataclass(frozen=True)
class Request:
    data: bytes  # of the whole HTTP request
    order: list[int]  # of its candidates, as it should be answered


@dataclass
class Tally:
    outcomes: Counter = field(default_factory=Counter)
    times: dict[str, list[float]] = field(default_factory=dict)

    def count(self, outcome: str, seconds: float) -> None:
        self.outcomes[outcome] += 1
        self.times.setdefault(outcome, []).append(1000 * seconds)

    def show(self) -> dict:
        shown = dict(self.outcomes)
        for outcome, own in self.times.items():
            shown[f"{outcome} p50, p99, most ms"] = [round(float(np.percentile(own, at)), 1) for at in (50, 99, 100)]
        return shown


def fill_up(slate: Slate, items: list[str], count: int, rng: random.Random) -> Slate:
    """With other items of the catalogue behind its candidates, which no source returned."""
    known = set(slate.candidates)
    others = [item_id for item_id in rng.sample(items, count + len(known)) if item_id not in known]
    candidates = [*slate.candidates, *others][:count]
    names = slate.sources[0] if slate.sources else {}
    sources = [*slate.sources, *[dict.fromkeys(names)] * count][:count] if names else []
    scores = [*slate.scores, *[min(slate.scores)] * count][:count] if slate.scores else []
    return Slate(slate.slate_id, slate.history, candidates, scores=scores, sources=sources)


def encode(slate: Slate, order: list[int]) -> Request:
    candidates: list = [{"id": item_id} for item_id in slate.candidates]
    for name, values in (("score", slate.scores), ("sources", slate.sources)):
        for candidate, value in zip(candidates, values, strict=False):
            candidate[name] = value
    plain = not (slate.scores or slate.sources)
    body = json.dumps({"history": slate.history, "candidates": slate.candidates if plain else candidates}).encode()
    token = os.environ.get("GR2_TOKEN")
    secret = f"Authorization: Bearer {token}\r\n" if token else ""
    head = f"POST /v1/slates HTTP/1.1\r\nHost: gr2\r\n{secret}Content-Length: {len(body)}\r\n\r\n"
    return Request(head.encode() + body, order)


def make_requests(options: argparse.Namespace) -> list[Request]:
    inputs, rng = find_inputs(options.run), random.Random(0)
    items = read_items(inputs.items)["item_id"].to_list()
    slates = rng.sample(read_slates(options.slates, split="test"), DISTINCT)
    slates = [fill_up(replace(slate, labels=[]), items, options.candidates, rng) for slate in slates]
    reranker = open_reranker(options.reranker, inputs)
    made = []
    for slate in slates:  # one at a time: a batch may differ in the last bits
        index = {item_id: at for at, item_id in enumerate(slate.candidates)}
        made.append(encode(slate, [index[item_id] for item_id in reranker.rank([slate])[0].ranking]))
    return made


class Client:
    """One connection."""

    def __init__(self, port: int):
        self.port, self.streams = port, None

    async def ask(self, request: Request) -> tuple[str, float]:
        """right, other order, a fallback's reason, or the status of a refusal; and when its last byte had come."""
        if self.streams is None:
            self.streams = await asyncio.open_connection("127.0.0.1", self.port)
        reader, writer = self.streams
        writer.write(request.data)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        body = await reader.readexactly(length)
        ended = time.monotonic()
        return judge(int(head[9:12]), json.loads(body), request.order), ended


def judge(status: int, body: dict, order: list[int]) -> str:
    if status != 200:
        return str(status)
    if body["fallback"]:
        return body["fallback"]["reason"]
    return "right" if order == [entry["index"] for entry in body["ranking"]] else "other order"


async def ask_again(port: int, requests: list[Request], end: float, most: int, tally: Tally) -> None:
    """A client that waits for each answer."""
    client, rng = Client(port), random.Random(tally.outcomes.total() + id(tally))
    while time.monotonic() < end and tally.outcomes.total() < most:
        started = time.monotonic()
        outcome, ended = await client.ask(rng.choice(requests))
        tally.count(outcome, ended - started)
        if outcome == "429":
            await asyncio.sleep(0.1)


async def ask_at_rate(port: int, requests: list[Request], rate: float, seconds: float) -> Tally:
    """Each request is due at its time and goes out on the next free connection."""
    tally, free, rng = Tally(), asyncio.Queue(), random.Random(1)
    for _ in range(CONNECTIONS):
        free.put_nowait(Client(port))

    async def ask(due: float) -> None:
        client = await free.get()
        try:
            outcome, ended = await asyncio.wait_for(client.ask(rng.choice(requests)), 30)
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            outcome, ended, client = "lost", time.monotonic(), Client(port)
        tally.count(outcome, ended - due)
        free.put_nowait(client)

    begun, tasks = time.monotonic(), []
    for number in range(int(rate * seconds)):
        due = begun + number / rate
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        tasks.append(asyncio.create_task(ask(due)))
    await asyncio.gather(*tasks)
    return tally


async def ask_all_the_time(port: int, requests: list[Request], seconds: float, most: int) -> Tally:
    tally = Tally()
    end = time.monotonic() + seconds
    await asyncio.gather(*(ask_again(port, requests, end, most, tally) for _ in range(CLIENTS)))
    return tally


def resident(process: int) -> float:
    """MiB"""
    status = Path(f"/proc/{process}/status").read_text()
    return round(int(status.split("VmRSS:")[1].split()[0]) / 1024, 1)


def start(options: argparse.Namespace) -> tuple[subprocess.Popen, int, int]:
    """The server, its engine's process id, and its port."""
    command = [sys.executable, "-m", "gr2", "serve", options.reranker, "--run", options.run, "--port", "0"]
    server = subprocess.Popen([*command, *options.serve], stderr=subprocess.PIPE, text=True)
    engine = 0
    for line in server.stderr:
        event = json.loads(line) if line.startswith("{") else {"event": line}
        engine = event.get("pid", engine)
        if event["event"] == "listening":
            threading.Thread(target=server.stderr.read, daemon=True).start()
            return server, engine, event["port"]
    raise SystemExit("the server did not start")


def show(part: str, **values: object) -> None:
    print(json.dumps({"part": part, **values}), flush=True)


async def measure(options: argparse.Namespace, requests: list[Request], processes: dict[str, int], port: int) -> None:
    await ask_all_the_time(port, requests, 3, 10**9)  # warm
    tally = await ask_at_rate(port, requests, options.rate, options.seconds)
    show("latency", rate=options.rate, candidates=options.candidates, **tally.show())
    tally = await ask_all_the_time(port, requests, 10, 10**9)
    capacity = tally.outcomes["right"] / 10
    show("capacity", right_a_second=capacity, **tally.show())
    tally = await ask_at_rate(port, requests, 2 * capacity, options.seconds)
    show("overload", rate=2 * capacity, lost=tally.outcomes["lost"], **tally.show())
    memory, outcomes = [], Counter()
    for _ in range(10):
        outcomes += (await ask_all_the_time(port, requests, 10**9, options.requests // 10)).outcomes
        memory.append({name: resident(process) for name, process in processes.items()})
    show("memory", requests=outcomes.total(), **outcomes, mib=memory)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reranker", help="a reranker's folder")
    parser.add_argument("--run", required=True, help="its run's folder")
    parser.add_argument("--slates", required=True, help="slates.parquet with test slates")
    parser.add_argument("--candidates", type=int, default=50)
    parser.add_argument("--rate", type=float, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.epilog = "What is not listed here is an option of `gr2 serve`, e.g. --threads 2."
    options, serve = parser.parse_known_args()
    options.serve = serve
    requests = make_requests(options)
    server, engine, port = start(options)
    try:
        uvloop.run(measure(options, requests, {"server": server.pid, "engine": engine}, port))
    finally:
        server.terminate()
        server.wait()
    show("end", exit_code=server.returncode)


if __name__ == "__main__":
    main()

"""Twenty-one slates of four films, and teachers that are no models."""

import json
import random
from pathlib import Path

import polars as pl
import pytest

from gr2.files.artifacts import read_lines
from gr2.files.sid_tokens import sid_string
from gr2.files.slates import slates_of
from gr2.samplers.base import Request, Sample, Sampler
from gr2.stages import traces
from gr2.traces.store import COLUMNS, PARTIAL

GENRES = ("Comedy", "Drama", "Horror")
ITEMS = [f"film{number}" for number in range(12)]
CODES = [[number, number % 5, 7] for number in range(12)]
SIDS = dict(zip(ITEMS, map(sid_string, CODES), strict=True))


def write_tables(folder: Path) -> dict[str, str]:
    """Twenty train slates, the first without a label, and a test slate; a path for each option that names a table."""
    titles = [f"Film number {number}" for number in range(12)]
    items = {"item_id": ITEMS, "title": titles, "categories": [[GENRES[n % 3]] for n in range(12)]}
    sids = {"item_id": ITEMS, "codes": CODES, "sid": list(SIDS.values())}
    rng = random.Random(0)
    slates = []
    for number in range(20):
        shown = rng.sample(ITEMS, 9)
        labels = [float(index in (number % 4, (number + 1) % 4)) for index in range(4)]
        slates.append((f"slate{number}", "user", shown[:5], shown[5:], labels if number else [0.0] * 4, "train"))
    slates.append(("other", "user", ITEMS[:3], ITEMS[3:6], [1.0, 0.0, 0.0], "test"))
    columns = ["slate_id", "user_id", "history", "candidates", "labels", "split"]
    frames = {
        "items": pl.DataFrame(items),
        "semantic_ids": pl.DataFrame(sids),
        "slates": pl.DataFrame(slates, schema=columns, orient="row"),
    }
    for name, frame in frames.items():
        frame.write_parquet(folder / f"{name}.parquet")
    return {name: str(folder / f"{name}.parquet") for name in frames}


def answer(explanation: str, ids: list[str]) -> str:
    return json.dumps({"explanation": explanation, "recommendations": ids})


class FakeSampler(Sampler):
    """No model: shuffles the candidates it finds in the schema by the seed, and now and then answers nonsense.

    It has room for four requests at once, and answers the last of them first.
    """

    def __init__(self):
        self.asked: list[Request] = []
        self.most_in_flight = 0
        self.answers_left = 1_000

    def stream(self, take, *, top_p, max_tokens):
        running: list[Request] = []
        while running := running + take(4 - len(running)):
            self.most_in_flight = max(self.most_in_flight, len(running))
            if not self.answers_left:
                raise KeyboardInterrupt
            self.answers_left -= 1
            request = running.pop()
            self.asked.append(request)
            yield [(request, self._answer(request.seed, request.schema))]

    def _answer(self, seed: int, schema: dict) -> Sample:
        rng = random.Random(seed)
        ids = rng.sample(schema["properties"]["recommendations"]["items"]["enum"], 4)
        text = answer(f"This user likes drama best, so {ids[0]} \u2028 comes next.", ids)
        return Sample(text if rng.random() < 0.8 else text[:50], "stop", 100, 20)


class Citing(FakeSampler):
    """Puts a relevant item first, and cites an item of its slate's history."""

    def __init__(self, tables: dict[str, str], index: int):
        super().__init__()
        self.slates, items = {}, relevant(tables)
        for slate in pl.read_parquet(tables["slates"]).filter(pl.col("split") == "train").iter_rows(named=True):
            ranked = sorted(slate["candidates"], key=lambda item_id: item_id not in items[slate["slate_id"]])
            reasoning = f"This user likes drama best of all, lately {SIDS[slate['history'][index]]}."
            self.slates[slate["slate_id"]] = answer(reasoning, [SIDS[item_id] for item_id in ranked])

    def stream(self, take, *, top_p, max_tokens):
        while requests := take(4):
            self.asked += requests
            yield [(request, Sample(self.slates[request.key], "stop", 100, 20)) for request in requests]


def run(tables: dict[str, str], folder: Path, **changes) -> list[dict]:
    """The rows of gr2 traces."""
    defaults = {
        "prompt": "rejection",
        "model_name_or_path": "fake",
        "engine": "openai",
        "base_url": "http://fake",
        "tries": 3,
    }
    traces.run(traces.Config(**tables, **(defaults | {"output_dir": str(folder)} | changes)))
    return read_lines(folder / "traces.jsonl", COLUMNS)


def relevant(tables: dict[str, str]) -> dict[str, list[str]]:
    """slate_id -> its relevant items."""
    return {slate.slate_id: slate.relevant for slate in slates_of(pl.read_parquet(tables["slates"]))}


def interrupt(tables: dict[str, str], folder: Path, fake: FakeSampler, answers: int = 2, **changes) -> Path:
    """Leaves a partial file with this many answers."""
    fake.answers_left = answers
    with pytest.raises(KeyboardInterrupt):
        run(tables, folder, **changes)
    fake.answers_left = 1_000
    return folder / PARTIAL

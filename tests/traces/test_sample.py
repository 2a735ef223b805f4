import json
import random
from pathlib import Path

import polars as pl
import pytest
from conftest import gr2
from fake_openai import FakeServer

from gr2.artifacts import read_lines
from gr2.errors import InputError
from gr2.language_model.samplers import Sample
from gr2.semantic_ids.tokens import SID, sid_string
from gr2.traces import sample, store, teacher
from gr2.traces.store import COLUMNS

GENRES = ("Comedy", "Drama", "Horror")
ITEMS = [f"film{number}" for number in range(12)]
CODES = [[number, number % 5, 7] for number in range(12)]


@pytest.fixture(scope="module")
def tables(tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("tables")
    titles = [f"Film number {number}" for number in range(12)]
    items = {"item_id": ITEMS, "title": titles, "categories": [[GENRES[n % 3]] for n in range(12)]}
    sids = {"item_id": ITEMS, "codes": CODES, "sid": [sid_string(codes) for codes in CODES]}
    rng = random.Random(0)
    slates = []
    for number in range(20):
        shown = rng.sample(ITEMS, 9)
        labels = [float(place in (number % 4, (number + 1) % 4)) for place in range(4)]
        slates.append((f"slate{number}", "user", shown[:5], shown[5:], labels if number else [0.0] * 4, "train"))
    slates.append(("other", "user", ITEMS[:3], ITEMS[3:6], [1.0, 0.0, 0.0], "test"))
    columns = ["slate_id", "user_id", "history", "candidates", "labels", "split"]
    for name, frame in (("items", pl.DataFrame(items)), ("semantic_ids", pl.DataFrame(sids)),
                        ("slates", pl.DataFrame(slates, schema=columns, orient="row"))):  # fmt: skip
        frame.write_parquet(folder / f"{name}.parquet")
    return {name: str(folder / f"{name}.parquet") for name in ("items", "semantic_ids", "slates")}


def answer(explanation: str, ids: list[str]) -> str:
    return json.dumps({"explanation": explanation, "recommendations": ids})


class FakeSampler:
    """No model: shuffles the candidates it finds in the schema by the seed, and now and then answers nonsense."""

    def __init__(self):
        self.calls: list[dict] = []
        self.calls_left = 1_000

    def sample(self, conversations, *, temperature, top_p, max_tokens, seeds, schemas=None) -> list[Sample]:
        if not self.calls_left:
            raise KeyboardInterrupt
        self.calls_left -= 1
        self.calls.append({"temperature": temperature, "seeds": list(seeds), "conversations": conversations})
        return [self._answer(seed, schema) for seed, schema in zip(seeds, schemas, strict=True)]

    def _answer(self, seed: int, schema: dict) -> Sample:
        rng = random.Random(seed)
        ids = rng.sample(schema["properties"]["recommendations"]["items"]["enum"], 4)
        text = answer(f"This user likes drama best, so {ids[0]} \u2028 comes next.", ids)
        return Sample(text if rng.random() < 0.8 else text[:50], "stop", 100, 20)


@pytest.fixture
def fake(monkeypatch) -> FakeSampler:
    sampler = FakeSampler()
    monkeypatch.setattr(teacher, "open_sampler", lambda *_, **__: sampler)
    return sampler


def config(tables, folder: Path, **changes) -> sample.Config:
    defaults = {"prompt": "prompts/rejection.yaml", "model_name_or_path": "fake", "tries": 3, "batch_size": 4}
    return sample.Config(**tables, **(defaults | {"output_dir": str(folder)} | changes))


def run(tables, folder: Path, **changes) -> list[dict]:
    sample.run(config(tables, folder, **changes))
    return read_lines(folder / "traces.jsonl", COLUMNS)


def relevant(tables) -> dict[str, list[str]]:
    slates = pl.read_parquet(tables["slates"]).iter_rows(named=True)
    return {s["slate_id"]: [i for i, label in zip(s["candidates"], s["labels"], strict=True) if label] for s in slates}


def test_rejection_asks_until_a_relevant_item_is_first(tables, tmp_path, fake):
    rows = run(tables, tmp_path, temperature=0.5, temperature_step=0.25)
    by_slate: dict[str, list[dict]] = {}
    for row in rows:
        assert set(row) == set(COLUMNS)
        by_slate.setdefault(row["slate_id"], []).append(row)
    assert list(by_slate) == [f"slate{number}" for number in range(1, 20)], "train slates with a label, in file order"
    for slate_id, tried in by_slate.items():
        assert [row["sample"] for row in tried] == list(range(len(tried)))
        assert not any(row["accepted"] for row in tried[:-1]) and (tried[-1]["accepted"] or len(tried) == 3)
        for row in tried:
            assert row["accepted"] == (row["reason"] is None)
            assert not row["accepted"] or row["ranking"][0] in relevant(tables)[slate_id]
    assert {call["temperature"] for call in fake.calls} == {0.5, 0.75, 1.0}
    seeds = [seed for call in fake.calls for seed in call["seeds"]]
    assert len(set(seeds)) == len(seeds) == len(rows)


def test_rejection_never_shows_which_item_is_relevant(tables, tmp_path, fake):
    """The same slates with other labels give the same prompts."""
    run(tables, tmp_path / "a", tries=1)
    asked = fake.calls[0]["conversations"]
    moved = pl.read_parquet(tables["slates"]).with_columns(pl.col("labels").list.reverse())
    moved.write_parquet(tmp_path / "moved.parquet")
    fake.calls.clear()
    run(tables | {"slates": str(tmp_path / "moved.parquet")}, tmp_path / "b", tries=1)
    assert fake.calls[0]["conversations"] == asked


def test_targeted_shows_the_first_relevant_item(tables, tmp_path, fake):
    run(tables, tmp_path, mode="targeted", prompt="prompts/targeted.yaml", tries=1, batch_size=100)
    sids = dict(zip(ITEMS, map(sid_string, CODES), strict=True))
    for number, conversation in enumerate(fake.calls[0]["conversations"], start=1):
        assert f"chose next: {sids[relevant(tables)[f'slate{number}'][0]]}" in conversation[1]["content"]


def test_an_interrupted_run_resumes_to_the_same_bytes(tables, tmp_path, fake):
    """Killed after every number of steps, with the last line torn: nothing lost, nothing doubled, nothing different."""
    run(tables, tmp_path / "whole")
    files = ("traces.jsonl", "summary.json")
    expected = [(tmp_path / "whole" / name).read_bytes() for name in files]
    assert not (tmp_path / "whole" / store.PARTIAL).exists()
    steps = len(fake.calls)
    for done in range(1, steps):
        folder = tmp_path / f"killed{done}"
        fake.calls_left = done
        with pytest.raises(KeyboardInterrupt):
            run(tables, folder)
        partial = folder / store.PARTIAL
        content = partial.read_bytes()
        partial.write_bytes(content[: -len(content.splitlines()[-1]) // 2])
        fake.calls_left, already = 1_000, len(fake.calls)
        run(tables, folder)
        assert [(folder / name).read_bytes() for name in files] == expected
        assert len(fake.calls) - already == steps - done + 1, "only the torn step is asked again"


def test_a_partial_file_of_another_run_is_refused(tables, tmp_path, fake):
    fake.calls_left = 2
    with pytest.raises(KeyboardInterrupt):
        run(tables, tmp_path)
    with pytest.raises(InputError, match=r"traces\.partial"):
        run(tables, tmp_path, batch_size=7)


def test_short_ids_are_shown_and_written_back_long(tables, tmp_path, fake):
    rows = run(tables, tmp_path, short_ids=True, prompt="prompts/rejection_guided.yaml")
    accepted = [row for row in rows if row["accepted"]]
    assert accepted
    for row in accepted:
        assert not SID.search(row["completion"] + row["messages"][1]["content"])
        assert SID.search(row["reasoning"]) and "-" not in row["reasoning"]
    invented = teacher.long_ids("not 1-2-3-4, nor 99-0-1, on 2020-01", 3)
    assert invented == f"not 1-2-3-4, nor {sid_string([99, 0, 1])}, on 2020-01"


def test_the_template_fills_in_what_the_teacher_left(tables, tmp_path, fake):
    asked = run(tables, tmp_path / "teacher")
    skip = [str(tmp_path / "teacher" / "traces.jsonl")]
    rows = run(tables, tmp_path / "template", mode="template", skip_accepted=skip)
    helped = {row["slate_id"] for row in asked if row["accepted"]}
    assert helped and {row["slate_id"] for row in rows} == {row["slate_id"] for row in asked} - helped
    for row in rows:
        first = relevant(tables)[row["slate_id"]][0]
        assert row["accepted"] and row["ranking"][0] == first and row["teacher"] == "template"
        slate = pl.read_parquet(tables["slates"]).row(by_predicate=pl.col("slate_id") == row["slate_id"], named=True)
        assert row["ranking"][1:] == [item_id for item_id in slate["candidates"] if item_id != first]


def test_a_random_few_in_file_order(tables, tmp_path):
    rows = run(tables, tmp_path / "a", mode="template", max_slates=6)
    numbers = [int(row["slate_id"].removeprefix("slate")) for row in rows]
    assert len(numbers) == 6 and numbers == sorted(numbers) and numbers != list(range(1, 7))
    assert rows == run(tables, tmp_path / "b", mode="template", max_slates=6)


def test_the_summary_counts(tables, tmp_path, fake):
    rows = run(tables, tmp_path)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["samples"] == len(rows) == summary["accepted"] + sum(summary["reasons"].values())
    assert set(summary["reasons"]) == {"relevant_not_first", "truncated"}
    assert summary["slates_without_relevant_item"] == 1 and summary["completion_tokens"] == 20 * len(rows)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mode": "guess"}, "targeted, rejection, template"),
        ({"model_name_or_path": None}, "model_name_or_path"),
        ({"prompt": "prompts/targeted.yaml"}, "target"),
        ({"mode": "targeted"}, "target"),
        ({"split": "valid"}, "valid"),
        ({"tries": 0}, "tries"),
        ({"skip_accepted": ["nowhere.jsonl"]}, "nowhere"),
    ],
)
def test_wrong_input_is_named(tables, tmp_path, fake, changes, message):
    with pytest.raises(InputError, match=message):
        run(tables, tmp_path, **changes)


def test_a_broken_traces_file_names_its_row(tmp_path):
    (tmp_path / "t.jsonl").write_text(json.dumps(dict.fromkeys(COLUMNS)) + "\n{}\n")
    with pytest.raises(InputError, match="row 1, column 'slate_id'"):
        read_lines(tmp_path / "t.jsonl", COLUMNS)


def test_the_command_line_asks_a_server(tables, tmp_path):
    def reply(request: dict) -> str:
        ids = request["response_format"]["json_schema"]["schema"]["properties"]["recommendations"]["items"]["enum"]
        return answer(f"The user likes this kind of film, so {ids[0]} fits.", ids)

    words = [word for name, value in tables.items() for word in (f"--{name}", value)]
    with FakeServer(reply) as server:
        words += ["--engine", "openai", "--base_url", server.url, "--model_name_or_path", "fake-teacher"]
        done = gr2("traces", *words, "--prompt", "prompts/rejection.yaml", "--output_dir", tmp_path)
    rows = read_lines(tmp_path / "traces.jsonl", COLUMNS)
    assert len(rows) == len(server.requests) == 19 and {row["teacher"] for row in rows} == {"fake-teacher"}
    accepted = sum(row["accepted"] for row in rows)
    assert f"{accepted} of 19 samples accepted" in done.stdout and 0 < accepted < 19
    assert {row["reason"] for row in rows} == {None, "relevant_not_first"}

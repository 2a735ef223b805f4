import json
import random
from pathlib import Path

import polars as pl
import pytest
from conftest import gr2
from fake_openai import FakeServer

from gr2.artifacts import read_lines
from gr2.errors import InputError
from gr2.language_model.samplers import Request, Sample, Sampler
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
    assert {request.temperature for request in fake.asked} == {0.5, 0.75, 1.0}
    assert len({request.seed for request in fake.asked}) == len(fake.asked) == len(rows)


def test_rejection_never_shows_which_item_is_relevant(tables, tmp_path, fake):
    """The same slates with other labels give the same prompts."""
    run(tables, tmp_path / "a", tries=1)
    asked = [request.messages for request in fake.asked]
    moved = pl.read_parquet(tables["slates"]).with_columns(pl.col("labels").list.reverse())
    moved.write_parquet(tmp_path / "moved.parquet")
    fake.asked.clear()
    run(tables | {"slates": str(tmp_path / "moved.parquet")}, tmp_path / "b", tries=1)
    assert [request.messages for request in fake.asked] == asked


def test_targeted_shows_the_first_relevant_item(tables, tmp_path, fake):
    run(tables, tmp_path, mode="targeted", prompt="prompts/targeted.yaml", tries=1)
    sids = dict(zip(ITEMS, map(sid_string, CODES), strict=True))
    assert len(fake.asked) == 19
    for request in fake.asked:
        assert f"chose next: {sids[relevant(tables)[request.key][0]]}" in request.messages[1]["content"]


def test_a_second_try_waits_for_no_slate(tables, tmp_path, fake):
    """All slates are in one pool: the engine's four places are full while any slate waits."""
    rows = run(tables, tmp_path)
    first_retry = next(n for n, request in enumerate(fake.asked) if request.temperature > 0.7)
    assert first_retry < 10 and fake.most_in_flight == 4
    assert [row["slate_id"] for row in rows] == sorted(
        (row["slate_id"] for row in rows), key=lambda name: int(name[5:])
    )


def test_an_interrupted_run_resumes_to_the_same_bytes(tables, tmp_path, fake):
    """Killed after every number of answers, with the last line torn: nothing lost, nothing doubled, nothing different."""
    run(tables, tmp_path / "whole")
    files = ("traces.jsonl", "summary.json")
    expected = [(tmp_path / "whole" / name).read_bytes() for name in files]
    assert not (tmp_path / "whole" / store.PARTIAL).exists()
    answers = len(fake.asked)
    for done in range(1, answers):
        folder = tmp_path / f"killed{done}"
        fake.answers_left = done
        with pytest.raises(KeyboardInterrupt):
            run(tables, folder)
        partial = folder / store.PARTIAL
        content = partial.read_bytes()
        partial.write_bytes(content[: -len(content.splitlines()[-1]) // 2])
        fake.answers_left, already = 1_000, len(fake.asked)
        run(tables, folder)
        assert [(folder / name).read_bytes() for name in files] == expected
        assert len(fake.asked) - already == answers - done + 1, "only the torn answer is asked for again"


def test_a_finished_run_resumes_without_its_model(tables, tmp_path, fake, monkeypatch):
    """Killed after the last answer, before traces.jsonl was written."""
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(sample, "summarise", raise_interrupt)
        run(tables, tmp_path)
    monkeypatch.setattr(teacher, "open_sampler", None)
    rows = run(tables, tmp_path)
    assert len(rows) == len(fake.asked)
    assert json.loads((tmp_path / "timing.json").read_text())["samples"] == 0


def raise_interrupt(*_) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("changes", [{"temperature": 0.3}, {"accept_top": 2}, {"prompt": "prompts/student.yaml"}])
def test_a_partial_file_of_another_run_is_refused(tables, tmp_path, fake, changes):
    fake.answers_left = 2
    with pytest.raises(KeyboardInterrupt):
        run(tables, tmp_path)
    with pytest.raises(InputError, match=rf"traces\.partial: holds samples of a run with other {next(iter(changes))};"):
        run(tables, tmp_path, **changes)


def test_a_partial_file_with_a_sample_too_many_is_refused(tables, tmp_path, fake):
    fake.answers_left = 2
    with pytest.raises(KeyboardInterrupt):
        run(tables, tmp_path)
    partial = tmp_path / store.PARTIAL
    partial.write_text(partial.read_text() + partial.read_text().splitlines()[-1] + "\n")
    with pytest.raises(InputError, match=r"traces\.partial: sample 0 of slate 'slate"):
        run(tables, tmp_path)


def test_accepting_the_first_few_and_a_least_gain(tables, tmp_path, fake):
    """The labels of the slates put their first relevant item at rank 1, 2 or 3 of four."""
    few = run(tables, tmp_path / "few", accept_top=3, tries=1)
    assert {row["reason"] for row in few} <= {None, "relevant_not_in_top", "truncated"}
    for row in few:
        first = min((row["ranking"] or []).index(i) for i in relevant(tables)[row["slate_id"]]) if row["ranking"] else 9
        assert row["accepted"] == (first < 3)
    risen = run(tables, tmp_path / "risen", accept_top=4, least_gain=1, tries=2)
    assert {row["reason"] for row in risen} == {None, "too_little_gain", "truncated"}
    summary = json.loads((tmp_path / "risen" / "summary.json").read_text())
    asked = {row["slate_id"] for row in risen}
    assert summary["slates_without_room_to_gain"] == 19 - len(asked) > 0
    assert list(summary["accepted_by_input_rank"]) == ["2", "3"]


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


def test_the_template_teaches_the_order_of_a_reranker(tables, tmp_path):
    slates = pl.read_parquet(tables["slates"]).filter(pl.col("split") == "train")
    taught = slates.select(
        "slate_id", pl.col("candidates").list.reverse().alias("ranking"), pl.lit(True).alias("valid")
    )
    taught.reverse().write_parquet(tmp_path / "rankings.parquet")
    rows = run(tables, tmp_path / "out", mode="template", rankings=str(tmp_path / "rankings.parquet"))
    assert [row["slate_id"] for row in rows] == slates[
        "slate_id"
    ].to_list()  # slate0 has no relevant item, and needs none
    sids = dict(pl.read_parquet(tables["semantic_ids"]).select("item_id", "sid").iter_rows())
    for row, slate in zip(rows, slates.iter_rows(named=True), strict=True):
        assert row["accepted"] and row["ranking"] == slate["candidates"][::-1]
        assert sids[row["ranking"][0]] in row["reasoning"] and row["teacher"] == str(tmp_path / "rankings.parquet")


def test_the_order_of_a_reranker_must_be_there_for_every_slate(tables, tmp_path):
    slates = pl.read_parquet(tables["slates"]).head(3)
    slates.select("slate_id", ranking="candidates", valid=pl.lit(True)).write_parquet(tmp_path / "few.parquet")
    with pytest.raises(InputError, match="expected a row for every slate; 17 are missing"):
        run(tables, tmp_path / "out", mode="template", rankings=str(tmp_path / "few.parquet"))
    with pytest.raises(InputError, match="rankings: expected mode template"):
        run(tables, tmp_path / "out", mode="rejection", rankings=str(tmp_path / "few.parquet"))


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
    assert summary["tokens_a_completion"] == {"mean": 20.0, "p50": 20.0, "p90": 20.0, "p99": 20.0, "longest": 20}
    by_rank = summary["accepted_by_input_rank"]
    assert sum(found["slates"] for found in by_rank.values()) == 19
    assert sum(found["accepted"] for found in by_rank.values()) == summary["slates_accepted"]
    timing = json.loads((tmp_path / "timing.json").read_text())
    assert (timing["samples"], timing["completion_tokens"]) == (len(rows), 20 * len(rows))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mode": "guess"}, "targeted, rejection, template"),
        ({"model_name_or_path": None}, "model_name_or_path"),
        ({"prompt": "prompts/targeted.yaml"}, "target"),
        ({"mode": "targeted"}, "target"),
        ({"split": "valid"}, "valid"),
        ({"tries": 0}, "tries"),
        ({"accept_top": 0}, "accept_top"),
        ({"least_gain": 4}, "least_gain"),
        ({"script": "latn"}, "script"),
        ({"max_prompt_tokens": 100, "engine": "openai"}, "expected tokenizer"),
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

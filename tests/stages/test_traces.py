import json
from pathlib import Path

import pytest

from gr2.cli import main
from gr2.files.artifacts import read_lines
from gr2.samplers import openai as samplers_openai
from gr2.stages import traces
from gr2.traces.store import COLUMNS, PARTIAL
from tests.helpers import gr2, refused
from tests.samplers.fake_openai import FakeServer, Odd, completion
from tests.traces.fake_teacher import FakeSampler, answer, relevant, run, write_tables


@pytest.fixture(scope="module")
def tables(tmp_path_factory) -> dict[str, str]:
    return write_tables(tmp_path_factory.mktemp("tables"))


@pytest.fixture
def fake(monkeypatch) -> FakeSampler:
    sampler = FakeSampler()
    monkeypatch.setenv("OPENAI_API_KEY", "a key of nothing")
    monkeypatch.setattr(traces, "open_sampler", lambda *_, **__: sampler)
    return sampler


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


OUT_OF_RANGE = (
    ("tries accept_top batch_size max_tokens concurrency workers max_slates max_prompt_tokens max_model_len", (0, -1)),
    ("least_gain seed", (-1,)),
    ("temperature temperature_step gpus_per_worker", (-0.5, "nan", "inf")),
    ("top_p", (0.0, 1.5, "nan")),
    ("deadline", (0.0, -1.0, "nan")),
)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mode": "guess"}, "--mode guess: expected one of targeted, rejection"),
        ({"engine": "telepathy"}, "--engine telepathy: expected one of vllm, transformers, openai, ray"),
        ({"engine": "ray", "ray_engine": "ray"}, "--ray_engine ray: expected one of vllm, transformers"),
        ({"split": "holdout"}, "--split holdout: expected one of train, valid, test"),
        ({"script": "latn"}, "--script latn: expected one of prompt, any, latin, cyrillic"),
        ({"model_name_or_path": None}, "--model_name_or_path is required"),
        ({"rankings": "few.parquet"}, "traces: unknown key 'rankings'"),
        ({"prompt": "targeted"}, "--prompt targeted shows the target, so it needs --mode targeted, not rejection"),
        ({"mode": "targeted"}, "--prompt rejection does not show the target, so it needs --mode rejection"),
        ({"split": "valid"}, "expected slates of split 'valid'"),
        ({"least_gain": 4}, "--least_gain 4: expected less"),
        ({"max_tokens": 40, "tokenizer": "packaged:smollm2-135m-instruct"}, "--max_tokens 40: expected at least 1"),
        ({"max_tokens": 40, "engine": "transformers", "model_name_or_path": "packaged:smollm2-135m-instruct"},
         "--max_tokens 40: expected at least 1"),
        ({"max_prompt_tokens": 100}, "--max_prompt_tokens 100: with --engine openai expected --tokenizer"),
        ({"max_tokens": 512, "max_model_len": 512}, "--max_tokens 512: expected less than --max_model_len 512"),
        ({"base_url": "http://u:secret@host/v1", "engine": "vllm"}, "--base_url http://***@host/v1: expected a URL"),
        ({"base_url": "host/v1"}, "--base_url host/v1: expected a URL"),
        ({"skip_accepted": "nowhere.jsonl"}, "nowhere"),
        *(({name: value}, f"--{name} {value}: expected a number")
          for names, values in OUT_OF_RANGE for name in names.split() for value in values),
    ],
)  # fmt: skip
def test_wrong_input_is_named_and_nothing_is_written(tables, tmp_path, fake, changes, message):
    assert message in refused("traces", *words(tables, tmp_path / "out", **changes))
    assert not (tmp_path / "out").exists() and not fake.asked


def test_a_server_that_is_not_named_is_said_before_anything_is_asked(tables, tmp_path, monkeypatch):
    for variable in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(variable, raising=False)
    complaint = refused("traces", *words(tables, tmp_path / "out"))
    assert "--engine openai: --base_url, your server's, and OPENAI_API_KEY" in complaint
    assert complaint.endswith("are both missing; expected one of them")


def words(tables: dict[str, str], folder: Path, **changes) -> list[str]:
    options = {
        "prompt": "rejection",
        "model_name_or_path": "fake",
        "engine": "openai",
        "output_dir": folder,
    } | changes
    options = tables | {name: value for name, value in options.items() if value is not None}
    return [f"--{name}={value}" for name, value in options.items()]


def test_the_command_line_asks_a_server(tables, tmp_path):
    def reply(request: dict) -> str:
        ids = request["response_format"]["json_schema"]["schema"]["properties"]["recommendations"]["items"]["enum"]
        return answer(f"The user likes this kind of film, so {ids[0]} fits.", ids)

    with FakeServer(reply) as server:
        done = gr2("traces", *words(tables, tmp_path, base_url=server.url, model_name_or_path="fake-teacher"))
    rows = read_lines(tmp_path / "traces.jsonl", COLUMNS)
    assert len(rows) == len(server.requests) == 19 and {row["teacher"] for row in rows} == {"fake-teacher"}
    accepted = sum(row["accepted"] for row in rows)
    assert f"{accepted} of 19 samples accepted" in done.stdout and 0 < accepted < 19
    assert {row["reason"] for row in rows} == {None, "relevant_not_first"}


def test_a_server_that_fails_ends_the_run_with_one_sentence_and_loses_nothing(tables, tmp_path, monkeypatch, capsys):
    """Five answers, one without usage, then pages; then the server is well again, and the same command goes on."""
    monkeypatch.setattr(samplers_openai, "RETRIES", 0)
    well = False

    def reply(request: dict) -> str | Odd:
        ids = request["response_format"]["json_schema"]["schema"]["properties"]["recommendations"]["items"]["enum"]
        good = completion(answer(f"The user likes this kind of film, so {ids[0]} fits.", ids))
        if len(server.requests) == 2:
            good["usage"] = {"prompt_tokens": None, "completion_tokens": None}
        return Odd(good) if well or len(server.requests) <= 5 else Odd("<html>Service is busy</html>")

    with FakeServer(reply) as server:
        command = ["traces", *words(tables, tmp_path / "out", base_url=server.url, concurrency=1)]
        with pytest.raises(SystemExit) as ended:
            main(command)
        complaint = capsys.readouterr().err.splitlines()
        assert ended.value.code == 1
        assert [line for line in complaint if line.startswith("gr2: the server failed: ") and "busy" in line]
        assert not any("Traceback" in line for line in complaint)
        head, *answers = (tmp_path / "out" / PARTIAL).read_text().splitlines()
        assert "made_of" in json.loads(head) and sum(len(json.loads(line)["rows"]) for line in answers) == 5
        well = True
        main(command)
        assert len(server.requests) == 5 + 1 + 14, "one failed, and what was answered is not asked again"
    rows = read_lines(tmp_path / "out/traces.jsonl", COLUMNS)
    assert len(rows) == 19 and {row["reason"] for row in rows} == {None, "relevant_not_first"}
    assert sum(row["completion_tokens"] for row in rows) == 18 * 5

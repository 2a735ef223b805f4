import json
import random
from pathlib import Path

import polars as pl
import pytest

from gr2.cli import main
from gr2.errors import InputError
from gr2.files.artifacts import read_lines
from gr2.files.sid_tokens import SID, sid_string
from gr2.prompts.prompt import prompt_file
from gr2.samplers import openai as samplers_openai
from gr2.samplers.base import Request, Sample, Sampler
from gr2.stages import traces as sample
from gr2.traces import store, teacher
from gr2.traces.store import COLUMNS
from tests.helpers import gr2, refused
from tests.samplers.fake_openai import FakeServer, Odd, completion

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
    defaults = {"prompt": "rejection", "model_name_or_path": "fake", "engine": "openai", "tries": 3}
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
    run(tables, tmp_path, mode="targeted", prompt="targeted", tries=1)
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


@pytest.mark.parametrize(
    "changes",
    [
        {"temperature": 0.3},
        {"accept_top": 2},
        {"prompt": "student"},
        {"priming": False},
        {"domain": "movies"},
        {"model_name_or_path": "another"},
    ],
)
def test_a_partial_file_of_another_run_is_refused(tables, tmp_path, fake, changes):
    interrupt(tables, tmp_path, fake)
    with pytest.raises(InputError, match=rf"traces\.partial: holds samples of a run with other {next(iter(changes))};"):
        run(tables, tmp_path, **changes)


def test_a_partial_file_of_other_files_under_the_same_names_is_refused(tables, tmp_path, fake):
    """The teacher's folder and the prompt's domain hold something else now."""
    model, domain = tmp_path / "model", tmp_path / "domain.yaml"
    model.mkdir()
    changes = {"model_name_or_path": str(model), "domain": str(domain)}
    for name, file, texts in (
        ("model_name_or_path", model / "config.json", ["{}", '{"layers": 2}']),
        ("domain", domain, [Path(prompt_file(about)).read_text() for about in ("movies", "games")]),
    ):
        (model / "config.json").write_text("{}")
        domain.write_text(Path(prompt_file("movies")).read_text())
        file.write_text(texts[0])
        interrupt(tables, tmp_path / name, fake, **changes)
        file.write_text(texts[1])
        with pytest.raises(InputError, match=rf"traces\.partial: holds samples of a run with other {name};"):
            run(tables, tmp_path / name, **changes)


def interrupt(tables, folder: Path, fake: FakeSampler, answers: int = 2, **changes) -> Path:
    """Leaves a partial file with so many answers."""
    fake.answers_left = answers
    with pytest.raises(KeyboardInterrupt):
        run(tables, folder, **changes)
    fake.answers_left = 1_000
    return folder / store.PARTIAL


def damaged(content: str) -> dict[str, str]:
    """What two runs at once, and kills, can make of a partial file with a head and eight lines of one row each."""
    head, *rows = content.splitlines(keepends=True)
    return {
        "two heads": head + content,
        "all of it twice": content + content,
        "a head in the middle": head + "".join(rows[:3]) + head + "".join(rows[2:]),
        "a line too many": content + rows[-1],
        "a torn head": head[:40],
        "a torn head and a whole one": head[:40] + "\n" + content,
        "a line torn in the middle": head + "".join(rows[:3]) + rows[3][:50] + "".join(rows[4:]),
        "a line that is no row": content + "[]\n3\n{}\n\n",
        "no more than an end of a line": "\n",
    }


@pytest.mark.parametrize("damage", list(damaged("head\n" + "row\n" * 8)))
def test_a_damaged_partial_file_is_taken_up_to_the_same_bytes(tables, tmp_path, fake, damage):
    run(tables, tmp_path / "whole")
    partial = interrupt(tables, tmp_path / "killed", fake, answers=8)
    partial.write_text(damaged(partial.read_text())[damage])
    run(tables, tmp_path / "killed")
    for name in ("traces.jsonl", "summary.json"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_two_runs_at_once_that_are_both_killed_leave_work_that_resumes(tables, tmp_path, fake):
    """The second begins while the first is under way; both append to one file."""
    run(tables, tmp_path / "whole")
    expected = (tmp_path / "whole/traces.jsonl").read_bytes()
    first = interrupt(tables, tmp_path / "first", fake, answers=5).read_text()
    second = interrupt(tables, tmp_path / "second", fake, answers=9).read_text()
    lines = [line for pair in zip(first.splitlines(), second.splitlines(), strict=False) for line in pair]
    (tmp_path / "first" / store.PARTIAL).write_text("\n".join(lines) + "\n")
    run(tables, tmp_path / "first")
    assert (tmp_path / "first/traces.jsonl").read_bytes() == expected


def test_a_partial_file_that_does_not_say_of_what_run_it_is_is_refused(tables, tmp_path, fake):
    partial = interrupt(tables, tmp_path, fake)
    head, *rows = partial.read_text().splitlines(keepends=True)
    partial.write_text("".join(rows))
    with pytest.raises(InputError, match=r"traces\.partial: expected a line that says what its samples depend on"):
        run(tables, tmp_path)
    partial.write_text(head + head.replace('"tries": 3', '"tries": 5') + "".join(rows))
    with pytest.raises(InputError, match=r"traces\.partial: holds samples of a run with other tries;"):
        run(tables, tmp_path)
    partial.write_text(head + rows[0].replace('"slate_id": "slate', '"slate_id": "plate'))
    with pytest.raises(InputError, match=r"traces\.partial: slate 'plate\d' is none that this run asks about"):
        run(tables, tmp_path)


def test_answers_without_token_counts_stay_readable(tables, tmp_path, fake):
    """Kept work of gr2 0.1 may have null for them."""
    partial = interrupt(tables, tmp_path, fake, answers=8)
    partial.write_text(partial.read_text().replace('"prompt_tokens": 100', '"prompt_tokens": null')
                       .replace('"completion_tokens": 20', '"completion_tokens": null'))  # fmt: skip
    rows = run(tables, tmp_path)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["completion_tokens"] == 20 * (len(rows) - 8) and summary["prompt_tokens"] == 100 * (len(rows) - 8)
    assert {type(row["completion_tokens"]) for row in rows} == {int}
    old = json.dumps(rows[0] | {"prompt_tokens": None, "accepted": True, "slate_id": "slate1"}) + "\n"
    (tmp_path / "old.jsonl").write_text(old)
    assert store.accepted_slates([str(tmp_path / "old.jsonl")]) == {"slate1"}


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("slate_id", 3, "text"),
        ("slate_id", None, "text"),
        ("accepted", "yes", "true or false"),
        ("accepted", 1, "true or false"),
        ("completion_tokens", "many", "a whole number or null"),
        ("completion_tokens", True, "a whole number or null"),
        ("completion_tokens", 2.5, "a whole number or null"),
        ("ranking", "film1", "a list or null"),
        ("ranking", ["film1", None], "a list or null"),
        ("reason", [], "text or null"),
        ("reasoning", {}, "text"),
    ],
)
def test_a_row_of_another_type_is_named(tables, tmp_path, fake, name, value, expected):
    run(tables, tmp_path)
    first, second = (tmp_path / "traces.jsonl").read_text().splitlines()[:2]
    odd = tmp_path / "odd.jsonl"
    odd.write_text(f"{first}\n{json.dumps(json.loads(second) | {name: value})}\n")
    with pytest.raises(InputError, match=rf"odd\.jsonl: row 1, column '{name}': expected {expected}, found "):
        store.accepted_slates([str(odd)])


class Citing(FakeSampler):
    """Puts a relevant item first, and cites an item of its slate's history."""

    def __init__(self, tables, place: int):
        super().__init__()
        sids = dict(zip(ITEMS, map(sid_string, CODES), strict=True))
        self.slates = {}
        for slate in pl.read_parquet(tables["slates"]).filter(pl.col("split") == "train").iter_rows(named=True):
            ranked = sorted(slate["candidates"], key=lambda i: i not in relevant(tables)[slate["slate_id"]])
            reasoning = f"This user likes drama best of all, lately {sids[slate['history'][place]]}."
            self.slates[slate["slate_id"]] = answer(reasoning, [sids[item_id] for item_id in ranked])

    def stream(self, take, *, top_p, max_tokens):
        while requests := take(4):
            self.asked += requests
            yield [(request, Sample(self.slates[request.key], "stop", 100, 20)) for request in requests]


@pytest.mark.parametrize(
    ("place", "reasons"), [(-1, {None}), (-3, {None}), (-4, {"invented_id"}), (0, {"invented_id"})]
)
def test_an_explanation_cites_only_what_the_prompt_showed_of_the_history(tables, tmp_path, monkeypatch, place, reasons):
    """Five items are in every history; the prompt shows three."""
    few = tmp_path / "few.yaml"
    few.write_text(Path(prompt_file("rejection")).read_text().replace("max_history: 50", "max_history: 3"))
    monkeypatch.setattr(teacher, "open_sampler", lambda *_, **__: Citing(tables, place))
    assert {row["reason"] for row in run(tables, tmp_path / "out", prompt=str(few), tries=1)} == reasons


def test_an_explanation_cites_only_what_the_budget_left_of_the_history(tables, tmp_path, monkeypatch):
    asked = Citing(tables, 0)
    monkeypatch.setattr(teacher, "open_sampler", lambda *_, **__: asked)
    name = "packaged:smollm2-135m-instruct"
    run(tables, tmp_path / "whole", tokenizer=name, tries=1, max_prompt_tokens=100_000)
    tokenizer = teacher.load_tokenizer(name)
    budget = min(len(tokenizer.apply_chat_template(request.messages, add_generation_prompt=True)["input_ids"])
                 for request in asked.asked) - 1  # fmt: skip
    rows = run(tables, tmp_path / "fit", tokenizer=name, tries=1, max_prompt_tokens=budget)
    assert {row["reason"] for row in rows} == {"invented_id"}


def test_what_a_service_withheld_is_counted_apart(tables, tmp_path, fake, monkeypatch):
    kinds = {"content_filter": Sample("", "content_filter", 0, 0), "refusal": Sample("I cannot.", "refusal", 0, 0)}
    for kind, sample_ in kinds.items():
        monkeypatch.setattr(fake, "_answer", lambda seed, schema, sample_=sample_: sample_)
        rows = run(tables, tmp_path / kind, tries=1)
        assert {(row["reason"], row["finish_reason"]) for row in rows} == {("withheld", kind)}
        assert json.loads((tmp_path / kind / "summary.json").read_text())["reasons"] == {"withheld": 19}


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
    rows = run(tables, tmp_path, short_ids=True, prompt="rejection_guided")
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
    with pytest.raises(InputError, match=r"--rankings \S*few.parquet: expected --mode template"):
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
        ({"mode": "guess"}, "--mode guess: expected one of targeted, rejection, template"),
        ({"engine": "telepathy"}, "--engine telepathy: expected one of vllm, transformers, openai, ray"),
        ({"engine": "ray", "ray_engine": "ray"}, "--ray_engine ray: expected one of vllm, transformers"),
        ({"split": "holdout"}, "--split holdout: expected one of train, valid, test"),
        ({"script": "latn"}, "--script latn: expected one of prompt, any, latin, cyrillic"),
        ({"model_name_or_path": None}, "--model_name_or_path: expected a teacher for --mode rejection"),
        ({"rankings": "few.parquet"}, "--rankings few.parquet: expected --mode template and --least_gain 0"),
        ({"prompt": "targeted"}, "`target`"),
        ({"mode": "targeted"}, "`target`"),
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
          for names, values in ((("tries", "accept_top", "batch_size", "max_tokens", "concurrency", "workers", "max_slates",
                                  "max_prompt_tokens", "max_model_len"), (0, -1)),
                                (("least_gain", "seed"), (-1,)),
                                (("temperature", "temperature_step", "gpus_per_worker"), (-0.5, "nan", "inf")),
                                (("top_p",), (0.0, 1.5, "nan")),
                                (("deadline",), (0.0, -1.0, "nan")))
          for name in names for value in values),
    ],
)  # fmt: skip
def test_wrong_input_is_named_and_nothing_is_written(tables, tmp_path, fake, changes, message):
    assert message in refused("traces", *words(tables, tmp_path / "out", **changes))
    assert not (tmp_path / "out").exists() and not fake.asked


def words(tables, folder: Path, **changes) -> list[str]:
    """The command line of `config`."""
    options = {
        "prompt": "rejection",
        "model_name_or_path": "fake",
        "engine": "openai",
        "output_dir": folder,
    } | changes
    options = tables | {name: value for name, value in options.items() if value is not None}
    return [f"--{name}={value}" for name, value in options.items()]


def test_a_broken_traces_file_names_its_row(tmp_path):
    (tmp_path / "t.jsonl").write_text(json.dumps(dict.fromkeys(COLUMNS)) + "\n{}\n")
    with pytest.raises(InputError, match="row 1, column 'slate_id'"):
        read_lines(tmp_path / "t.jsonl", COLUMNS)


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
    """Five answers, one of them without usage, then pages; then the server is well again, and the same command goes on."""
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
        said = capsys.readouterr().err.splitlines()
        assert ended.value.code == 1
        assert [line for line in said if line.startswith("gr2: no server is left that answers") and "busy" in line]
        assert not any("Traceback" in line for line in said)
        assert len(store.Partial(tmp_path / "out", partial_head(tmp_path / "out")).rows) == 5
        well = True
        main(command)
        assert len(server.requests) == 5 + 1 + 14, "one failed, and what was answered is not asked again"
    rows = read_lines(tmp_path / "out/traces.jsonl", COLUMNS)
    assert len(rows) == 19 and {row["reason"] for row in rows} == {None, "relevant_not_first"}
    assert sum(row["completion_tokens"] for row in rows) == 18 * 5


def partial_head(folder: Path) -> dict:
    return json.loads((folder / store.PARTIAL).read_text().splitlines()[0])["made_of"]

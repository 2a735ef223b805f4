"""What a teacher is shown, and how its answers are judged."""

from pathlib import Path

import polars as pl
import pytest

from gr2.files.artifacts import read_json
from gr2.files.sid_tokens import SID, sid_string
from gr2.language_model.loading import load_tokenizer
from gr2.prompts.prompt import prompt_file
from gr2.samplers.base import Request, Sample, Sampler
from gr2.stages import traces
from gr2.traces.teacher import long_ids
from tests.traces.fake_teacher import SIDS, Citing, relevant, run


def test_targeted_shows_the_first_relevant_item(tables, tmp_path, fake):
    run(tables, tmp_path, mode="targeted", prompt="targeted", tries=1)
    assert len(fake.asked) == 19
    for request in fake.asked:
        assert f"chose next: {SIDS[relevant(tables)[request.key][0]]}" in request.messages[1]["content"]


def test_rejection_never_shows_which_item_is_relevant(tables, tmp_path, fake):
    """The same slates with other labels give the same prompts."""
    run(tables, tmp_path / "a", tries=1)
    asked = [request.messages for request in fake.asked]
    moved = pl.read_parquet(tables["slates"]).with_columns(pl.col("labels").list.reverse())
    moved.write_parquet(tmp_path / "moved.parquet")
    fake.asked.clear()
    run(tables | {"slates": str(tmp_path / "moved.parquet")}, tmp_path / "b", tries=1)
    assert [request.messages for request in fake.asked] == asked


@pytest.mark.parametrize(
    ("index", "reasons"), [(-1, {None}), (-3, {None}), (-4, {"invented_id"}), (0, {"invented_id"})]
)
def test_an_explanation_cites_only_what_the_prompt_showed_of_the_history(tables, tmp_path, monkeypatch, index, reasons):
    """Five items are in every history; the prompt shows three."""
    few = tmp_path / "few.yaml"
    few.write_text(Path(prompt_file("rejection")).read_text().replace("max_history: 50", "max_history: 3"))
    monkeypatch.setattr(traces, "open_sampler", lambda *_, **__: Citing(tables, index))
    assert {row["reason"] for row in run(tables, tmp_path / "out", prompt=str(few), tries=1)} == reasons


def test_an_explanation_cites_only_what_the_budget_left_of_the_history(tables, tmp_path, monkeypatch):
    asked = Citing(tables, 0)
    monkeypatch.setattr(traces, "open_sampler", lambda *_, **__: asked)
    name = "packaged:smollm2-135m-instruct"
    run(tables, tmp_path / "whole", tokenizer=name, tries=1, max_prompt_tokens=100_000)
    tokenizer = load_tokenizer(name)
    budget = (
        min(
            len(tokenizer.apply_chat_template(request.messages, add_generation_prompt=True)["input_ids"])
            for request in asked.asked
        )
        - 1
    )
    rows = run(tables, tmp_path / "fit", tokenizer=name, tries=1, max_prompt_tokens=budget)
    assert {row["reason"] for row in rows} == {"invented_id"}


class Noted(Sampler):
    """A fake engine: notes what it is asked and answers nothing of use."""

    def __init__(self, asked: list[Request]):
        self.asked = asked

    def stream(self, take, *, top_p, max_tokens):
        while requests := take(8):
            self.asked += requests
            yield [(request, Sample("nothing", "stop", 1, 1)) for request in requests]


def test_a_teacher_is_shown_as_much_of_a_history_as_its_budget_has_room_for(world, tmp_path, monkeypatch):
    """The prompts that would be sampled, without a model: nothing is asked."""
    asked: list[Request] = []
    monkeypatch.setattr(traces, "open_sampler", lambda *_, **__: Noted(asked))
    tokenizer = load_tokenizer("packaged:smollm2-135m-instruct")

    def tokens(messages: list[dict]) -> int:
        return len(
            tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=False)
        )

    def prompts(folder: str, budget: int | None) -> dict[str, list[dict]]:
        asked.clear()
        config = traces.Config(
            items=world.items,
            semantic_ids=world.semantic_ids,
            slates=world.slates,
            tries=1,
            prompt="rejection",
            model_name_or_path="packaged:smollm2-135m-instruct",
            max_prompt_tokens=budget,
            max_slates=20,
            output_dir=str(tmp_path / folder),
        )
        traces.run(config)
        return {request.key: request.messages for request in asked}

    whole = prompts("whole", None)
    lengths = sorted(tokens(messages) for messages in whole.values())
    budget = lengths[10]
    fit = prompts("fit", budget)
    assert fit.keys() == whole.keys() and len(fit) == 20
    for slate_id, messages in fit.items():
        assert tokens(messages) <= budget
        assert (messages == whole[slate_id]) == (tokens(whole[slate_id]) <= budget)
        assert messages[0] == whole[slate_id][0]


def test_short_ids_are_shown_and_written_back_long(tables, tmp_path, fake):
    rows = run(tables, tmp_path, short_ids=True, prompt="rejection_guided")
    accepted = [row for row in rows if row["accepted"]]
    assert accepted
    for row in accepted:
        assert not SID.search(row["completion"] + row["messages"][1]["content"])
        assert SID.search(row["reasoning"]) and "-" not in row["reasoning"]
    invented = long_ids("not 1-2-3-4, nor 99-0-1, on 2020-01", 3)
    assert invented == f"not 1-2-3-4, nor {sid_string([99, 0, 1])}, on 2020-01"


def test_what_a_service_withheld_is_counted_apart(tables, tmp_path, fake, monkeypatch):
    kinds = {"content_filter": Sample("", "content_filter", 0, 0), "refusal": Sample("I cannot.", "refusal", 0, 0)}
    for kind, sample_ in kinds.items():
        monkeypatch.setattr(fake, "_answer", lambda seed, schema, sample_=sample_: sample_)
        rows = run(tables, tmp_path / kind, tries=1)
        assert {(row["reason"], row["finish_reason"]) for row in rows} == {("withheld", kind)}
        assert read_json(tmp_path / kind / "summary.json")["reasons"] == {"withheld": 19}

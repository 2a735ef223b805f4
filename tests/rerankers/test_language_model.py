import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
import yaml

from gr2.errors import InputError
from gr2.files.partial import PartialFile
from gr2.files.slates import read_slate_table, slates_of
from gr2.rerankers.language_model import PARTIAL, LanguageModel
from gr2.rerankers.protocol import Inputs, Sampling
from gr2.runner.stage import run_stage
from gr2.stages import rerank
from tests.helpers import refused

LONG = 450  # items; with five tokens each more than the model's context of 2,048


@pytest.fixture(scope="module")
def known(world, midtrained, tmp_path_factory) -> dict[str, str]:
    """A prompt that shows whole histories, and slates whose last test slate has one that does not fit."""
    folder = tmp_path_factory.mktemp("long")
    prompt = yaml.safe_load(Path("prompts/student_no_trace.yaml").read_text())
    for name, longest in (("long", 500), ("short", 3)):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(prompt | {"max_history": longest}))
    slates = pl.read_parquet(world.slates)
    histories = slates["history"].to_list()
    last = int((slates["split"] == "test").arg_true()[-1])
    histories[last] = (histories[last] * LONG)[:LONG]
    slates.with_columns(pl.Series("history", histories)).write_parquet(folder / "slates.parquet")
    return {
        "items": world.items,
        "semantic_ids": world.semantic_ids,
        "slates": str(folder / "slates.parquet"),
        "reranker": midtrained,
        "prompt": str(folder / "long.yaml"),
        "batch_size": "8",
        "max_tokens": "110",
        "order": "choices",
    }


def words(known: dict, **changed) -> list[str]:
    return [word for name, value in (known | changed).items() for word in (f"--{name}", str(value))]


def test_answers_of_another_prompt_or_model_are_never_mixed_in(known, tmp_path):
    """The first run ends in its last round; what it had is only for the same model, prompt, slates and options."""
    out = tmp_path / "out"
    assert "more than the model's context" in refused("rerank", "--output_dir", out, *words(known))
    kept = (out / PARTIAL).read_text().splitlines()
    assert len(kept) == 4  # a head, and three batches of eight
    short = known["prompt"].replace("long.yaml", "short.yaml")
    for changed, named in (({"prompt": short}, "prompt"), ({"temperature": 1}, "temperature"), ({"seed": 3}, "seed")):
        with pytest.raises(InputError, match=f"answers.partial: holds rows of a run with other {named}; delete it"):
            rerank.run(rerank.Config(output_dir=str(out), **typed(known | changed)))
    assert (out / PARTIAL).read_text().splitlines() == kept and not (out / "rankings.parquet").exists()
    run_stage("rerank", ["--output_dir", str(out), *words(known, prompt=short)])
    assert (tmp_path / "out.old-1" / PARTIAL).read_text().splitlines() == kept  # `gr2 rerank` moved it away before
    assert pl.read_parquet(out / "rankings.parquet").height == 31


def test_the_same_run_goes_on_and_takes_what_was_answered(known, tmp_path):
    out, short = tmp_path / "out", known["prompt"].replace("long.yaml", "short.yaml")
    config = rerank.Config(output_dir=str(out), **typed(known | {"prompt": short}))
    rerank.run(config)
    whole = pl.read_parquet(out / "rankings.parquet")
    assert whole["valid"].all() and whole["reason"].dtype == pl.String and whole["reason"].is_null().all()
    sampling = Sampling(batch_size=8, max_tokens=110, order="choices", prompt=short)
    model = LanguageModel(known["reranker"], Inputs(known["items"], semantic_ids=known["semantic_ids"]), sampling)
    slates = [slate for slate in slates_of(read_slate_table(known["slates"])) if slate.split == "test"]
    answered = [row | {"reasoning": "kept"} for row in whole.to_dicts()[:5]]
    PartialFile(out / PARTIAL, model.made_of(slates)).append(answered)
    rerank.run(config)
    again = pl.read_parquet(out / "rankings.parquet")
    assert again["reasoning"].to_list() == ["kept"] * 5 + [""] * (len(whole) - 5)
    assert again["ranking"].equals(whole["ranking"]) and not (out / PARTIAL).exists()


def test_choices_have_log_probabilities_and_first_choices_are_scores(known, tuned, tmp_path):
    """In both orders the same candidate is first, with the same log-probability, without and with a trace."""
    short = known["prompt"].replace("long.yaml", "short.yaml")
    for prompt, traced in ((short, False), ("student", True)):
        found = {}
        for order in ("choices", "first"):
            out = tmp_path / f"{order}_{traced}"
            changed = {"reranker": str(tuned), "order": order, "max_tokens": 400, "max_slates": 8}
            options = typed(known | {"prompt": prompt}) | changed
            rerank.run(rerank.Config(output_dir=str(out), **options))
            found[order] = pl.read_parquet(out / "rankings.parquet")
        choices, first = found["choices"].filter("valid"), found["first"].filter("valid")
        assert len(choices) == len(first) > 3 and choices["slate_id"].equals(first["slate_id"])
        assert "scores" not in choices.columns and "choice_log_probs" not in first.columns
        for one, other in zip(choices.iter_rows(named=True), first.iter_rows(named=True), strict=True):
            log_probs, scores = one["choice_log_probs"], other["scores"]
            assert len(log_probs) == len(one["ranking"]) and max(log_probs) <= 0 and log_probs[-1] == 0
            assert scores == sorted(scores, reverse=True) and sum(map(math.exp, scores)) == pytest.approx(1)
            assert scores[other["ranking"].index(one["ranking"][0])] == pytest.approx(log_probs[0], abs=1e-5)
            assert one["reasoning"] == other["reasoning"] and bool(one["reasoning"]) == traced
        assert (first["completion_tokens"] > 0).all() == traced


def test_structured_is_another_word_for_choices(known, tmp_path):
    written = typed(known) | {"order": "written"}
    config = rerank.Config(output_dir=str(tmp_path), **written, structured=True)
    assert config.order == "choices" and rerank.Config(output_dir=str(tmp_path), **written).order == "written"


def test_a_chat_server_is_asked_for_no_scores(known, tmp_path):
    options = typed(known) | {"order": "first", "engine": "openai", "base_url": "http://localhost:1/v1"}
    with pytest.raises(InputError, match="--order first: expected --engine transformers or vllm"):
        rerank.Config(output_dir=str(tmp_path), **options)


def typed(known: dict) -> dict:
    return known | {"batch_size": 8, "max_tokens": 110, "order": "choices"}


@pytest.mark.parametrize("prompt", ["student", "student_no_trace"])
def test_an_answer_that_cannot_fit_is_refused_before_the_model_is_asked(world, known, tmp_path, prompt):
    given = words(known, slates=world.slates, prompt=prompt, max_tokens=30)
    error = refused("rerank", "--output_dir", tmp_path / "out", *given)
    assert (
        "--max_tokens 30: expected at least " in error and "shortest answer for the 10 candidates of slate_id" in error
    )
    assert not (tmp_path / "out").exists()


def test_the_room_that_is_asked_for_is_enough_for_a_ranking(world, known, tmp_path):
    given = words(known, slates=world.slates, prompt="student_no_trace", max_tokens=30)
    room = int(refused("rerank", "--output_dir", tmp_path / "out", *given).split("at least ")[1].split(",")[0])
    config = typed(known) | {"slates": world.slates, "prompt": "student_no_trace", "max_tokens": room}
    rerank.run(rerank.Config(output_dir=str(tmp_path / "out"), max_slates=4, **config))
    assert pl.read_parquet(tmp_path / "out" / "rankings.parquet")["valid"].all()


@pytest.mark.parametrize("order", ["choices", "written"])
def test_slates_share_no_random_numbers_and_batches_change_no_answer(world, beginner, order):
    """The beginner finds all candidates about as likely, so that an answer is what was drawn."""
    how = {"prompt": "student_no_trace", "max_tokens": 60, "temperature": 1.0, "order": order}
    inputs = Inputs(world.items, semantic_ids=world.semantic_ids)
    slate = slates_of(read_slate_table(world.slates))[0]
    slates = [replace(slate, slate_id=f"s{number}", candidates=slate.candidates[:3]) for number in range(20)]

    def answers(slates, **changed):
        rankings = LanguageModel(str(beginner), inputs, Sampling(**how | changed)).rank(slates)
        return [(own.slate_id, own.ranking, own.reason, own.completion_tokens) for own in rankings]

    together = answers(slates)
    kinds = Counter(str(answer[1:]) for answer in together)
    assert len(kinds) > 3 and kinds.most_common()[0][1] < 14, kinds
    assert answers(slates, batch_size=3) == together and answers(slates[7:9]) == together[7:9]
    assert answers(slates, seed=1) != together

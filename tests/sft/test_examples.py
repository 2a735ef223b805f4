import json
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from gr2.data.catalogue import read_catalogue
from gr2.errors import InputError
from gr2.files.sid_tokens import SID
from gr2.files.slates import read_slate_table, slates_of
from gr2.language_model.scratch import train_tokenizer
from gr2.prompts.prompt import load_prompt
from gr2.sft import examples

PROMPT = load_prompt("student")


@pytest.fixture(scope="module")
def catalogue(world):
    return read_catalogue(world.items, world.semantic_ids)


@pytest.fixture
def rows(world, catalogue) -> list[dict]:
    """An accepted trace for each train slate: it cites the latest item of the history and reverses the candidates."""
    slates = [
        slate for slate in slates_of(read_slate_table(world.slates, catalogue.item_ids)) if slate.split == "train"
    ]
    return [
        {
            "slate_id": slate.slate_id,
            "accepted": True,
            "reasoning": f"It goes with {catalogue.sid[slate.history[-1]]}.",
            "ranking": slate.candidates[::-1],
        }
        for slate in slates
    ]


def write(file: Path, rows: list[dict]) -> str:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(file)


def test_the_first_accepted_trace_of_a_slate_is_learned(world, catalogue, rows, tmp_path):
    better = rows[0] | {"reasoning": "a better explanation"}
    rejected = rows[1] | {"reasoning": "never to be seen", "accepted": False, "ranking": None}
    files = [write(tmp_path / "first.jsonl", [better, rejected]), write(tmp_path / "second.jsonl", rows)]
    read = examples.read_examples(world.slates, files, catalogue.item_ids)
    assert [row.slate.slate_id for row in read] == [row["slate_id"] for row in rows]
    assert [row.reasoning for row in read] == ["a better explanation", *(row["reasoning"] for row in rows[1:])]
    assert all(row.ranking == row.slate.candidates[::-1] for row in read)


def test_an_example_is_the_students_prompt_and_the_traces_answer(world, catalogue, rows, tmp_path):
    example, *_ = examples.read_examples(world.slates, [write(tmp_path / "traces.jsonl", rows)], catalogue.item_ids)
    messages, answer = example.chat(PROMPT, catalogue)
    sids = [catalogue.sid[item_id] for item_id in example.slate.candidates]
    assert messages[1]["content"].startswith("Candidates:\n" + "\n".join(sids))
    assert json.loads(answer) == {"explanation": rows[0]["reasoning"], "recommendations": sids[::-1]}
    assert json.loads(example.chat(load_prompt("student_no_trace"), catalogue)[1]) == {"recommendations": sids[::-1]}


def test_every_pass_shows_the_candidates_in_another_order_and_learns_the_same_answer(world, catalogue, rows, tmp_path):
    once = examples.read_examples(world.slates, [write(tmp_path / "traces.jsonl", rows)], catalogue.item_ids)
    often = examples.shuffle(once, 8, seed=3)
    assert often == examples.shuffle(once, 8, seed=3) and often[: len(once)] == examples.shuffle(once, 1, seed=3)
    for index, example in enumerate(once):
        shuffled = often[index :: len(once)]
        orders = [row.slate.candidates for row in shuffled]
        assert len(orders) == 8 and len(set(map(tuple, orders))) > 1, "ten candidates, in eight random orders"
        assert all(sorted(order) == sorted(example.slate.candidates) for order in orders)
        assert all(row.chat(PROMPT, catalogue)[1] == example.chat(PROMPT, catalogue)[1] for row in shuffled)


def test_histories_are_shortened_to_the_budget_of_the_prompt(world, catalogue, rows, tmp_path, capsys):
    tokenizer = train_tokenizer(["some words"], 300)
    read = examples.read_examples(world.slates, [write(tmp_path / "traces.jsonl", rows)], catalogue.item_ids)

    def count_tokens(example: examples.Example) -> int:
        chat, _ = example.chat(PROMPT, catalogue)
        return len(tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False))

    lengths = [count_tokens(example) for example in read]
    budget = max(lengths) - 1
    fitted = examples.fit_histories(read, PROMPT, catalogue, tokenizer, budget)
    long = sum(length > budget for length in lengths)
    assert f"{long} of {len(read)} histories shortened" in capsys.readouterr().out and long > 0
    assert max(map(count_tokens, fitted)) <= budget
    assert [replace(new, slate=old.slate) for new, old in zip(fitted, read, strict=True)] == read
    with pytest.raises(InputError, match="--max_prompt_tokens 20: slate_id"):
        examples.fit_histories(read, PROMPT, catalogue, tokenizer, 20)


def test_explanations_that_cite_what_the_prompt_does_not_show_are_left_out(world, catalogue, rows, tmp_path, capsys):
    read = examples.read_examples(world.slates, [write(tmp_path / "traces.jsonl", rows)], catalogue.item_ids)
    shown = {*read[0].slate.history, *read[0].slate.candidates}
    hidden = next(item_id for item_id in catalogue.sid if item_id not in shown)
    wrong = replace(read[0], reasoning=f"It is like {catalogue.sid[hidden]}, which the prompt does not show.")
    assert SID.search(wrong.reasoning)
    assert examples.drop_hidden_citations([wrong, *read[1:]], PROMPT, catalogue) == read[1:]
    assert f"left out: 1 of {len(read)} examples" in capsys.readouterr().out
    assert examples.drop_hidden_citations([wrong], load_prompt("student_no_trace"), catalogue) == [wrong]
    with pytest.raises(InputError, match="every explanation cites an item that the prompt 'student' does not show"):
        examples.drop_hidden_citations([wrong], PROMPT, catalogue)


def test_traces_of_other_slates_are_refused(world, catalogue, rows, tmp_path):
    """The slate_id is the same, user and position; another pre-ranker made another list."""
    others = [item_id for item_id in catalogue.sid if item_id not in rows[3]["ranking"]][:10]
    for change, complaint in (
        ({"ranking": others}, "traces.jsonl: row 3, column 'ranking': expected the 10 candidates of slate_id"),
        ({"slate_id": "another"}, "traces.jsonl: row 3, slate_id 'another': expected a train slate"),
    ):
        file = write(tmp_path / "traces.jsonl", [*rows[:3], rows[3] | change, *rows[4:]])
        with pytest.raises(InputError, match=complaint):
            examples.read_examples(world.slates, [file], catalogue.item_ids)


def test_an_accepted_trace_without_an_explanation_is_refused_only_where_one_is_asked_for(
    world, catalogue, rows, tmp_path
):
    silent = rows[3] | {"reasoning": " \n"}
    rejected = [rows[0] | {"reasoning": "", "accepted": False}, *rows[:3]]
    file = write(tmp_path / "traces.jsonl", [*rejected, silent, *rows[4:]])
    assert len(examples.read_examples(world.slates, [file], catalogue.item_ids)) == len(rows)
    named = f"traces.jsonl: row 4, slate_id '{silent['slate_id']}', column 'reasoning': expected an explanation"
    with pytest.raises(InputError, match=named):
        examples.read_examples(world.slates, [file], catalogue.item_ids, explained=True)


def test_a_file_without_an_accepted_trace_is_refused(world, catalogue, rows, tmp_path):
    file = write(tmp_path / "traces.jsonl", [row | {"accepted": False} for row in rows])
    with pytest.raises(InputError, match=r"traces.jsonl: no accepted trace"):
        examples.read_examples(world.slates, [file], catalogue.item_ids)


def test_a_torn_or_missing_traces_file_is_refused_and_not_changed(world, catalogue, rows, tmp_path):
    torn = Path(write(tmp_path / "torn.jsonl", rows))
    torn.write_text(torn.read_text()[:-40])
    before = torn.read_bytes()
    for file, expected in ((torn, "expected a JSON object"), (tmp_path / "none.jsonl", "no such file")):
        with pytest.raises(InputError, match=expected):
            examples.read_examples(world.slates, [str(file)], catalogue.item_ids)
    assert torn.read_bytes() == before


def test_a_teacher_teaches_nothing_where_there_is_one_candidate(world, catalogue, tmp_path):
    table = pl.read_parquet(world.slates).filter(pl.col("split") == "train").head(3)
    lone = table.with_columns(
        *(pl.when(pl.col("slate_id") == table["slate_id"][1]).then(pl.col(name).list.head(1)).otherwise(pl.col(name))
          for name in ("candidates", "labels"))
    ).select("slate_id", "user_id", "split", "history", "candidates", "labels")  # fmt: skip
    lone.write_parquet(tmp_path / "slates.parquet")
    ranked = lone.select("slate_id", ranking="candidates", valid=pl.lit(True))
    ranked.with_columns(
        scores=pl.col("ranking").list.eval(pl.int_range(pl.len()).reverse().cast(pl.Float64))
    ).write_parquet(tmp_path / "rankings.parquet")
    files = str(tmp_path / "slates.parquet"), catalogue.item_ids, str(tmp_path / "rankings.parquet")
    rows = examples.read_lessons(*files, 1.0, 1.0)
    assert [row.slate.slate_id for row in rows] == [table["slate_id"][0], table["slate_id"][2]]
    assert all(row.ranking == row.slate.candidates and sum(row.shares.values()) == pytest.approx(1) for row in rows)
    lone[1:2].write_parquet(tmp_path / "slates.parquet")
    with pytest.raises(InputError, match=r"--teacher .*rankings\.parquet: expected slates with two candidates or more"):
        examples.read_lessons(*files, 1.0, 1.0)

import polars as pl
import pytest

from gr2.data.catalogue import read_catalogue
from gr2.errors import InputError
from gr2.files.slates import Slate, sample_slates, slates_of
from gr2.language_model.loading import load_tokenizer
from gr2.prompts.prompt import load_prompt
from gr2.prompts.render import render
from gr2.rl.examples import build_rows, select_rewarded


def test_rows_have_the_input_order_and_the_order_that_is_shown(world, beginner):
    catalogue, prompt = read_catalogue(world.items, world.semantic_ids), load_prompt("student_no_trace")
    slates, tokenizer = slates_of(pl.read_parquet(world.slates)), load_tokenizer(str(beginner))
    plain = build_rows(prompt, catalogue, tokenizer, None, slates)
    for slate, row in zip(slates, plain, strict=True):
        assert row["shown"] == row["candidates"] == slate.candidates
        assert row["prompt"] == render(prompt, slate, catalogue)
    shuffled = build_rows(prompt, catalogue, tokenizer, None, slates, shuffle_seed=0)
    for before, row in zip(plain, shuffled, strict=True):
        assert row["candidates"] == before["candidates"] and row["labels"] == before["labels"]
        assert sorted(row["shown"]) == sorted(row["candidates"])
        assert (row["shown"] == row["candidates"]) == (row["prompt"] == before["prompt"])
    assert sum(row["shown"] != row["candidates"] for row in shuffled) > 0.9 * len(shuffled)


def test_slates_are_drawn_at_random_under_the_seed(world):
    """Not the first ones, which are the first users'."""
    slates = slates_of(pl.read_parquet(world.slates))
    first, second = sample_slates(slates, 4, seed=0), sample_slates(slates, 4, seed=1)
    assert first == sample_slates(slates, 4, seed=0) != second and first != slates[:4]
    assert len(first) == 4 and first == [slate for slate in slates if slate in first]


NOTHING, ONE, GRADES, EQUAL = (
    Slate(str(labels), [], ["a", "b"], labels=labels) for labels in ([0.0, 0.0], [0.0, 1.0], [1.0, 2.0], [2.0, 2.0])
)


def test_slates_without_a_reward_are_left_out_and_counted(capsys):
    slates = [NOTHING, ONE, GRADES, EQUAL]
    assert select_rewarded(slates, "gr2_naive", "file") == [ONE, GRADES, EQUAL]
    assert "left out: 1 train slates without a relevant candidate" in capsys.readouterr().out
    assert select_rewarded(slates, "auc", "file") == [ONE]
    assert "left out: 2 train slates without a relevant and a not relevant candidate" in capsys.readouterr().out
    assert select_rewarded(slates, "ndcg", "file") == [ONE, GRADES]
    assert "left out: 1 train slates without two candidates with different labels" in capsys.readouterr().out
    with pytest.raises(InputError, match="file: no train slate has a relevant and a not relevant candidate"):
        select_rewarded([GRADES], "auc", "file")
    with pytest.raises(InputError, match="file: no train slate has two candidates with different labels"):
        select_rewarded([EQUAL], "ndcg", "file")

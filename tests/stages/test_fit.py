import dataclasses
import math

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gr2.errors import InputError
from gr2.options.parse import parse
from gr2.stages import fit, rerank
from gr2.stages.fit import by_users


@given(st.integers(2, 40), st.integers(0, 3))
def test_without_valid_slates_whole_users_are_held_out(users, seed):
    made = [{"user_id": f"u{number % users}", "number": number} for number in range(3 * users)]
    learned, judged = by_users(made, seed)
    assert sorted(slate["number"] for slate in learned + judged) == list(range(3 * users))
    held = {slate["user_id"] for slate in judged}
    assert len(held) == max(1, users // 10) and not held & {slate["user_id"] for slate in learned}
    assert by_users(made, seed) == (learned, judged)


def test_one_user_and_no_valid_slate_is_refused():
    with pytest.raises(InputError, match="expected labelled slates of split valid, or train slates of two users"):
        by_users([{"user_id": "u"}] * 5, 0)


KNOWN = {"items": "items.parquet", "slates": "slates.parquet", "output_dir": "out"}
PATHS = {"interactions": "interactions.parquet", "embeddings": "vectors.safetensors", "semantic_ids": "ids.parquet"}
FIT_NUMBERS = {
    "list_size": (0, -1), "history": (-1,), "group": (0, 1), "beams": (0, -1), "alpha": (-0.1, math.inf),
    "tau_w": (0.0, -1.0), "tau_q": (0.0, math.inf), "hidden_size": (0, -4), "layers": (0, -1), "dropout": (-0.1, 1.0),
    "learning_rate": (0.0, -1.0, 2.0), "batch_size": (0, -1), "epochs": (0, -1), "patience": (0, -1), "seed": (-1, 2**31),
}  # fmt: skip
RERANK_NUMBERS = {"max_prompt_tokens": (0, -1), "batch_size": (0,), "max_tokens": (0, -1), "temperature": (-0.1, 11.0),
                  "max_slates": (0, -1), "seed": (-1, 2**31)}  # fmt: skip


def parsed(stage: str, **changed):
    module = {"fit": fit, "rerank": rerank}[stage]
    options = KNOWN | ({"reranker": "random"} if stage == "rerank" else PATHS) | changed
    return parse(stage, module.Config, {name: [str(value)] for name, value in options.items()})


@pytest.mark.parametrize(("stage", "name", "value"), [
    *(("fit", name, value) for name, values in FIT_NUMBERS.items() for value in values),
    *(("fit", name, "nan") for name in FIT_NUMBERS if isinstance(FIT_NUMBERS[name][0], float)),
    *(("rerank", name, value) for name, values in RERANK_NUMBERS.items() for value in values),
    ("rerank", "temperature", "nan"),
])  # fmt: skip
def test_a_number_out_of_range_is_refused_as_options_are_read(stage, name, value):
    with pytest.raises(InputError, match=f"--{name} {value}: expected a number"):
        parsed(stage, **{name: value})


@pytest.mark.parametrize(("module", "numbers"), [(fit, FIT_NUMBERS), (rerank, RERANK_NUMBERS)])
def test_every_number_of_both_stages_has_a_range(module, numbers):
    kinds = (int, float, int | None, float | None)
    assert {field.name for field in dataclasses.fields(module.Config) if field.type in kinds} == set(numbers)


@pytest.mark.parametrize(("changes", "complaint"), [
    ({"kind": "prm", "model_name_or_path": "a"}, "--model_name_or_path a: expected --kind glorank"),
    ({"kind": "glorank", "evaluator": "a"}, "--evaluator a: expected --kind degre or goalrank"),
    ({"kind": "blend", "features": True}, "--features True: expected --kind prm"),
    ({"kind": "degre", "space": "pointer"}, "--space pointer: expected --kind glorank"),
    ({"kind": "glorank", "hidden_size": 30}, "--hidden_size 30: expected a multiple of 4"),
    ({"kind": "prm", "hidden_size": 31}, "--hidden_size 31: expected a multiple of 2"),
    ({"kind": "forest"}, "--kind forest: expected one of blend"),
])  # fmt: skip
def test_options_that_do_not_go_together_are_refused_as_they_are_read(changes, complaint):
    with pytest.raises(InputError, match=complaint):
        parsed("fit", **changes)


@pytest.mark.parametrize(("changes", "complaint"), [
    ({"split": "pretrain"}, "--split pretrain: expected one of"),
    ({"engine": "vlm"}, "--engine vlm: expected one of"),
    ({"engine": "openai"}, "--engine openai: expected --base_url"),
    ({"base_url": "http://127.0.0.1:1/v1"}, "--engine transformers: expected --base_url with engine openai"),
    ({"reranker": "rarest"}, "--reranker rarest: expected --interactions"),
])  # fmt: skip
def test_options_of_rerank_are_refused_as_they_are_read(changes, complaint):
    with pytest.raises(InputError, match=complaint):
        parsed("rerank", **changes)


def test_what_was_not_given_is_the_default_where_it_is_used():
    read = parsed("fit", kind="glorank")
    assert (read.space, read.list_size, read.history, read.hidden_size, read.layers, read.dropout) == (
        "global", 6, 50, 64, 1, 0.2)  # fmt: skip
    assert parsed("fit", kind="lambdamart").list_size == 6 and parsed("fit", kind="prm").list_size is None


def test_options_that_a_kind_does_not_use_are_named(world, tmp_path, capsys):
    words = {"items": world.items, "interactions": world.interactions, "embeddings": world.embeddings, "slates": world.slates,
             "output_dir": tmp_path}  # fmt: skip
    fit.run(parsed("fit", kind="blend", epochs=3, beams=2, **words))
    assert "fit blend does not use --beams, --epochs" in capsys.readouterr().out
    rerank.run(rerank.Config(items=world.items, slates=world.slates, reranker="random", structured=True, max_tokens=9,
                             output_dir=str(tmp_path)))  # fmt: skip
    assert "reranker random does not use --structured, --max_tokens" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["blend", "lambdamart", "prm", "glorank", "evaluator", "degre", "goalrank"])
def test_negative_labels_are_refused_by_every_kind(world, later, tmp_path, kind):
    frame = pl.read_parquet(later)
    labels = frame["labels"].to_list()
    labels[3][0] = -2.0
    frame.with_columns(pl.Series("labels", labels)).write_parquet(tmp_path / "slates.parquet")
    config = parsed("fit", kind=kind, items=world.items, slates=tmp_path / "slates.parquet", output_dir=tmp_path / "out",
                    interactions=world.interactions, embeddings=world.embeddings, semantic_ids=world.semantic_ids)  # fmt: skip
    with pytest.raises(InputError, match=r"row 3, column 'labels': expected finite numbers from 0 to .*, found \[-2.0"):
        fit.run(config)
    assert not (tmp_path / "out").exists()


def test_a_blend_of_nothing_but_relevant_candidates_is_refused(world, tmp_path):
    every = pl.col("labels").list.eval(pl.lit(1.0).repeat_by(pl.len()).explode())
    pl.read_parquet(world.slates).with_columns(every).write_parquet(tmp_path / "slates.parquet")
    config = parsed("fit", items=world.items, slates=tmp_path / "slates.parquet", output_dir=tmp_path / "out",
                    interactions=world.interactions, embeddings=world.embeddings)  # fmt: skip
    with pytest.raises(InputError, match="expected a train slate with a candidate that is not relevant, found none"):
        fit.run(config)


def test_train_slates_without_a_relevant_candidate_are_counted(world, later, tmp_path, capsys):
    frame = pl.read_parquet(later)
    train = frame["split"].to_list().index("train")
    labels = [[0.0] * 12 if at == train else row for at, row in enumerate(frame["labels"].to_list())]
    frame.with_columns(pl.Series("labels", labels)).write_parquet(tmp_path / "slates.parquet")
    fit.run(parsed("fit", items=world.items, slates=tmp_path / "slates.parquet", output_dir=tmp_path / "out",
                   interactions=world.interactions, embeddings=world.embeddings))  # fmt: skip
    assert "left out: 1 train slates without a relevant candidate" in capsys.readouterr().out

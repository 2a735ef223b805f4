import dataclasses
import importlib
import math

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gr2.errors import InputError
from gr2.files.slates import Slate
from gr2.options.parse import parse
from gr2.stages import FIT, rerank
from gr2.stages.fit.shared import hold_out_users
from tests.helpers import fit


@given(st.integers(2, 40), st.integers(0, 3))
def test_without_valid_slates_whole_users_are_held_out(users, seed):
    slates = [Slate(f"{number:03d}", [], [], user_id=f"u{number % users}") for number in range(3 * users)]
    train, valid = hold_out_users(slates, seed)
    assert sorted(train + valid, key=lambda slate: slate.slate_id) == slates
    held = {slate.user_id for slate in valid}
    assert len(held) == max(1, users // 10) and not held & {slate.user_id for slate in train}
    assert hold_out_users(slates, seed) == (train, valid)


def test_one_user_and_no_valid_slate_is_refused():
    with pytest.raises(InputError, match="early stopping needs labelled slates of split valid, or "):
        hold_out_users([Slate("s", [], [], user_id="u")] * 5, 0)


FILES = {
    "items": "items.parquet",
    "slates": "slates.parquet",
    "interactions": "events.parquet",
    "semantic_ids": "ids.parquet",
    "embeddings": "vectors.safetensors",
    "output_dir": "out",
    "reranker": "random",
    "members": "[popularity, random]",
}
NETWORK = {
    "hidden_size": (0, -4), "layers": (0, -1), "dropout": (-0.1, 1.0), "learning_rate": (0.0, -1.0, 2.0),
    "batch_size": (0, -1), "epochs": (0, -1), "patience": (0, -1),
}  # fmt: skip
LISTS = NETWORK | {"list_size": (0, -1), "history": (-1,)}
OUT_OF_RANGE = {
    "fit blend": {},
    "fit lambdamart": {"list_size": (0, -1)},
    "fit prm": NETWORK | {"teacher_temperature": (0.0, -1.0), "teacher_weight": (0.0, 1.5)},
    "fit one_pass": {
        "learning_rate": (0.0, -1.0, 2.0), "dropout": (-0.1, 1.0), "batch_size": (0, -1), "epochs": (0, -1),
        "patience": (0, -1), "teacher_temperature": (0.0, -1.0), "teacher_epochs": (0, -1), "title_tokens": (0, -1),
        "history": (-1,), "head_size": (0, 1), "head_layers": (0, -1), "lora_rank": (0, -1), "lora_alpha": (0, -1),
        "vocab_size": (0, 299), "hidden_size": (0, 1), "layers": (0, -1), "heads": (0, -1), "context": (0, 1),
        "spread": (0.0, -1.0), "local_window": (0, -1),
    },
    "fit fusion": {"max_prompt_tokens": (0,), "batch_size": (0,)},
    "fit glorank": LISTS | {"group": (0, 1)},
    "fit evaluator": LISTS | {"group": (0, 1)},
    "fit degre": LISTS | {"beams": (0, -1), "alpha": (-0.1, math.inf), "tau_w": (0.0, -1.0), "tau_q": (0.0, math.inf),
                          "label_weight": (-0.1, 1.1)},
    "fit goalrank": LISTS | {"group": (0, 1), "label_weight": (-0.1, 1.1)},
    "rerank": {"max_prompt_tokens": (0, -1), "batch_size": (0,), "max_tokens": (0, -1), "temperature": (-0.1, 11.0),
               "max_slates": (0, -1), "concurrency": (0,), "deadline": (0.0,), "shuffles": (-1,),
               "shuffled_slates": (0,), "alone": (-1,), "workers": (0,), "gpus_per_worker": (-1.0,)},
}  # fmt: skip


def config_of(command: str) -> type:
    return importlib.import_module("gr2.stages." + command.replace(" ", ".")).Config


def parsed(command: str, **changed):
    names = config_of(command).__dataclass_fields__
    options = {name: value for name, value in FILES.items() if name in names} | changed
    return parse(command, config_of(command), {name: [str(value)] for name, value in options.items()})


@pytest.mark.parametrize("command", OUT_OF_RANGE)
def test_numbers_out_of_range_are_refused_as_options_are_read(command):
    for name, values in (OUT_OF_RANGE[command] | {"seed": (-1, 2**31)}).items():
        for value in (*values, *(["nan"] if isinstance(values[0], float) else [])):
            with pytest.raises(InputError, match=f"--{name} {value}: expected a number"):
                parsed(command, **{name: value})


@pytest.mark.parametrize("command", OUT_OF_RANGE)
def test_every_number_has_a_range(command):
    kinds = (int, float, int | None, float | None)
    numbers = {field.name for field in dataclasses.fields(config_of(command)) if field.type in kinds}
    assert numbers == {"seed", *OUT_OF_RANGE[command]}


def test_every_kind_is_tested():
    assert [*OUT_OF_RANGE] == [*(f"fit {kind}" for kind in FIT), "rerank"]


@pytest.mark.parametrize(("command", "changes", "complaint"), [
    ("fit prm", {"model_name_or_path": "a"}, "fit prm: unknown key 'model_name_or_path'"),
    ("fit degre", {"space": "pointer"}, "fit degre: unknown key 'space'"),
    ("fit glorank", {"hidden_size": 30}, "--hidden_size 30: expected a multiple of 4"),
    ("fit prm", {"hidden_size": 31}, "--hidden_size 31: expected a multiple of 2"),
    ("fit degre", {"label_weight": 0.5}, "--label_weight 0.5: expected an evaluator or a teacher"),
    ("fit glorank", {"space": "local"}, "--space local: expected one of"),
])  # fmt: skip
def test_wrong_options_are_refused_as_they_are_read(command, changes, complaint):
    with pytest.raises(InputError, match=complaint):
        parsed(command, **changes)


@pytest.mark.parametrize(
    ("kind", "name"), [("blend", "embeddings"), ("prm", "interactions"), ("degre", "semantic_ids")]
)
def test_the_inputs_of_a_kind_are_required(kind, name, monkeypatch):
    monkeypatch.delitem(FILES, name)
    with pytest.raises(InputError, match=f"fit {kind}: --{name} is required"):
        parsed(f"fit {kind}")


@pytest.mark.parametrize(("changes", "complaint"), [
    ({"split": "pretrain"}, "--split pretrain: expected one of"),
    ({"engine": "vlm"}, "--engine vlm: expected one of"),
    ({"engine": "openai"}, "--engine openai: expected --base_url"),
    ({"base_url": "http://127.0.0.1:1/v1"}, "--base_url http://127.0.0.1:1/v1: expected a URL, .*and --engine openai"),
    ({"reranker": "rarest"}, "--reranker rarest: expected --interactions"),
])  # fmt: skip
def test_options_of_rerank_are_refused_as_they_are_read(changes, complaint, monkeypatch):
    monkeypatch.delitem(FILES, "interactions")
    with pytest.raises(InputError, match=complaint):
        parsed("rerank", **changes)


def test_what_was_not_given_is_the_default():
    read = parsed("fit glorank")
    assert (read.space, read.list_size, read.history, read.hidden_size, read.layers, read.dropout) == (
        "global",
        6,
        50,
        64,
        1,
        0.2,
    )
    assert parsed("fit glorank", model_name_or_path="folder").list_size is None  # it will be the folder's


def test_options_of_a_language_model_that_another_reranker_does_not_use_are_named(world, tmp_path, capsys):
    rerank.run(
        rerank.Config(
            items=world.items,
            slates=world.slates,
            reranker="random",
            order="choices",
            max_tokens=9,
            output_dir=str(tmp_path),
        )
    )
    assert "reranker random does not use --order, --max_tokens" in capsys.readouterr().out


def inputs(world) -> dict[str, str]:
    return {
        "items": world.items,
        "interactions": world.interactions,
        "embeddings": world.embeddings,
        "semantic_ids": world.semantic_ids,
    }


MEMBERS = {"fusion": {"members": ["popularity", "random"]}}


@pytest.mark.parametrize("kind", FIT)
def test_negative_labels_are_refused_by_every_kind(world, later, tmp_path, kind):
    frame = pl.read_parquet(later)
    labels = frame["labels"].to_list()
    labels[3][0] = -2.0
    frame.with_columns(pl.Series("labels", labels)).write_parquet(tmp_path / "slates.parquet")
    with pytest.raises(InputError, match=r"row 3, column 'labels': expected finite numbers from 0 to .*, found \[-2.0"):
        fit(kind, tmp_path / "out", inputs(world), slates=str(tmp_path / "slates.parquet"), **MEMBERS.get(kind, {}))
    assert not (tmp_path / "out").exists()


def test_a_blend_of_nothing_but_relevant_candidates_is_refused(world, tmp_path):
    every = pl.col("labels").list.eval(pl.lit(1.0).repeat_by(pl.len()).explode())
    pl.read_parquet(world.slates).with_columns(every).write_parquet(tmp_path / "slates.parquet")
    with pytest.raises(InputError, match="expected a train slate with a candidate that is not relevant, found none"):
        fit("blend", tmp_path / "out", inputs(world), slates=str(tmp_path / "slates.parquet"))


def test_train_slates_without_a_relevant_candidate_are_counted(world, later, tmp_path, capsys):
    frame = pl.read_parquet(later)
    train = frame["split"].to_list().index("train")
    labels = [[0.0] * 12 if index == train else row for index, row in enumerate(frame["labels"].to_list())]
    frame.with_columns(pl.Series("labels", labels)).write_parquet(tmp_path / "slates.parquet")
    fit("blend", tmp_path / "out", inputs(world), slates=str(tmp_path / "slates.parquet"))
    assert "left out: 1 train slates without a relevant candidate" in capsys.readouterr().out

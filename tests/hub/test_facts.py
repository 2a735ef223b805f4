import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gr2.hub.facts import find_base, find_dataset, find_recipe, plain, read_facts, shorten

NAMES = st.text("abc.-_ 1", min_size=1).filter(lambda name: name.strip(".") and "/" not in name)


def manifest(**changed) -> dict:
    made = {"stage": "sft", "options": {}, "inputs": {}, "config": {}, "command": "gr2 sft", "git_commit": None}
    return made | {"seed": 0, "packages": {}} | changed


def finished(folder: Path, **changed) -> Path:
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps(manifest(outputs={}, **changed)))
    return folder


@given(st.lists(NAMES, min_size=1, max_size=4), st.sampled_from(["", "name="]))
def test_of_a_path_only_the_name_is_told(parts, label):
    assert shorten(f"{label}/{'/'.join(parts)}", manifest()) == label + parts[-1]


@given(st.text("abc=/.- 10", max_size=12).filter(lambda word: not word.partition("=")[2].startswith("/")))
def test_words_that_are_no_paths_stay_as_they_are(word):
    assert word.startswith("/") or shorten(word, manifest(inputs={"runs/demo/items.parquet": "1f"})) == word


def test_a_file_of_a_stage_is_told_with_the_stages_folder(tmp_path):
    folder = finished(tmp_path / "template")
    made = manifest(options={"traces": [f"{folder}/traces.jsonl"], "sft": [str(folder)]})
    assert read_facts(made).options == {"traces": "template/traces.jsonl", "sft": "template"}


def test_who_is_told_of_a_training_is_no_fact_of_it():
    told = {"output_dir": ["out"], "hub_token": ["***"], "push_to_hub": ["true"]}
    own = {"seed": ["1"], "mixture": ["a=1", "b=2"]}
    assert read_facts(manifest(options=told | own)).options == {"seed": 1, "mixture": ["a=1", "b=2"]}


@pytest.mark.parametrize(
    ("word", "value"), [("0.1", 0.1), ("1e-4", 1e-4), ("True", True), ("no", "no"), ("null", "null"), ("010", "010")]
)
def test_numbers_and_switches_are_shown_as_such(word, value):
    assert plain(word) == value


def test_the_recipe_is_told_by_its_name():
    assert find_recipe("gr2 rl --recipe /home/me/own.yaml --stage rl_0 --seed 1") == "own, stage rl_0"
    assert find_recipe("gr2 rl --config own.yaml") is None


def test_the_base_model_is_where_the_first_training_started(tmp_path):
    def after(name: str) -> dict:
        return manifest(options={"model_name_or_path": [name]})

    midtrain = finished(tmp_path / "midtrain", options={"model_name_or_path": ["Qwen/Qwen3-1.7B"]})
    assert find_base(after(str(midtrain))) == find_base(after("Qwen/Qwen3-1.7B")) == "Qwen/Qwen3-1.7B"
    assert find_base(after(str(finished(tmp_path / "scratch")))) is None and find_base(manifest()) is None
    assert find_base(after("packaged:smollm2-135m-instruct")) == "HuggingFaceTB/SmolLM2-135M-Instruct"
    (tmp_path / "own").mkdir()
    assert find_base(after(str(tmp_path / "own"))) is None, "whatever it is on the hub, if anything"


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"source": ["movielens-latest-small"]}, "movielens-latest-small"),
        ({"source": ["movielens"], "folder": ["/data/ml-1m"]}, "movielens-ml-1m"),
        ({"source": ["amazon"], "interactions": ["/data/reviews_Beauty_5.json.gz"]}, "amazon-reviews_Beauty_5"),
        ({"source": ["synthetic"]}, None),
        ({"interactions": ["/home/me/clicks.csv"]}, None),
    ],
)
def test_the_data_is_what_was_prepared(tmp_path, options, name):
    prepared = finished(tmp_path / "prepare", options=options)
    assert find_dataset(manifest(options={"items": [f"{prepared}/items.parquet"]})) == name
    assert find_dataset(manifest(options={"items": [f"{tmp_path}/items.parquet"]})) is None

"""What is wrong with a command's words is said before its libraries are imported."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gr2.errors import InputError
from gr2.runner.checks import check_files, check_words
from gr2.stages import STAGES

LIBRARIES = "torch transformers trl datasets accelerate vllm sklearn ray huggingface_hub fastapi"
HEAVY = LIBRARIES.split()
REFUSED_IN_ONE_PROCESS = """
import json, sys
from gr2.cli import main
for words in json.load(sys.stdin):
    try:
        main(words)
    except SystemExit as stop:
        assert stop.code == 2, words
    else:
        raise AssertionError(words)
print(json.dumps([name for name in sys.argv[1:] if name in sys.modules]))
"""


def refuse_all(commands):
    """What `gr2 WORDS` complains of, for each of the commands; the libraries that one of them imported."""
    words = [sys.executable, "-c", REFUSED_IN_ONE_PROCESS, *HEAVY]
    done = subprocess.run(words, input=json.dumps(commands), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stderr.splitlines(), json.loads(done.stdout)


def test_a_wrong_word_of_any_command_imports_no_library():
    complaints, imported = refuse_all([[*stage.split(), "--nonsense", "1"] for stage in STAGES])
    assert imported == []
    assert len(complaints) == len(STAGES)
    assert all(f"gr2: {stage}: unknown key 'nonsense'" in line for stage, line in zip(STAGES, complaints, strict=True))


def test_a_wrong_value_of_a_training_imports_no_library(tmp_path):
    needed = ["--items", "i.parquet", "--semantic_ids", "s.parquet", "--slates", "s.parquet", "--output_dir", "o"]
    needed += ["--model_name_or_path", "m"]
    complaints, imported = refuse_all([
        ["rl", *needed, "--max_steps", "ten"],
        ["rl", *needed, "--reward", "clicks"],
        ["sft", *needed, "--learning_rat", "1"],
        ["sft", *needed, "--learning_rate", "-1"],
        ["sft", *needed[2:]],
        ["sft", *needed],
        ["rl", *needed, "--slates", str(tmp_path), "--semantic_ids", __file__, "--items", __file__],
    ])  # fmt: skip
    assert imported == []
    assert complaints == [
        "gr2: rl: --max_steps ten: expected a whole number",
        "gr2: rl: --reward clicks: expected one of gr2_conditional, gr2_naive, auc, ndcg",
        "gr2: sft: unknown key 'learning_rat'; did you mean 'learning_rate'?",
        "gr2: --learning_rate -1.0: expected a number of at least 0",
        "gr2: sft: --items is required",
        "gr2: s.parquet: no such file",
        f"gr2: {tmp_path}: expected a file, found a folder",
    ]


def test_a_prompt_that_is_not_there_imports_no_library():
    tables = [word for name in ("items", "semantic_ids", "slates") for word in (f"--{name}", __file__)]
    words = ["sft", *tables, "--output_dir", "o", "--model_name_or_path", "m", "--prompt", "nosuch"]
    (complaint,), imported = refuse_all([words])
    assert imported == []
    assert complaint.startswith("gr2: nosuch: no such file; expected one, or a name of rejection, ")


def test_wrong_words_around_the_stages_import_no_library():
    around = [["card"], ["card", "nosuch"], ["push"], ["push", "nosuch", "me/x"]]
    complaints, imported = refuse_all([*around, ["serve", "runs/x/nosuch", "--items", "i"]])
    assert imported == []
    assert complaints[-1].startswith("gr2: --reranker runs/x/nosuch: expected input_order, ")


def test_options_that_do_not_go_together_import_no_library(world):
    """But for trainings, whose options transformers and TRL hold together."""
    rerank = ["rerank", "--items", world.items, "--slates", world.slates, "--output_dir", "o"]
    traces = ["traces", "--items", world.items, "--slates", world.slates, "--semantic_ids", world.semantic_ids]
    traces += ["--prompt", "rejection", "--model_name_or_path", "m", "--output_dir", "o"]
    complaints, imported = refuse_all([
        [*rerank, "--reranker", "popularity"],
        [*rerank, "--reranker", "m", "--engine", "openai"],
        [*traces, "--max_model_len", "5"],
    ])  # fmt: skip
    assert imported == []
    assert complaints[0] == "gr2: --reranker popularity: expected --interactions"
    assert len(complaints) == 3


@pytest.mark.parametrize(("command", "options", "complaint"), [
    ("slates", {"items": "runs/x/prepare/items.parquet"},
     "runs/x/prepare/items.parquet: no such file; `gr2 prepare` makes it"),
    ("evaluate", {"rankings": "a=runs/x/rerank/rankings.parquet"},
     "runs/x/rerank/rankings.parquet: no such file; `gr2 rerank` makes it"),
    ("rerank", {"slates": "slates.parquet"},
     "slates.parquet: no such file; `gr2 slates` or `gr2 impressions` or `gr2 facts` makes it"),
    ("rerank", {"slates": "mine.parquet"}, "mine.parquet: no such file"),
    ("prepare", {"items": "shop/items.csv"}, "shop/items.csv: no such file"),
])  # fmt: skip
def test_a_file_that_is_not_there_is_named_with_the_command_that_makes_it(command, options, complaint):
    with pytest.raises(InputError) as refusal:
        check_files(command, {name: [value] for name, value in options.items()})
    assert str(refusal.value) == complaint


def test_a_folder_in_the_place_of_its_file_is_named_with_the_file(world):
    folder = str(world.root / "slates")
    with pytest.raises(InputError) as refusal:
        check_files("rerank", {"slates": [folder]})
    assert str(refusal.value) == f"--slates {folder}: expected a file, found a folder; use {folder}/slates.parquet"


def test_what_may_be_no_file_is_left_to_the_command(tmp_path):
    (tmp_path / "shards.parquet").mkdir()
    for options in ({"reranker": "popularity"}, {"slates": "s3://bucket/slates.parquet"}, {"reranker": "me/model"}):
        check_files("rerank", {name: [value] for name, value in options.items()})
    check_files("embed-shards", {"items": [str(tmp_path / "shards.parquet")]})
    check_files("embed-shards", {"items": ["items/*.parquet"]})
    check_files("rerank", {"slates": ["run/slates/slates.parquet"]}, (tmp_path, tmp_path.__class__("run/slates")))


MADE = tuple(Path("run", name) for name in ("midtrain", "fit_prm", "rerank_random", "rerank_sft", "sft_gpt2"))
HUB = "expected a stage of the recipe, a folder, or a model of the hub as OWNER/NAME; no stage has this id"


@pytest.mark.parametrize(("command", "options", "complaint"), [
    ("sft", {"model_name_or_path": "midtrian"}, f"{HUB}; did you mean 'midtrain'?"),
    ("rerank", {"reranker": "fit_prn"}, f"{HUB}; did you mean 'fit_prm'?"),
    ("rerank", {"reranker": "sft"}, HUB),
    ("rerank", {"reranker": "fit_lambdamart"}, HUB),
    ("fit fusion", {"members": "fit_blend"}, HUB),
])  # fmt: skip
def test_a_word_that_was_meant_as_a_stage_is_refused(command, options, complaint):
    with pytest.raises(InputError) as refusal:
        check_files(command, {name: [value] for name, value in options.items()}, MADE)
    assert str(refusal.value) == "".join(f"--{name} {value}: " for name, value in options.items()) + complaint


@pytest.mark.parametrize(("command", "options"), [
    ("sft", {"model_name_or_path": "gpt2"}),
    ("sft", {"model_name_or_path": "Qwen/Qwen3-1.7B"}),
    ("sft", {"model_name_or_path": "me/midtrain"}),
    ("midtrain", {"model_name_or_path": "packaged:SmolLM2-135M-Instruct"}),
    ("midtrain", {"model_name_or_path": "midtrain"}),  # of its own id: no stage is meant
    ("rerank", {"reranker": "random"}),
    ("rerank", {"reranker": "run/midtrain"}),
    ("rerank", {"reranker": "x", "prompt": "student_more_facts"}),
    ("traces", {"model_name_or_path": "sft", "engine": "openai"}),  # what a server calls its model
])  # fmt: skip
def test_a_word_that_may_be_a_model_of_the_hub_passes(command, options):
    check_files(command, {name: [value] for name, value in options.items()}, MADE)


def test_a_recipe_is_told_what_its_paths_are_relative_to(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as refusal:
        check_files("prepare", {"items": ["shop/items.csv"]}, recipe=True)
    beside = "in a recipe, ./FILE is beside the recipe, and another path is relative to"
    assert str(refusal.value) == f"shop/items.csv: no such file; {beside} {tmp_path}"


def test_words_of_every_type_are_taken():
    needed = {name: [f"{name}.parquet"] for name in ("items", "semantic_ids", "slates")}
    options = needed | {"model_name_or_path": ["m"], "output_dir": ["o"], "optim": ["adamw_torch"], "bf16": ["no"]}
    options |= {"reward_weights": ["1", "0.5"], "shuffle_candidates": [], "max_steps": ["-1"]}
    check_words("rl", options | {"gradient_checkpointing_kwargs": ['{"use_reentrant": false}']})

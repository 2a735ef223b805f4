import dataclasses
import importlib
import runpy
import sys
import time
from pathlib import Path

import pytest
import yaml

from gr2 import __version__
from gr2.cli import OTHER, main
from gr2.options.parse import parse, read_options
from gr2.prompts.prompt import load_prompt
from gr2.runner.pipeline import check, read_pipeline
from gr2.stages import STAGES, module_of
from tests.helpers import gr2

ROOT = Path(__file__).parents[1]
RECIPES = sorted((ROOT / "recipes").rglob("*.yaml"))
PIPELINES = [file for file in RECIPES if file.name == "pipeline.yaml"]
ACCELERATE = [file for file in RECIPES if file.parent.name == "accelerate"]
STAGE_RECIPES = [file for file in RECIPES if file not in PIPELINES + ACCELERATE]


def name(file):
    return str(file.relative_to(ROOT / "recipes"))


def stage_of(file):
    return file.stem.split("_")[0]


def test_help_is_fast_and_names_every_stage():
    seconds = []
    for _ in range(5):
        started = time.monotonic()
        text = gr2("--help").stdout
        seconds.append(time.monotonic() - started)
    assert min(seconds) < 0.5
    assert all(f"  {stage} " in text for stage in STAGES | OTHER)


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_explains_its_options(stage, capsys):
    main([stage, "--help"])
    text = capsys.readouterr().out
    assert f"usage: gr2 {stage}" in text and "output_dir" in text
    assert len(text.splitlines()) > 6


def test_help_of_a_stage_and_of_run_in_a_process_of_its_own():
    assert "--min_user_events" in gr2("prepare", "--help").stdout
    assert "--until" in gr2("run", "--help").stdout


@pytest.mark.parametrize("words", [["rerankk"], ["rerank.py", "--help"], ["-x"], [""]])
def test_an_unknown_stage_is_refused(words, capsys):
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert f"'{words[0]}' is not a stage; one of: prepare, embed" in error


def test_no_words_print_the_usage_and_end_with_2():
    assert gr2(expect=2).stdout.startswith("usage: gr2 STAGE")


def test_version(capsys):
    main(["--version"])
    assert capsys.readouterr().out == f"gr2 {__version__}\n"


def test_env_prints_versions_and_hardware():
    facts = yaml.safe_load(gr2("env").stdout)
    assert {"python", "torch", "transformers", "gr2"} <= set(facts["packages"])
    assert facts["hardware"]["cores"] >= 1 and isinstance(facts["hardware"]["gpus"], list)


def test_recipes_of_every_kind_exist():
    assert PIPELINES and ACCELERATE and STAGE_RECIPES
    assert {file.stem for file in ACCELERATE} == {"ddp", "zero2", "zero3", "fsdp2"}


@pytest.mark.parametrize("file", STAGE_RECIPES, ids=name)
def test_a_stage_recipe_parses(file, monkeypatch):
    monkeypatch.chdir(ROOT)
    stage = stage_of(file)
    assert stage in STAGES, "a stage's recipe is called STAGE.yaml or STAGE_WHAT.yaml"
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    config = parse(stage, importlib.import_module(module_of(stage)).Config, read_options(["--config", str(file)]))
    assert config.output_dir.startswith("runs/")
    if getattr(config, "prompt", None):
        load_prompt(config.prompt)


@pytest.mark.parametrize("file", PIPELINES, ids=name)
def test_a_pipeline_parses_and_every_input_is_made_before_it_is_read(file, monkeypatch):
    monkeypatch.chdir(ROOT)
    plan = read_pipeline(file)
    check(plan)
    folders = [options["output_dir"][0] for _, _, options in plan]
    assert len(set(folders)) == len(folders)
    for number, (stage, _, options) in enumerate(plan):
        fields = dataclasses.fields(importlib.import_module(module_of(stage)).Config)
        inputs = [field.name for field in fields if field.metadata.get("path")]
        read = [entry.rpartition("=")[2] for key in inputs for entry in options.get(key, [])]
        for path in read:
            if path.startswith("runs/"):
                made = folders[:number]
                assert any(path == folder or path.startswith(folder + "/") for folder in made), f"{stage} reads {path}"


@pytest.mark.parametrize("file", ACCELERATE, ids=name)
def test_an_accelerate_config_says_what_accelerate_expects(file):
    from accelerate.commands.config.config_args import load_config_from_file

    values = yaml.safe_load(file.read_text())
    kind = {"ddp": "MULTI_GPU", "zero2": "DEEPSPEED", "zero3": "DEEPSPEED", "fsdp2": "FSDP"}[file.stem]
    assert values["distributed_type"] == kind and values["mixed_precision"] == "bf16" and values["num_processes"] > 1
    if kind == "DEEPSPEED":
        assert values["deepspeed_config"]["zero_stage"] == int(file.stem[-1])
    if kind == "FSDP":
        assert values["fsdp_config"]["fsdp_version"] == 2
        assert values["fsdp_config"]["fsdp_state_dict_type"] == "FULL_STATE_DICT"  # else no plain checkpoint comes out
    assert load_config_from_file(str(file)).num_processes == values["num_processes"]  # accelerate knows every key


@pytest.mark.parametrize("stage", ["midtrain", "sft", "rl"])
def test_scripts_are_the_same_stages(stage, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["script", "--no_such_option", "1"])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(ROOT / "scripts" / f"{stage}.py"), run_name="__main__")
    assert stop.value.code == 2
    assert f"gr2: {stage}: unknown key 'no_such_option'" in capsys.readouterr().err

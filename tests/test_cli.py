import runpy
import sys
import time
from pathlib import Path

import pytest
import yaml

from gr2 import __version__
from gr2.cli import AROUND, main
from gr2.stages import FIT, GROUPS, STAGES
from tests.helpers import gr2

ROOT = Path(__file__).parents[1]
ACCELERATE = sorted((ROOT / "recipes" / "accelerate").glob("*.yaml"))


def test_help_is_fast_and_names_every_stage():
    seconds = []
    for _ in range(5):
        started = time.monotonic()
        text = gr2("--help").stdout
        seconds.append(time.monotonic() - started)
    assert min(seconds) < 0.5
    assert all(f"  {name} " in text for name in [*STAGES, *AROUND] if not name.startswith("fit "))
    assert [line for line in text.splitlines() if line in GROUPS] == list(GROUPS)  # the way of the data
    assert f"fit KIND           slates -> a small reranker's folder; KIND: {', '.join(FIT)}" in text


def test_help_of_fit_names_its_kinds(capsys):
    for words, code in ((["fit", "--help"], 0), (["fit"], 2)):
        with pytest.raises(SystemExit) as stop:
            main(words)
        text = capsys.readouterr().out
        assert stop.value.code == code and "usage: gr2 fit KIND" in text
        assert all(f"  {kind:18} {about}" in text for kind, about in FIT.items())


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_explains_its_options(stage, capsys):
    main([*stage.split(), "--help"])
    text = capsys.readouterr().out
    assert f"usage: gr2 {stage}" in text and "output_dir" in text
    assert len(text.splitlines()) > 6


def test_help_of_a_stage_and_of_run_in_a_process_of_its_own():
    assert "--min_user_events" in gr2("prepare", "--help").stdout
    assert "--until" in gr2("run", "--help").stdout
    assert "gr2 recipes copy NAME" in gr2("recipes", "--help").stdout


@pytest.mark.parametrize("words", [["walk"], ["-x"], [""], ["fitt", "trees"]])
def test_an_unknown_stage_is_refused(words, capsys):
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert f"'{words[0]}' is no command; one of: prepare, embed" in error


@pytest.mark.parametrize(("words", "near"), [
    (["rerankk"], "rerank"), (["rerank.py", "--help"], "rerank"), (["fit", "lambda"], "fit lambdamart"),
])  # fmt: skip
def test_an_unknown_stage_that_is_nearly_one_is_refused_with_its_name(words, near, capsys):
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2
    assert f"is no command; did you mean '{near}'?" in capsys.readouterr().err


def test_no_words_print_the_usage_and_end_with_2():
    assert gr2(expect=2).stdout.startswith("usage: gr2 COMMAND")


def test_version(capsys):
    main(["--version"])
    assert capsys.readouterr().out == f"gr2 {__version__}\n"


def test_env_takes_no_words(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["env", "--x"])
    assert stop.value.code == 2 and "gr2: env --x: expected no more words" in capsys.readouterr().err


def test_env_prints_versions_and_hardware():
    facts = yaml.safe_load(gr2("env").stdout)
    assert {"python", "torch", "transformers", "gr2"} <= set(facts["packages"])
    assert facts["hardware"]["cores"] >= 1 and isinstance(facts["hardware"]["gpus"], list)


@pytest.mark.parametrize("file", ACCELERATE, ids=lambda file: file.stem)
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


def test_a_script_takes_a_stage_of_a_recipe(monkeypatch, tmp_path, capsys):
    from gr2.stages import sft

    inputs = ("items", "semantic_ids", "slates", "traces")
    for name in inputs:
        (tmp_path / name).touch()
    files = {name: f"./{name}" for name in inputs} | {"model_name_or_path": "m"}
    recipe = {"folder": str(tmp_path / "run"), "training": {"max_steps": 3}, "stages": {"sft_a": files}}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    configs = []
    monkeypatch.setattr(sft, "run", configs.append)
    words = ["--recipe", str(tmp_path / "recipe.yaml"), "--stage", "sft_a", "--seed", "5", "--use_cpu", "true"]
    monkeypatch.setattr(sys, "argv", ["script", *words])
    runpy.run_path(str(ROOT / "scripts" / "sft.py"), run_name="__main__")
    assert (configs[0].output_dir, configs[0].max_steps, configs[0].seed) == (str(tmp_path / "run/sft_a"), 3, 5)
    assert "--recipe" in yaml.safe_load((tmp_path / "run/sft_a/manifest.json").read_text())["command"]

import json
import os
import shlex
import signal
import subprocess
import sys
import time

import pytest
import yaml

from gr2.cli import main
from gr2.runner.pipeline import parser
from tests.forking import run_recipe
from tests.helpers import gr2

STAGES = ("prepare", "slates", "shuffled", "evaluate")


def recipe(world, root, **changed):
    """prepare, slates, rerank, evaluate into root/run; `changed` holds more options by stage."""
    stages = {
        "prepare": {"items": world.raw_items, "interactions": world.raw_interactions},
        "slates": {"pre_ranker": "popularity", "exclude_seen": False, "semantic_ids": world.semantic_ids},
        "shuffled": {"stage": "rerank", "reranker": "random"},
        "evaluate": {"rankings": ["shuffled"], "resamples": 200},
    }
    stages = {name: options | changed.get(name, {}) for name, options in stages.items()}
    root.mkdir(exist_ok=True)
    file = root / "recipe.yaml"
    file.write_text(yaml.safe_dump({"folder": f"{root}/run", "stages": stages}, sort_keys=False))
    return file


def run(*words):
    """{stage's id: why it ran, or "" where it was skipped}"""
    return read_reasons(run_recipe(*words))


def read_reasons(lines):
    lines = [line for line in lines if line.startswith("[")]
    reasons = {line.split()[1].strip(":"): line.split(": ", 2)[2] for line in lines}
    return {stage: reason.replace("unchanged, skipped", "") for stage, reason in reasons.items()}


def ran(path, *words):
    """{stage's id: whether it ran}"""
    return {stage: bool(reason) for stage, reason in run(path, *words).items()}


def failed(capsys, *words):
    with pytest.raises(SystemExit) as stop:
        main(["run", *map(str, words)])
    assert stop.value.code == 2
    return capsys.readouterr().err


def contents(root):
    """What every output file says, but for times and names of folders."""
    timed = ("manifest.json", "timing.json")
    files = (file for file in (root / "run").rglob("*") if file.is_file() and file.name not in timed)
    return {str(file.relative_to(root)): untimed(file) for file in files}


def untimed(file):
    """A file's bytes; of the evaluation's all but the costs, and when each stage ended."""
    if file.name == "metrics.json":
        return {
            name: value for name, value in json.loads(file.read_text()).items() if name not in ("costs", "frontier")
        }
    if file.name == "report.html":
        page = file.read_text()
        for timed in ("Quality and cost", "How it was made"):
            before, after = page.split(f"<h2>{timed}</h2>")
            page = before + after.split("</section>", 1)[1]
        return page
    return file.read_bytes()


@pytest.fixture(scope="module")
def done(world, tmp_path_factory):
    root = tmp_path_factory.mktemp("done")
    lines = gr2("run", recipe(world, root)).stdout.splitlines()
    assert read_reasons(lines) == dict.fromkeys(STAGES, "never run")
    return root


def test_a_whole_run_leaves_every_stage_finished(done):
    for stage in STAGES:
        assert (done / "run" / stage / "manifest.json").exists() and not (done / "run" / stage / "stage.json").exists()
    metrics = json.loads((done / "run" / "evaluate" / "metrics.json").read_text())
    assert metrics["slates"] == 31 and {"input_order", "shuffled", "random"} <= set(metrics["systems"])
    assert not list(done.rglob("*.partial"))


def test_a_second_run_skips_everything_and_is_quick(done):
    before = contents(done)
    assert run("--config", done / "recipe.yaml") == dict.fromkeys(STAGES, "")  # another spelling of the same
    assert contents(done) == before


@pytest.fixture(scope="module")
def killed(world, tmp_path_factory):
    """A run of the same recipe into another folder, killed as soon as its second stage has begun."""
    root = tmp_path_factory.mktemp("killed")
    words = [sys.executable, "-m", "gr2", "run", str(recipe(world, root))]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 120
    while not (root / "run" / "slates").exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.001)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (root / "run" / "shuffled").exists()
    return root


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes_as_another(done, killed):
    reasons = run(killed / "recipe.yaml")
    assert not reasons["prepare"] and reasons["shuffled"] == reasons["evaluate"] == "never run"
    made = {name: content for name, content in contents(killed).items() if not name.endswith(".partial")}
    assert made == contents(done)


def test_a_changed_option_runs_again_what_depends_on_it(world, killed):
    run(killed / "recipe.yaml")
    path = recipe(world, killed, evaluate={"resamples": 300})
    assert run(path) == {"prepare": "", "slates": "", "shuffled": "", "evaluate": "options changed: resamples"}
    # a stage that runs again and writes the same bytes as before does not wake those after it
    path = recipe(world, killed, evaluate={"resamples": 300}, prepare={"seed": 9})
    assert ran(path) == {"prepare": True, "slates": False, "shuffled": False, "evaluate": False}
    path = recipe(world, killed, prepare={"train_share": 0.3})
    reasons = run(path, "--until", "slates")
    assert reasons == {"prepare": "options changed: seed, train_share",
                       "slates": f"input changed: {killed}/run/prepare/interactions.parquet"}  # fmt: skip


def test_the_command_line_changes_one_stages_option(done):
    reasons = run(done / "recipe.yaml", "--evaluate.resamples", "100", "--dry_run", "false")
    assert reasons == {"prepare": "", "slates": "", "shuffled": "", "evaluate": "options changed: resamples"}
    assert ran(done / "recipe.yaml") == {"prepare": False, "slates": False, "shuffled": False, "evaluate": True}


def test_an_interrupted_stage_and_those_after_it_run_again(done):
    before = contents(done)
    manifest = json.loads((done / "run" / "shuffled" / "manifest.json").read_text())
    (done / "run" / "shuffled" / "manifest.json").unlink()
    (done / "run" / "shuffled" / "rankings.parquet").unlink()
    claim = {key: manifest[key] for key in ("stage", "options", "input_paths", "inputs", "code")}
    (done / "run" / "shuffled" / "stage.json").write_text(json.dumps(claim))
    assert run(done / "recipe.yaml") == {
        "prepare": "",
        "slates": "",
        "shuffled": "interrupted: resumes",
        "evaluate": "",
    }
    assert contents(done) == before


def test_a_failing_stage_stops_the_run_with_its_exit_code(world, done):
    before = contents(done)
    stopped = gr2("run", recipe(world, done, slates={"candidates": 60}), expect=2)
    recipe(world, done)
    assert "If it misses targets" in stopped.stderr
    assert (
        "stage slates was refused (exit code 2); once you have corrected that, the same command goes on"
        in stopped.stderr
    )
    assert "shuffled" not in stopped.stdout
    assert contents(done) == before  # what was finished is as it was


def test_a_typing_error_in_the_last_stage_shows_before_the_first_runs(world, tmp_path, capsys):
    error = failed(capsys, recipe(world, tmp_path, evaluate={"resample": 300}))
    assert "stage evaluate: evaluate: unknown key 'resample'; did you mean 'resamples'?" in error
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("wrong", [{"seed": -1}, {"seed": "x"}, {"resamples": 0}])
def test_a_wrong_value_in_the_last_stage_shows_before_the_first_runs(world, tmp_path, capsys, wrong):
    assert failed(capsys, recipe(world, tmp_path, evaluate=wrong)).startswith("gr2: evaluate: --")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("changed", "complaint"), [
    ({"evaluate": {"resamples": "ten"}}, "evaluate: --resamples ten: expected a whole number"),
    ({"slates": {"pre_ranker": "populr"}}, "slates: --pre_ranker populr: expected one or more of"),
    ({"shuffled": {"reranker": "slats"}}, "shuffled: --reranker slats: expected a stage of the recipe"),
    ({"evaluate": {"rankings": ["a.parquet"]}}, "evaluate: a.parquet: no such file"),
])  # fmt: skip
def test_a_dry_run_refuses_what_a_run_would(world, tmp_path, capsys, changed, complaint):
    path = recipe(world, tmp_path, **changed)
    for words in ([], ["--dry_run"]):
        assert failed(capsys, path, *words).startswith(f"gr2: {complaint}")
    assert not (tmp_path / "run").exists()


def test_the_plan_says_what_would_run_and_why_and_runs_nothing(world, done):
    before = contents(done)
    path = recipe(world, done, slates={"history": 19})
    lines = run_recipe(path, "--dry_run")
    plan = [line for line in lines if line.startswith("[")]
    assert plan == [
        f"[1/4] prepare: gr2 prepare -> {done}/run/prepare: unchanged",
        f"[2/4] slates: gr2 slates -> {done}/run/slates: options changed: history",
        f"[3/4] shuffled: gr2 rerank -> {done}/run/shuffled: after slates, if that changes",
        f"[4/4] evaluate: gr2 evaluate -> {done}/run/evaluate: after slates, shuffled, if that changes",
    ]
    assert f"    {done}/run/shuffled/rankings.parquet (of shuffled)" in lines
    only = [line for line in run_recipe(path, "--dry_run", "--only", "evaluate") if line[0] == "["]
    assert [line.split(": ")[-1] for line in only] == ["not asked for"] * 3 + ["unchanged"]
    recipe(world, done)
    assert contents(done) == before


def test_only_some_stages_run_and_take_the_others_outputs_as_they_are(world, done, tmp_path, capsys):
    path = recipe(world, done, slates={"history": 19})
    assert ran(path, "--only", "eval*", "shuffled") == {"shuffled": False, "evaluate": False}
    assert ran(path, "--from", "shuffled") == {"shuffled": False, "evaluate": False}
    recipe(world, done)
    path = recipe(world, tmp_path)
    assert f"stage slates reads {tmp_path}/run/prepare/items.parquet, which stage prepare has yet to write" in failed(
        capsys, path, "--from", "slates")  # fmt: skip
    for option in ("--only", "--from", "--until"):
        assert f"{option} sldes: expected one of prepare, slates, shuffled, evaluate" in failed(
            capsys, path, option, "sldes")  # fmt: skip
    assert "--sldes.…: expected the id of a stage, one of prepare" in failed(capsys, path, "--sldes.seed", "1")
    assert "expected a recipe: a name that `gr2 recipes` lists, or a file" in failed(capsys)


def test_set_and_only_may_be_given_several_times():
    words = ["shop", "--set", "items=a.csv", "--set", "events=b.csv", "--only", "sft", "--only", "rl", "evaluate"]
    options = parser().parse_args(words)
    assert (options.set, options.only) == (["items=a.csv", "events=b.csv"], ["sft", "rl", "evaluate"])
    assert parser().parse_args(["shop"]).set == []


@pytest.mark.parametrize(("words", "complaint"), [
    (["--columns", "item_id=sku", "title=name"],
     "--columns: an option of a stage has the stage's id before it: --prepare.columns item_id=sku title=name\n"),
    (["--resamples=300"], "--resamples: an option of a stage has the stage's id before it: --evaluate.resamples 300\n"),
    (["--output_dir", "there"], "--output_dir: expected one of --config, --dry_run, --only, "),
])  # fmt: skip
def test_an_option_that_is_no_recipes_is_answered_with_what_to_write(world, tmp_path, capsys, words, complaint):
    assert failed(capsys, recipe(world, tmp_path), *words).startswith(f"gr2: run: {complaint}")
    assert "did you mean 'dry_run'?" in failed(capsys, recipe(world, tmp_path), "--dryrun")


def test_a_launcher_that_is_not_there_is_refused_before_anything_else(capsys):
    error = failed(capsys, "nosuch.yaml", "--launch", "accelerat launch --num_processes 2")
    assert error.startswith("gr2: --launch accelerat: no such program")
    error = failed(capsys, "nosuch.yaml", "--launch", "accelerate 'launch")
    assert error.startswith("gr2: --launch accelerate 'launch: expected words for a shell")


def test_trainings_are_started_by_what_launch_says(monkeypatch, tmp_path):
    from gr2.runner import pipeline

    commands = []
    for start in ("run_in_a_process", "run_launched"):
        monkeypatch.setattr(pipeline, start, lambda command: commands.append(command) or 0)
    monkeypatch.setattr("gr2.runner.check_plan.check", lambda plan: None)
    inputs = ("items", "semantic_ids", "slates", "traces")
    for name in inputs:
        (tmp_path / name).touch()
    files = {name: f"./{name}" for name in inputs} | {"model_name_or_path": "m"}
    ranked = {"items": "./items", "slates": "./slates", "reranker": "sft"}
    stages = {"sft": files | {"hub_token": "hf_x"}, "rerank": ranked}
    (tmp_path / "recipe.yaml").write_text(
        yaml.safe_dump({"folder": str(tmp_path / "run"), "stages": stages}, sort_keys=False)
    )
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes", "2"]
    recipe, words = str(tmp_path / "recipe.yaml"), ["--launch", shlex.join(launch)]
    main(["run", recipe, *words, "--rerank.slates", "null", "--rerank.reranker", "sft"])
    assert commands == [  # a secret of the recipe is in none of them
        [*launch, "-m", "gr2", "sft", "--recipe", recipe, "--stage", "sft"],
        [sys.executable, "-m", "gr2", "rerank", "--recipe", recipe, "--stage", "rerank",
         "--slates", "null", "--reranker", f"{tmp_path}/run/sft"],
    ]  # fmt: skip

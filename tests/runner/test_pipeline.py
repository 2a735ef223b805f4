import json
import os
import signal
import subprocess
import sys
import time

import pytest
import yaml

from gr2.cli import main
from gr2.errors import InputError
from gr2.runner.pipeline import check, read_pipeline
from tests.helpers import gr2

STAGES = ("prepare", "slates", "shuffled", "evaluate")


def recipe(world, root, **changed):
    """prepare, slates, rerank, evaluate into root/run; `changed` holds more options by stage."""
    run = root / "run"
    items, slates = f"{run}/prepare/items.parquet", f"{run}/slates/slates.parquet"
    options = {
        "prepare": {"items": world.raw_items, "interactions": world.raw_interactions},
        "slates": {"items": items, "interactions": f"{run}/prepare/interactions.parquet",
                   "semantic_ids": world.semantic_ids, "pre_ranker": "popularity", "exclude_seen": False},
        "shuffled": {"items": items, "slates": slates, "reranker": "random"},
        "evaluate": {"slates": slates, "rankings": [f"shuffled={run}/shuffled/rankings.parquet"], "resamples": 200},
    }  # fmt: skip
    entries = []
    for name, values in options.items():
        values |= {"output_dir": f"{run}/{name}"} | changed.get(name, {})
        entries.append({{"shuffled": "rerank"}.get(name, name): values})
    root.mkdir(exist_ok=True)
    (root / "slates.yaml").write_text(yaml.safe_dump(entries[1]["slates"]))
    entries[1] = {"slates": "slates.yaml"}  # one as a file beside the recipe
    (root / "pipeline.yaml").write_text(yaml.safe_dump({"stages": entries}))
    return root / "pipeline.yaml"


def run(path, *words):
    """{stage's folder name: whether it was skipped}"""
    lines = [line for line in gr2("run", "--config", path, *words).stdout.splitlines() if line.startswith("[")]
    return {line.split("run/")[1].split(":")[0]: line.endswith(": unchanged, skipped") for line in lines}


def contents(root):
    """Every output file's bytes; manifests and logs name folders and times."""
    files = (file for file in (root / "run").rglob("*") if file.is_file() and file.name != "manifest.json")
    return {str(file.relative_to(root)): file.read_bytes() for file in files}


@pytest.fixture(scope="module")
def done(world, tmp_path_factory):
    root = tmp_path_factory.mktemp("done")
    assert run(recipe(world, root)) == dict.fromkeys(STAGES, False)
    return root


def test_a_whole_run_leaves_every_stage_finished(done):
    for stage in STAGES:
        assert (done / "run" / stage / "manifest.json").exists() and not (done / "run" / stage / "stage.json").exists()
    metrics = json.loads((done / "run" / "evaluate" / "metrics.json").read_text())
    assert metrics["slates"] == 31 and {"input_order", "shuffled", "random"} <= set(metrics["systems"])
    assert not list(done.rglob("*.partial"))


def test_a_second_run_skips_everything_and_is_quick(done):
    before = contents(done)
    assert run(done / "pipeline.yaml") == dict.fromkeys(STAGES, True)
    assert contents(done) == before


@pytest.fixture(scope="module")
def killed(world, tmp_path_factory):
    """A run of the same recipe into another folder, killed as soon as its second stage has begun."""
    root = tmp_path_factory.mktemp("killed")
    words = [sys.executable, "-m", "gr2", "run", "--config", str(recipe(world, root))]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 120
    while not (root / "run" / "slates").exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.001)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (root / "run" / "shuffled").exists()
    return root


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes_as_another(done, killed):
    skipped = run(killed / "pipeline.yaml")
    assert skipped["prepare"] and not skipped["shuffled"] and not skipped["evaluate"]
    made = {name: content for name, content in contents(killed).items() if not name.endswith(".partial")}
    assert made == contents(done)


def test_a_changed_option_runs_again_what_depends_on_it(world, killed):
    run(killed / "pipeline.yaml")
    path = recipe(world, killed, evaluate={"resamples": 300})
    assert run(path) == {"prepare": True, "slates": True, "shuffled": True, "evaluate": False}
    # a stage that runs again and writes the same bytes as before does not wake those after it
    path = recipe(world, killed, evaluate={"resamples": 300}, prepare={"seed": 9})
    assert run(path) == {"prepare": False, "slates": True, "shuffled": True, "evaluate": True}
    path = recipe(world, killed, prepare={"train_share": 0.3})
    assert run(path, "--until", "slates") == {"prepare": False, "slates": False}


def test_an_interrupted_stage_and_those_after_it_run_again(done):
    before = contents(done)
    manifest = json.loads((done / "run" / "shuffled" / "manifest.json").read_text())
    (done / "run" / "shuffled" / "manifest.json").unlink()
    (done / "run" / "shuffled" / "rankings.parquet").unlink()
    claim = {key: manifest[key] for key in ("stage", "options", "input_paths", "inputs", "code")}
    (done / "run" / "shuffled" / "stage.json").write_text(json.dumps(claim))
    assert run(done / "pipeline.yaml") == {"prepare": True, "slates": True, "shuffled": False, "evaluate": True}
    assert contents(done) == before


def test_a_failing_stage_stops_the_run_with_its_exit_code(world, done):
    before = contents(done)
    stopped = gr2("run", "--config", recipe(world, done, slates={"candidates": 60}), expect=2)
    recipe(world, done)
    assert "targets are missed" in stopped.stderr
    assert "stage slates ended with 2; the same command goes on from here" in stopped.stderr
    assert "rerank" not in stopped.stdout
    assert contents(done) == before  # what was finished is as it was


def test_a_typing_error_in_the_last_stage_shows_before_the_first_runs(world, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["run", "--config", str(recipe(world, tmp_path, evaluate={"resample": 300}))])
    assert stop.value.code == 2
    assert "evaluate: unknown key 'resample'; did you mean 'resamples'?" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_value_out_of_range_in_the_last_stage_shows_before_the_first_runs(world, tmp_path, capsys):
    for wrong in ({"seed": -1}, {"rankings": ["oracle=x.parquet"]}):  # a range, and what a Config checks itself
        with pytest.raises(SystemExit) as stop:
            main(["run", "--config", str(recipe(world, tmp_path, evaluate=wrong))])
        assert stop.value.code == 2
        assert capsys.readouterr().err.startswith("gr2: evaluate: --")
        assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("text", "complaint"), [
    ("stage: []\n", "expected one key, 'stages'"),
    ("stages: {}\n", "expected one key, 'stages'"),
    ("stages: [prepare]\n", "stages entry 1: expected 'STAGE: FILE or mapping', found 'prepare'"),
    ("stages:\n- prepare: {output_dir: a}\n- rank: x.yaml\n", "stages entry 2: expected 'STAGE: FILE or mapping'"),
    ("stages:\n- prepare: {output_dir: a}\n  embed: {output_dir: b}\n", "stages entry 1: expected"),
    ("stages:\n- prepare: {source: files}\n", "stages entry 1: stage prepare: expected one output_dir"),
    ("stages:\n- prepare: absent.yaml\n", r"absent\.yaml: no such file"),
    ("stages:\n- for: [a]\n  stages: []\n", "expected `for: {NAME:"),
    ("stages:\n- for: {a: 1}\n  stages: []\n", "expected `for: {NAME:"),
    ("stages:\n- for: {a: [1]}\n", "expected `for: {NAME:"),
    ("stages:\n- prepare:\n", "stages entry 1: expected 'STAGE: FILE or mapping'"),
    ("stages: []\n", "expected one key, 'stages', with a list"),
    ("stages:\n- prepare: {config: 3, output_dir: a}\n", "stages entry 1: config: expected the name of a file, found 3"),
    ("stages:\n- prepare: {output_dir: [a, b]}\n", "stages entry 1: stage prepare: expected one output_dir"),
    ("stages:\n- prepare: {output_dir: a, seed: 2024-05-01}\n", "the value of 'seed'.*found the date 2024-05-01"),
    ("stages:\n- prepare: {output_dir: a, columns: [[b]]}\n", "'columns': expected a value or a list of values"),
    ("stages: &x\n- for: {a: [1]}\n  stages: *x\n", "none inside of itself"),
    ("stages:\n- prepare: {output_dir: runs/a}\n- embed: {output_dir: runs/./a, items: i}\n", "found output_dir runs/a twice"),
    ("stages:\n- prepare: {output_dir: a, seed: -1}\n", "^prepare: --seed -1: expected a number of at least 0"),
    ("stages:\n- prepare: {output_dir: a, source: synthetic}\n- evaluate: {output_dir: b, rankings: c.parquet}\n", "^evaluate: "),
    ("base: pipeline.yaml\nfolder: runs/x\n", "expected a base that is not, by way of its own base, this recipe itself"),
    ("base: .\nfolder: runs/x\n", "expected a YAML file, but Is a directory"),
    ("stages:\n- prepare: {output_dir: a, seed: x}\n", "prepare: --seed x: expected a whole number"),
])  # fmt: skip
def test_a_recipe_that_makes_no_sense_is_refused(tmp_path, text, complaint):
    (tmp_path / "pipeline.yaml").write_text(text)
    with pytest.raises(InputError, match=complaint):
        check(read_pipeline(tmp_path / "pipeline.yaml"))


def test_a_for_entry_stands_for_its_stages_once_for_every_combination(tmp_path):
    (tmp_path / "rl.yaml").write_text("learning_rate: 1.0e-4\nseed: 9\n")
    inner = {"for": {"seed": [0, 1]}, "stages": [
        {"rl": {"config": "rl.yaml", "seed": "{seed}", "output_dir": "runs/{reward}-{seed}", "reward": "{reward}"}}]}  # fmt: skip
    entries = [{"for": {"reward": ["a", "b"]}, "stages": [inner]}]
    (tmp_path / "pipeline.yaml").write_text(yaml.safe_dump({"stages": entries}))
    plan = read_pipeline(tmp_path / "pipeline.yaml")
    assert [options["output_dir"] for _, _, options in plan] == [
        ["runs/a-0"], ["runs/a-1"], ["runs/b-0"], ["runs/b-1"]]  # fmt: skip
    for stage, words, options in plan:
        assert stage == "rl" and words[:2] == ["--config", str(tmp_path / "rl.yaml")]
        assert options["learning_rate"] == ["0.0001"] and options["seed"] == [options["output_dir"][0][-1]]


def test_until_must_name_a_folder_of_the_recipe(done, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["run", "--config", str(done / "pipeline.yaml"), "--until", "sldes"])
    assert stop.value.code == 2
    assert "--until sldes: expected one of prepare, slates, shuffled, evaluate" in capsys.readouterr().err


def test_a_recipe_can_be_another_one_with_changes(world, done, tmp_path):
    mine = tmp_path / "mine.yaml"
    values = {"base": str(done / "pipeline.yaml"), "folder": f"{tmp_path}/run", "shuffled": {"seed": 7, "items": None}}
    mine.write_text(yaml.safe_dump(values))
    base, changed = read_pipeline(done / "pipeline.yaml"), read_pipeline(mine)
    assert [stage for stage, _, _ in base] == [stage for stage, _, _ in changed]
    for number, ((_, _, before), (_, words, after)) in enumerate(zip(base, changed, strict=True)):
        expected = {
            key: [word.replace(f"{done}/run", f"{tmp_path}/run") for word in value] for key, value in before.items()
        }
        if STAGES[number] == "shuffled":
            expected |= {"seed": ["7"]}
            del expected["items"]
        assert after == expected
        assert words == [word for key, value in expected.items() for word in (f"--{key}", *value)]


@pytest.mark.parametrize(("values", "complaint"), [
    ({"folder": 3}, "expected `base: FILE`, another recipe, and `folder: FOLDER`"),
    ({"slate": {"seed": 1}}, "'slate': expected the options of one of the base's folders, prepare, slates, shuffled, evaluate"),
    ({"slates": "x.yaml"}, "'slates': expected the options"),
    ({"base": "nothing.yaml"}, "no such file"),
    ({"base": "empty.yaml"}, r"empty\.yaml: expected one key, 'stages', with a list"),
    ({"base": "keys.yaml"}, r"keys\.yaml: expected one key, 'stages', with a list"),
    ({"base": "flat.yaml"}, "expected a base that writes to one folder"),
    ({"base": "mixed.yaml"}, "expected a base that writes to one folder"),
    ({"base": "back.yaml"}, "expected a base that is not, by way of its own base, this recipe itself"),
    ({"base": "same.yaml", "out": {"seed": 1}}, "'out': expected the options of one of the base's folders, out, out"),
    ({"slates": {"output_dir": None}}, "'slates': expected one output_dir"),
    ({"slates": {"output_dir": "runs/mine/prepare"}}, "found output_dir runs/mine/prepare twice"),
    ({"slates": {"seed": [[1]]}}, "'seed': expected a value or a list of values"),
])  # fmt: skip
def test_changes_that_fit_no_base_are_refused(done, tmp_path, values, complaint):
    prepared = {name: [{"prepare": {"output_dir": folder}} for folder in folders] for name, folders in {
        "empty": [], "flat": ["prepare"], "mixed": ["runs/a", "/runs/b"], "same": ["runs/a/out", "runs/b/out"],
    }.items()}  # fmt: skip
    for name, stages in prepared.items():
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump({"stages": stages}))
    (tmp_path / "keys.yaml").write_text("a: 1\n")
    (tmp_path / "back.yaml").write_text(yaml.safe_dump({"base": "mine.yaml", "folder": "runs/back"}))
    mine = tmp_path / "mine.yaml"
    mine.write_text(yaml.safe_dump({"base": str(done / "pipeline.yaml"), "folder": "runs/mine"} | values))
    with pytest.raises(InputError, match=complaint):
        read_pipeline(mine)

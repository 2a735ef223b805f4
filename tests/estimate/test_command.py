import json
import subprocess
import sys

import pytest

from gr2.cli import main
from gr2.estimate.data import Assumptions, Data
from gr2.runner.plan import read_plan
from gr2.runner.recipe import shipped_recipes
from tests.helpers import gr2

WITHOUT = ("beauty_ids", "daily", "impressions", "lists", "lists_beauty", "lists_ml100k", "lists_short", "lists_shown")


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    """Where no stage has run."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("recipe", shipped_recipes())
def test_every_recipe_has_an_estimate(recipe, capsys):
    main(["estimate", recipe, "--gpus", "8", "--gpu", "h100"])
    text = capsys.readouterr().out
    if recipe in WITHOUT:
        assert text == f"{recipe}: no stage trains or asks a language model\n"
    else:
        assert "midtrain" in text and "hours one after the other" in text and "assumed: 10,000 slates" in text


def test_help_says_what_to_write():
    text = gr2("estimate", "--help").stdout
    assert "gr2 estimate smollm2-135m --gpus 8 --gpu h100 --spread fsdp2" in text and "rtx4090" in text


def test_no_torch_is_loaded():
    code = "import sys; from gr2.cli import main; main(['estimate', 'demo']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL).returncode == 0


def rows(tmp_path, *words: str) -> dict[str, dict]:
    main(["estimate", *words, "--json", str(tmp_path / "cost.json")])
    return {row["stage"]: row for row in json.loads((tmp_path / "cost.json").read_text())["stages"]}


def test_a_larger_model_a_spread_and_an_option_change_the_figures(tmp_path):
    larger = ["--midtrain_rows.model_name_or_path", "Qwen/Qwen3-1.7B", "--gpu", "h100"]
    small, alone = rows(tmp_path, "smollm2-135m"), rows(tmp_path, "smollm2-135m", *larger)
    assert small["sft"]["parameters"] == pytest.approx(135e6, rel=0.01)
    assert alone["sft"]["parameters"] == pytest.approx(1.72e9, rel=0.01)
    assert alone["sft"]["bytes"]["peak"] > 5 * small["sft"]["bytes"]["peak"]
    shared = rows(tmp_path, "smollm2-135m", *larger, "--gpus", "8", "--spread", "fsdp2")
    assert shared["sft"]["bytes"]["optimizer"] == alone["sft"]["bytes"]["optimizer"] / 8
    assert shared["sft"]["seconds"] == pytest.approx(alone["sft"]["seconds"] / 8, rel=0.02)  # whole steps
    lora = rows(tmp_path, "smollm2-135m", *larger, "--sft.trainable", "lora")
    assert lora["sft"]["bytes"]["optimizer"] < 0.05 * alone["sft"]["bytes"]["optimizer"]
    longer = rows(tmp_path, "smollm2-135m", *larger, "--slates", "20000")
    assert longer["sft"]["tokens"] == pytest.approx(2 * alone["sft"]["tokens"], rel=0.01)
    assert longer["rl: training"]["tokens"] == alone["rl: training"]["tokens"]  # max_steps


def test_what_an_option_leaves_out_or_repeats_is_counted(tmp_path):
    """--max_slates, answers that are learned from several times, and packed blocks."""
    base = ["smollm2-135m", "--gpu", "h200", "--rl.max_steps", "null", "--rl.eval_slates", "0"]
    whole, fewer, again = (
        rows(tmp_path, *base, *more) for more in ([], ["--rl.max_slates", "1000"], ["--rl.num_iterations", "4"])
    )
    for part in ("rollouts", "training"):
        assert fewer[f"rl: {part}"]["seconds"] == pytest.approx(whole[f"rl: {part}"]["seconds"] / 10, rel=0.01)
    assert again["rl: training"]["seconds"] == pytest.approx(4 * whole["rl: training"]["seconds"], rel=0.01)
    assert again["rl: rollouts"]["seconds"] == pytest.approx(whole["rl: rollouts"]["seconds"], rel=0.01)
    steps = [rows(tmp_path, *base[:3], "--rl.eval_slates", "0", "--rl.num_iterations", times) for times in ("1", "4")]
    assert steps[1]["rl: rollouts"]["seconds"] == pytest.approx(steps[0]["rl: rollouts"]["seconds"] / 4, rel=0.01)
    assert steps[1]["rl: training"]["seconds"] == steps[0]["rl: training"]["seconds"]
    packed = rows(tmp_path, *base, "--sft.packing", "true", "--sft.max_length", "4096")
    assert packed["sft"]["bytes"]["activations"] > 2 * whole["sft"]["bytes"]["activations"]
    assert packed["sft"]["tokens"] == pytest.approx(whole["sft"]["tokens"], rel=0.05)


def test_what_does_not_fit_is_named(capsys):
    main(["estimate", "smollm2-135m", "--gpu", "l4", "--midtrain_rows.model_name_or_path", "Qwen/Qwen3-8B"])
    text = capsys.readouterr().out
    assert "does not fit: midtrain takes" in text and "of 24 GiB" in text


def test_files_that_are_there_are_counted(world, tmp_path):
    import polars as pl
    import yaml

    recipe = tmp_path / "recipe.yaml"
    files = {"items": world.items, "semantic_ids": world.semantic_ids}
    midtrain = files | {"interactions": world.interactions, "window": 40, "passes": 8, "mixture": ["sequential=1"]}
    template = files | {"slates": world.slates, "prompt": "rejection"}
    sft = files | {"slates": world.slates, "traces": ["template"], "model_name_or_path": "midtrain"}
    stages = {"midtrain": midtrain, "template": template, "sft": sft}
    recipe.write_text(yaml.safe_dump({"folder": "runs", "stages": stages}, sort_keys=False))
    found = rows(tmp_path, str(recipe))
    events = pl.read_parquet(world.interactions).filter(pl.col("split") == "pretrain")
    users = events.group_by("user_id").len().filter(pl.col("len") > 1)["len"]
    tokens = 8 * (5 * users.sum() + 3 * len(users))  # three levels
    assert found["midtrain"]["tokens"] == pytest.approx(tokens, abs=8 * 256)
    slates = (pl.read_parquet(world.slates)["split"] == "train").sum()
    data = Data(read_plan(recipe), Assumptions())
    texts = data.texts(data.plan[-1])
    assert (texts.levels, texts.candidates) == (3, 10.0) and not [note for note in data.notes if "assumed" in note]
    length = texts.prompt("student") + texts.answer("student")
    assert found["sft"]["tokens"] == pytest.approx(-(-3 * slates // 8) * 8 * length)  # whole batches


@pytest.mark.parametrize(
    "words, complaint",
    [
        (["nothing"], "recipe nothing: expected a path ending in .yaml, or one of"),
        (["demo", "--gpu", "h101"], "--gpu h101: expected one of b200, h200"),
        (["demo", "--gpus", "0"], "--gpus, --utilisation: expected 1 or more"),
        (["demo", "--gpus", "2", "--spread", "one"], "--spread one: expected one with --gpus 1"),
        (
            ["smollm2-135m", "--midtrain_rows.model_name_or_path", "org/Unknown-7B"],
            "stage midtrain_rows: org/Unknown-7B: its shape is not known here: expected a folder with a config.json",
        ),
    ],
)
def test_what_is_refused(words, complaint, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["estimate", *words])
    assert stop.value.code == 2 and complaint in capsys.readouterr().err


def test_a_model_of_another_architecture_is_refused(tmp_path, capsys):
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.json").write_text(json.dumps({"model_type": "mamba"}))
    with pytest.raises(SystemExit):
        main(["estimate", "smollm2-135m", "--midtrain_rows.model_name_or_path", str(tmp_path / "model")])
    assert "model_type mamba: expected one of qwen3, qwen2, llama, mistral" in capsys.readouterr().err

"""A run's config.json counts where the plan would make that model again."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from gr2.estimate.data import Assumptions, Data
from gr2.estimate.models import find_model, model_of
from gr2.estimate.shapes import PUBLISHED, read_shape
from gr2.runner.plan import read_plan

SIZES = {"hidden_size": 16, "layers": 1, "heads": 2}  # as `beginner` was made


@pytest.fixture
def run(world, beginner, tmp_path) -> Path:
    """A recipe, and the folder of its midtrain stage as a run leaves it."""
    files = {"items": world.items, "interactions": world.interactions, "semantic_ids": world.semantic_ids}
    made = json.loads((beginner / "manifest.json").read_text())
    given = {name: words for name, words in made["options"].items() if name not in (*files, "output_dir")}
    sft = {"items": world.items, "slates": world.slates, "traces": ["x"], "semantic_ids": world.semantic_ids}
    stages = {"midtrain": files | given, "sft": sft | {"model_name_or_path": "midtrain"}}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump({"folder": str(tmp_path / "run"), "stages": stages}))
    shutil.copytree(beginner, tmp_path / "run/midtrain")
    return tmp_path


def data_of(run: Path, **changed: list[str]) -> Data:
    return Data(read_plan(run / "recipe.yaml", {"midtrain": changed}), Assumptions())


def shape_after(run: Path, **changed: list[str]):
    """Of sft's model, under a plan whose midtrain has these options."""
    data = data_of(run, **changed)
    return find_model(data, data.stage("sft"))


def test_a_model_that_the_plan_would_make_again_is_read(run):
    written = read_shape(run / "run/midtrain/config.json")
    assert shape_after(run) == written
    assert shape_after(run, per_device_train_batch_size=["64"]) == written, "no shape depends on it"


def test_a_model_that_the_plan_would_make_otherwise_is_not(run):
    wider = shape_after(run, hidden_size=["64"])
    assert (wider.hidden, wider.layers) == (64, 1)
    other = shape_after(run, model_name_or_path=["Qwen/Qwen3-8B"])
    assert other.hidden == 4096 and other.layers == PUBLISHED["qwen/qwen3-8b"].layers


def test_a_model_made_of_another_one_is_not_read(run):
    """sft's folder is finished under the same options; the model that it began with would be another."""
    (run / "run/sft").mkdir()
    shutil.copy(run / "run/midtrain/config.json", run / "run/sft/config.json")
    same = data_of(run)
    made = {"stage": "sft", "options": same.stage("sft").options, "outputs": {}}
    (run / "run/sft/manifest.json").write_text(json.dumps(made))
    assert model_of(same, same.stage("sft")) == read_shape(run / "run/sft/config.json")
    changed = data_of(run, hidden_size=["64"])
    assert model_of(changed, changed.stage("sft")).hidden == 64


def test_a_folder_without_a_record_is_not_read(run):
    (run / "run/midtrain/manifest.json").unlink()
    config = json.loads((run / "run/midtrain/config.json").read_text())
    (run / "run/midtrain/config.json").write_text(json.dumps(config | {"hidden_size": 32}))
    assert shape_after(run).hidden == SIZES["hidden_size"]

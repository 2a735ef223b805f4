"""Every recipe that comes with gr2 can be run, and its reports hold what the README says of every report."""

import pytest

from gr2.files.shipped import shipped
from gr2.prompts.prompt import load_prompt
from gr2.runner.check_plan import check
from gr2.runner.plan import read_plan
from gr2.runner.recipe import shipped_recipes

NAMES = list(shipped_recipes())
RECIPES = shipped("recipes")


@pytest.fixture(params=NAMES)
def plan(request, monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    return read_plan(shipped_recipes()[request.param])


def test_options_are_right_and_every_input_is_made_before_it_is_read(plan):
    check(plan)
    made = []
    for stage in plan:
        for name, words in stage.options.items():
            for path in (word.rpartition("=")[2] for word in words if name != "output_dir"):
                if path.startswith("runs/"):
                    assert stage.sources[path] in made, f"{stage.id}: --{name} {path}"
        if "prompt" in stage.options:
            load_prompt(*stage.options["prompt"])
        made.append(stage.id)


def test_every_report_has_the_baselines_the_missed_slates_and_the_order_in_time(plan):
    for stage in plan:
        if stage.command == "evaluate":
            systems = {entry.split("=")[0] for entry in stage.options["rankings"]}
            assert {"popularity", "blend"} <= systems
            assert {"slates_report", "interactions"} <= stage.options.keys()


def test_every_system_of_a_report_is_also_asked_with_its_candidates_in_other_orders(plan):
    stages = {stage.id: stage for stage in plan}
    for stage in plan:
        if stage.command == "evaluate":
            for entry in stage.options["rankings"]:
                ranked = stages[stage.sources[entry.split("=")[1]]]
                assert ranked.options["shuffles"] == ["8"], ranked.id


def test_every_list_that_a_recipe_judges_is_made_by_it(plan):
    for stage in plan:
        judged = {"evaluate": "rankings", "evaluate-retrieval": "top_k"}.get(stage.command)
        for entry in stage.options[judged] if judged else []:
            assert entry.split("=")[1] in stage.sources


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_says_what_it_shows_how_it_is_run_what_it_costs_and_needs(name):
    first, *rest = shipped_recipes()[name].read_text().splitlines()
    assert first.startswith("# ") and 20 < len(first) <= 120
    comment = "\n".join(line for line in rest[:6] if line.startswith("#"))
    assert f"#   gr2 run {name}" in comment and "# Cost: " in comment and "Needs " in comment


def test_recipes_are_few_and_name_their_inputs_by_id():
    files = [file for file in RECIPES.rglob("*") if file.is_file()]
    assert len(files) <= 26
    assert {file.stem for file in (RECIPES / "accelerate").iterdir()} == {"ddp", "zero2", "zero3", "fsdp2"}
    lines = [line for file in shipped_recipes().values() for line in file.read_text().splitlines()]
    assert sum("/" in line for line in lines) < 0.05 * len(lines)
    assert all(len(line) <= 120 or '"recommendations"' in line for line in lines)  # but for a BPE's text

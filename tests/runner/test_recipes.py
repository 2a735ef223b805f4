"""Every recipe that comes with gr2 can be run, and its reports hold what the README says of every report."""

import pytest

from gr2.options.words import read_words
from gr2.prompts.prompt import load_prompt
from gr2.runner.pipeline import check
from gr2.runner.plan import read_plan
from gr2.runner.recipe import shipped_recipes

NAMES = list(shipped_recipes())


@pytest.fixture(params=NAMES)
def plan(request, monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    return read_plan(shipped_recipes()[request.param])


def test_options_are_right_and_every_input_is_made_before_it_is_read(plan):
    check(plan)
    made = []
    for stage in plan:
        for name, words in read_words(stage.words[len(stage.command.split()) :]).items():
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


def test_every_list_that_a_recipe_judges_is_made_by_it(plan):
    for stage in plan:
        for entry in (
            stage.options.get("rankings", []) if stage.command == "evaluate" else stage.options.get("top_k", [])
        ):
            assert entry.split("=")[1] in stage.sources


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_says_what_it_shows_how_it_is_run_and_names_its_inputs_by_id(name):
    lines = shipped_recipes()[name].read_text().splitlines()
    assert lines[0].startswith("# ") and len(lines[0]) > 20
    assert any(line.startswith("#") and f"gr2 run {name}" in line for line in lines)
    code = [line.split(" #")[0] for line in lines if not line.startswith("#")]
    assert sum("/" in line for line in code) <= max(2, len(code) // 10)

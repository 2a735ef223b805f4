"""What README says of every report is true of the recipes."""

from pathlib import Path

import pytest
import yaml

from gr2.runner.pipeline import check, read_pipeline

RECIPES = Path(__file__).parents[2] / "recipes"
FILES = sorted(file for file in RECIPES.glob("*/evaluate*.yaml") if "rankings" in yaml.safe_load(file.read_text()))


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_every_report_has_the_baselines_the_missed_slates_and_the_order_in_time(file):
    options = yaml.safe_load(file.read_text())
    names = [entry.split("=")[0] for entry in options["rankings"]]
    assert {"popularity", "blend"} <= set(names)
    assert {"slates_report", "interactions"} <= options.keys()


@pytest.mark.parametrize("recipe", sorted({file.parent.name for file in FILES}))
def test_every_ranking_that_a_recipe_judges_is_made_by_it(recipe):
    plan = read_pipeline(RECIPES / recipe / "pipeline.yaml")
    check(plan)
    made = {f"{options['output_dir'][0]}/rankings.parquet" for stage, _, options in plan if stage == "rerank"}
    judged = {entry.split("=")[1] for stage, _, options in plan if stage == "evaluate" for entry in options["rankings"]}
    assert judged <= made

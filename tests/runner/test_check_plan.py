"""What is refused before a recipe's first stage."""

import pytest
import yaml

from gr2.errors import InputError
from gr2.runner.check_plan import check_facts
from gr2.runner.plan import read_plan

STAGES = {
    "prepare": {"source": "synthetic"},
    "embed": {},
    "sids": {},
    "slates": {"pre_ranker": "popularity"},
    "facts": {},
    "sft": {"model_name_or_path": "m"},
    "rerank": {"reranker": "random"},
}


def planned(folder, **changed):
    stages = {name: options for name, options in (STAGES | changed).items() if options is not None}
    recipe = {"folder": "run", "defaults": {"prompt": "student_more_facts"}, "stages": stages}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
    plan = read_plan(folder / "recipe.yaml")
    return plan, [stage.id for stage in plan]


def test_a_training_on_facts_without_the_stage_that_adds_them_is_refused(tmp_path):
    check_facts(*planned(tmp_path))
    with pytest.raises(InputError) as refusal:
        check_facts(*planned(tmp_path, facts=None))
    shows = "it shows facts of the candidates, and slates.parquet has none; `gr2 facts` adds them"
    assert str(refusal.value) == f"sft: --prompt student_more_facts: {shows}"


@pytest.mark.parametrize("sft", [
    None,  # a small reranker has the default, too, and reads no prompt
    {"model_name_or_path": "m", "prompt": "student"},
    {"model_name_or_path": "m", "slates": "mine.parquet"},
])  # fmt: skip
def test_slates_without_facts_pass_where_no_training_shows_them(tmp_path, sft):
    check_facts(*planned(tmp_path, facts=None, sft=sft))

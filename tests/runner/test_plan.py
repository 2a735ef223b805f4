from pathlib import Path

import pytest
import yaml

from gr2.errors import InputError
from gr2.runner.plan import command_of, read_plan, stage_options


def planned(folder, stages, **recipe):
    """{id: stage} of a recipe that writes to `run`."""
    text = yaml.safe_dump({"folder": "run", "stages": stages} | recipe, sort_keys=False)
    (folder / "recipe.yaml").write_text(text)
    return {stage.id: stage for stage in read_plan(folder / "recipe.yaml")}


def options(stage):
    return {name: words[0] if len(words) == 1 else words for name, words in stage.options.items()}


DATA = {"prepare": {"source": "synthetic"}, "embed": {}, "sids": {"levels": 2}}


@pytest.mark.parametrize(("stage_id", "command"), [
    ("prepare", "prepare"),
    ("sids_ablate", "sids-ablate"),
    ("sids_gr2", "sids"),
    ("rerank_prm-features_0", "rerank"),
    ("fit_prm", "fit prm"),
    ("fit_prm_features", "fit prm"),
    ("evaluate_retrieval", "evaluate-retrieval"),
    ("evaluate_actions", "evaluate"),
])  # fmt: skip
def test_the_longest_command_that_an_id_begins_with_is_meant(stage_id, command):
    assert command_of(stage_id, None) == command
    assert command_of(stage_id, "fit blend") == "fit blend"


def test_an_input_that_is_not_named_is_the_latest_earlier_file_of_its_name(tmp_path):
    random = {"stage": "rerank", "reranker": "random"}
    own = {"slates": {"pre_ranker": "popularity"}, "early": random, "facts": {}, "late": random}
    plan = planned(tmp_path, DATA | own)
    assert options(plan["sids"]) == {"output_dir": "run/sids", "levels": "2", "items": "run/prepare/items.parquet",
                                     "embeddings": "run/embed/embeddings.safetensors",
                                     "interactions": "run/prepare/interactions.parquet"}  # fmt: skip
    assert options(plan["early"])["slates"] == "run/slates/slates.parquet"
    assert options(plan["late"])["slates"] == "run/facts/slates.parquet"
    assert plan["late"].sources["run/facts/slates.parquet"] == "facts"
    assert plan["embed"].command == "embed"
    assert plan["embed"].options == {"output_dir": ["run/embed"], "items": ["run/prepare/items.parquet"]}


def test_a_path_that_is_named_wins_and_null_takes_an_option_away(tmp_path):
    plan = planned(
        tmp_path, DATA | {"slates": {"pre_ranker": "popularity", "items": "mine.parquet", "semantic_ids": None}}
    )
    assert options(plan["slates"])["items"] == "mine.parquet" and "semantic_ids" not in plan["slates"].options
    assert plan["slates"].sources == {"run/prepare/interactions.parquet": "prepare"}
    plan = planned(tmp_path, {"embed": {"items": "./items.parquet"}})
    assert options(plan["embed"])["items"] == str(tmp_path / "items.parquet")


def test_a_stages_id_stands_for_its_folder_or_its_file(tmp_path):
    slates = {"slates": {"pre_ranker": "popularity"}}
    lesson = {"stage": "midtrain", "model_name_or_path": "midtrain"}
    traces = {"traces_a": {"prompt": "rejection"}, "traces_b": {"prompt": "rejection", "skip_accepted": ["traces_a"]}}
    sft = {"model_name_or_path": "lesson", "traces": ["traces_b", "other/traces.jsonl", "traces_*"]}
    plan = planned(tmp_path, DATA | slates | {"midtrain": {}, "lesson": lesson} | traces | {"sft": sft})
    a, b = "run/traces_a/traces.jsonl", "run/traces_b/traces.jsonl"
    assert options(plan["lesson"])["model_name_or_path"] == "run/midtrain"
    assert "model_name_or_path" not in plan["midtrain"].options and "skip_accepted" not in plan["traces_a"].options
    assert options(plan["traces_b"])["skip_accepted"] == a
    assert options(plan["sft"])["traces"] == [b, "other/traces.jsonl", a, b]
    assert options(plan["sft"])["prompt" if "prompt" in plan["sft"].options else "model_name_or_path"] == "run/lesson"


def test_for_repeats_a_stage_and_seeds_are_one_system(tmp_path):
    repeated = {
        "rerank_{name}_{seed}": {
            "for": {"seed": [0, 1], "name": ["random", "rarest"]},
            "reranker": "{name}",
            "seed": "{seed}",
        },
        "best": {"stage": "rerank", "reranker": "oracle"},
        "evaluate": {"rankings": ["rerank_*", "best", "mine=rerank_random_0", "theirs=x.parquet"]},
        "evaluate_rarest": {"rankings": ["rerank_rarest_?"]},
    }
    plan = planned(tmp_path, DATA | {"slates": {"pre_ranker": "popularity"}} | repeated)
    assert list(plan)[4:8] == ["rerank_random_0", "rerank_rarest_0", "rerank_random_1", "rerank_rarest_1"]
    assert options(plan["rerank_rarest_1"])["reranker"] == "rarest" and options(plan["rerank_rarest_1"])["seed"] == "1"
    file = "run/rerank_{}/rankings.parquet".format
    assert plan["evaluate"].options["rankings"] == [
        "random=" + file("random_0"), "rarest=" + file("rarest_0"), "random=" + file("random_1"),
        "rarest=" + file("rarest_1"), "best=run/best/rankings.parquet", "mine=" + file("random_0"),
        "theirs=x.parquet"]  # fmt: skip
    assert plan["evaluate_rarest"].options["rankings"] == ["rarest=" + file("rarest_0"), "rarest=" + file("rarest_1")]
    assert plan["evaluate"].sources[file("random_0")] == "rerank_random_0"


def test_defaults_and_training_go_to_the_stages_that_have_them(tmp_path):
    stages = DATA | {
        "slates": {"pre_ranker": "popularity", "seed": 3},
        "midtrain": {"logging_steps": 5, "save_steps": None},
    }
    plan = planned(
        tmp_path, stages, defaults={"seed": 7, "history": 9}, training={"logging_steps": 20, "save_steps": 10}
    )
    assert options(plan["prepare"])["seed"] == "7" and options(plan["slates"])["seed"] == "3"
    assert options(plan["slates"])["history"] == "9" and "seed" not in plan["embed"].options
    assert options(plan["midtrain"])["logging_steps"] == "5" and "save_steps" not in plan["midtrain"].options
    assert "logging_steps" not in plan["slates"].options


@pytest.mark.parametrize(("stages", "complaint"), [
    ({"rank": {}}, "stage rank: expected `stage: COMMAND` among its options, since its id is no command"),
    ({"a": {"stage": "rank"}}, "stage a: stage: expected one of prepare, embed, .*found 'rank'"),
    ({"a": {"stage": ["embed"]}}, r"stage a: stage: expected one of prepare, embed, .*found \['embed'\]"),
    ({"embed": {}}, "stage embed: --items: expected an earlier stage that writes items.parquet, or the path of a file"),
    ({"prepare": {"sourc": "files"}}, "stage prepare: prepare: unknown key 'sourc'; did you mean 'source'"),
    ({"prepare": {"output_dir": "a"}}, "stage prepare: output_dir: expected none"),
    ({"prepare": {"columns": [["b"]]}}, "stage prepare: 'columns': expected a value or a list of values"),
    ({"prepare": {"for": [1]}}, "for: expected a mapping of NAME"),
    ({"prepare": {"for": {"a": 1}}}, "for: expected a mapping of NAME"),
    ({"prepare": {"for": {"a": [1, 2]}}}, "stage prepare: expected an id of its own"),
    ({"prepare_{b}": {"for": {"a": [1]}}}, "expected an id of its own, of letters"),
    ({"../prepare": {}}, r"stage \.\./prepare: expected an id of its own, of letters"),
    (DATA | {"midtrain": {"model_name_or_path": "rl"}, "rl": {}}, "--model_name_or_path rl: expected an earlier stage"),
    (DATA | {"slates": {}, "sft": {"traces": ["slates"]}}, "--traces slates: expected a stage that writes traces"),
    (DATA | {"slates": {}, "evaluate": {"rankings": ["rerank_*"]}}, r"--rankings rerank_\*: expected earlier stages"),
])  # fmt: skip
def test_a_recipe_that_makes_no_sense_is_refused(tmp_path, stages, complaint):
    with pytest.raises(InputError, match=rf"recipe\.yaml: .*{complaint}"):
        planned(tmp_path, stages)


def test_a_default_that_no_stage_has_is_refused(tmp_path):
    with pytest.raises(InputError, match="defaults: lora_rank: expected an option that a stage has"):
        planned(tmp_path, DATA, defaults={"lora_rank": 4})


def test_a_stage_of_a_recipe_on_a_command_line(tmp_path):
    planned(tmp_path, DATA, defaults={"seed": 7})
    name = str(tmp_path / "recipe.yaml")
    prepare = {"output_dir": ["run/prepare"], "source": ["synthetic"]}
    chosen = stage_options("prepare", ["--recipe", name, "--stage=prepare", "--seed", "1", "--split", "time"])
    assert chosen == prepare | {"seed": ["1"], "split": ["time"]}
    assert stage_options("prepare", ["--recipe", name, "--stage", "prepare", "--seed", "null"]) == prepare
    assert stage_options("prepare", ["--split", "time", "--seed", "1"]) == {"split": ["time"], "seed": ["1"]}
    for words in (["--recipe", name], ["--stage", "a", "--recipe", name], ["--recipe", name, "--stage", "embed"],
                  ["--recipe", name, "--stage", "prepare", "--config", "x"]):  # fmt: skip
        with pytest.raises(InputError, match="expected a stage of the command prepare, one of prepare"):
            stage_options("prepare", words)


@pytest.mark.parametrize(("gone", "complaint"), [
    ({"midtrain": None}, "stage slates: --model_name_or_path midtrain: expected another value: the recipe leaves this"),
    ({"traces_targeted": None}, "stage template: --skip_accepted traces_targeted: expected another value"),
    ({"rerank_{model}": None, "evaluate": {"rankings": ["rerank_sft"]}}, "stage evaluate: --rankings rerank_sft: exp"),
])  # fmt: skip
def test_a_stage_that_needs_one_which_the_recipe_leaves_out_is_named(tmp_path, gone, complaint):
    with pytest.raises(InputError, match=complaint):
        planned(tmp_path, gone, base="demo")


def test_a_recipe_can_leave_stages_out_that_nothing_else_needs(tmp_path):
    gone = dict.fromkeys(["traces_targeted", "sft_trace", "rerank_sft_trace"])
    changes = {"template": {"skip_accepted": None}, "evaluate": {"traces": ["template"]}}
    plan = planned(tmp_path, gone | changes, base="demo")
    assert not gone.keys() & plan.keys() and "rerank_sft" in plan
    assert "sft_trace" not in " ".join(plan["evaluate"].options["rankings"])


def test_a_left_out_template_does_not_hide_a_stage_whose_id_fits_it(tmp_path):
    changes = {"rerank_{model}": None, "rerank_new": {"reranker": "popularity"}, "evaluate": None}
    last = {"stage": "evaluate", "rankings": ["rerank_n*"]}
    plan = planned(tmp_path, changes | {"last": last}, base="demo")
    assert [Path(file).parent.name for file in plan["last"].options["rankings"]] == ["rerank_new"]

"""Reading a recipe's file: its form, and a base with changes over it."""

import pytest
import yaml

from gr2.cli import main
from gr2.errors import InputError
from gr2.runner.plan import stage_options
from gr2.runner.recipe import fill_variables, find_recipe, read_recipe, shipped_recipes

BASE = {
    "folder": "runs/base",
    "defaults": {"prompt": "student", "seed": 1},
    "training": {"save_steps": 5},
    "stages": {"prepare": {"source": "files", "items": "./items.csv"}, "sids": {"levels": 2, "codes": 8}, "embed": {}},
}


def written(folder, name, values):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(values if isinstance(values, str) else yaml.safe_dump(values, sort_keys=False))
    return folder / name


def test_a_recipe_can_be_another_one_with_changes(tmp_path):
    base = written(tmp_path / "bases", "base.yaml", BASE)
    changes = {
        "base": "bases/base.yaml",
        "folder": "runs/mine",
        "defaults": {"seed": None, "history": 9},
        "stages": {"sids": {"codes": 16, "levels": None}, "embed": None, "slates": {"history": 3}},
    }
    recipe = read_recipe(written(tmp_path, "mine.yaml", changes))
    assert {name: value for name, value in recipe.items() if name != "base"} == {
        "folder": "runs/mine",
        "defaults": {"prompt": "student", "history": 9},
        "training": {"save_steps": 5},
        "variables": {},
        "stages": {"prepare": {"source": "files", "items": f"{tmp_path}/bases/items.csv"},
                   "sids": {"levels": None, "codes": 16}, "slates": {"history": 3}},
        "left_out": ["embed"],
    }  # fmt: skip
    assert list(recipe["stages"]) == ["prepare", "sids", "slates"]
    assert read_recipe(written(tmp_path, "same.yaml", {"base": str(base)}))["folder"] == "runs/base"


@pytest.mark.parametrize(("values", "complaint"), [
    ({"stages": [{"prepare": "prepare.yaml"}]}, "stages: expected a mapping of ID: {option: value, ...}, as"),
    ({"folder": "a", "stages": {"prepare": "prepare.yaml"}}, "stages: expected a mapping of ID"),
    ({"folder": "a", "stages": {"prepare": {"config": "prepare.yaml"}}}, "stages: expected a mapping of ID"),
    ({"stages": {"prepare": {}}}, "expected `folder:`, the folder to write to, and `stages:`"),
    ({"folder": "a", "stages": {}}, "expected `folder:`, the folder to write to, and `stages:`"),
    ({"folder": "a", "stage": {}}, "'stage': expected one of the keys base, folder, variables, defaults, training"),
    ({"folder": 3, "stages": {"prepare": {}}}, "folder: expected a text, found 3"),
    ({"folder": "a", "defaults": [1], "stages": {"prepare": {}}}, r"defaults: expected a mapping, found \[1\]"),
    ({"folder": "a", "stages": {"prepare": [1]}},
     r"stage prepare: expected a mapping of options, \{\} for none, found"),
    ({"folder": "a", "stages": {"prepare": None}}, "stage prepare: expected a mapping of options"),
    ({"base": "demo", "stages": {"trces": None}}, "stage trces: expected a stage of the base, one of prepare, embed,"),
    ("folder: a\nstages:\n  prepare: {}\n  prepare: {}\n", "the key 'prepare' stands twice in one mapping"),
    ("folder: a\nstages: &x\n  prepare: {for: *x}\n", "none inside of itself"),
    ("folder: a\nstages:\n  prepare: {seed: 2024-05-01}\n", "the value of 'seed'.*found the date 2024-05-01"),
    ({"base": "mine.yaml"}, "expected a base that is not, by way of its own base, this recipe itself"),
    ({"base": "back.yaml"}, "expected a base that is not, by way of its own base, this recipe itself"),
    ({"base": "./"}, "expected a YAML file, found a folder"),
    ({"base": "nothing.yaml"}, r"nothing\.yaml: no such file"),
    ({"base": "shopp"}, "recipe shopp: expected a path ending in .yaml, or one of .*; did you mean 'shop'?"),
    ({"base": "nothing"}, "recipe nothing: expected a path ending in .yaml, or one of "),
])  # fmt: skip
def test_a_recipe_of_another_form_is_refused(tmp_path, values, complaint):
    written(tmp_path, "back.yaml", {"base": "mine.yaml"})
    with pytest.raises(InputError, match=complaint):
        read_recipe(written(tmp_path, "mine.yaml", values))


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """Two recipes as if they came with gr2, one with a file beside it; the working folder is another."""
    from gr2.runner import recipe

    folder = tmp_path / "shipped"
    written(folder, "one.yaml", "# The first one.\n" + yaml.safe_dump(BASE))
    written(folder, "two.yaml", "# Another.\nbase: one\nfolder: runs/two\n")
    written(folder, "items.csv", "item_id,title\n")
    monkeypatch.setattr(recipe, "shipped", lambda name: folder)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return folder


def test_recipes_that_come_with_gr2_go_by_their_names(shipped, capsys):
    assert list(shipped_recipes()) == ["one", "two"]
    assert find_recipe("two") == shipped / "two.yaml"
    assert read_recipe(find_recipe("two"))["stages"] == read_recipe(find_recipe("one"))["stages"]
    main(["recipes"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split(None, 1) == ["one", "The first one."] and lines[1].split(None, 1) == ["two", "Another."]


def test_a_copy_of_a_recipe_brings_the_files_beside_it_and_overwrites_nothing(shipped, tmp_path, capsys):
    main(["recipes", "copy", "one", "mine/own.yaml"])
    assert (tmp_path / "work/mine/own.yaml").read_text() == (shipped / "one.yaml").read_text()
    assert (tmp_path / "work/mine/items.csv").read_text() == "item_id,title\n"
    main(["recipes", "copy", "two"])
    assert (tmp_path / "work/two.yaml").read_text() == (shipped / "two.yaml").read_text()
    (tmp_path / "work/items.csv").write_text("mine\n")
    for words, complaint in (
        (["copy", "two"], r"two.yaml: expected no such file"),
        (["copy", "one"], "items.csv: expected no"),
        (["copy"], "expected no more words, or copy NAME"),
        (["one"], "expected no more words"),
        (["copy", "three"], "one of one, two"),
    ):
        with pytest.raises(SystemExit) as stop:
            main(["recipes", *words])
        assert stop.value.code == 2 and complaint in capsys.readouterr().err
    assert not (tmp_path / "work/one.yaml").exists() and (tmp_path / "work/items.csv").read_text() == "mine\n"


VARIED = {
    "folder": "runs/{day}",
    "variables": {"day": "monday", "yesterday": None, "items": "items.csv"},
    "stages": {"prepare": {"items": "{items}", "interactions": "{day}/events.csv", "earlier": "{yesterday}/prepare"},
               "prepare_{seed}": {"for": {"seed": [0, 1]}, "source": "synthetic", "seed": "{seed}"}},
}  # fmt: skip


def test_variables_are_filled_in_and_an_option_without_its_value_is_left_out(tmp_path):
    path = written(tmp_path, "varied.yaml", VARIED)
    recipe = fill_variables(read_recipe(path), [], path)
    assert recipe["folder"] == "runs/monday"
    assert recipe["stages"]["prepare"] == {"items": "items.csv", "interactions": "monday/events.csv"}
    assert recipe["stages"]["prepare_{seed}"]["seed"] == "{seed}"
    recipe = fill_variables(read_recipe(path), ["day=tuesday", "yesterday=runs/monday"], path)
    assert recipe["folder"] == "runs/tuesday"
    assert recipe["stages"]["prepare"]["earlier"] == "runs/monday/prepare"


def test_a_recipe_can_set_the_variables_of_its_base(tmp_path):
    written(tmp_path, "varied.yaml", VARIED)
    mine = written(tmp_path, "mine.yaml", {"base": "./varied.yaml", "variables": {"items": "shop.csv", "day": None}})
    recipe = read_recipe(mine)
    assert recipe["variables"] == {"day": None, "yesterday": None, "items": "shop.csv"}
    assert fill_variables(recipe, ["day=friday"], mine)["stages"]["prepare"]["items"] == "shop.csv"
    with pytest.raises(InputError, match=r"folder runs/\{day\}: expected a value of its variable, --set NAME=VALUE"):
        fill_variables(recipe, [], mine)


def test_a_variable_with_the_name_of_a_for_is_refused(tmp_path):
    """Its value would be filled in first, and all repetitions would be the same run."""
    path = written(tmp_path, "varied.yaml", VARIED | {"variables": {"day": "monday", "seed": 7}})
    message = r"varied\.yaml: stage prepare_\{seed\}: for: seed: expected another name: a variable has this one"
    with pytest.raises(InputError, match=message):
        fill_variables(read_recipe(path), [], path)


@pytest.mark.parametrize("word", ["week=1", "day", "=1"])
def test_a_word_that_sets_no_variable_is_refused(tmp_path, word):
    path = written(tmp_path, "varied.yaml", VARIED)
    with pytest.raises(InputError, match="expected NAME=VALUE, with one of the recipe's variables: day, yesterday"):
        fill_variables(read_recipe(path), [word], path)


def test_a_stage_in_its_process_gets_the_variables(tmp_path):
    path = written(tmp_path, "varied.yaml", VARIED)
    words = ["--recipe", str(path), "--stage", "prepare", "--set", "day=sunday", "--seed", "3"]
    options = stage_options("prepare", words)
    assert options["interactions"] == ["sunday/events.csv"] and options["seed"] == ["3"] and "set" not in options


def test_a_date_is_refused_also_where_a_library_has_made_every_loader_read_it_as_text(tmp_path, monkeypatch):
    """lm-format-enforcer does so when vLLM imports it."""
    kind = "tag:yaml.org,2002:timestamp"
    monkeypatch.setitem(yaml.SafeLoader.yaml_constructors, kind, yaml.SafeLoader.construct_yaml_str)
    assert yaml.safe_load("day: 2024-05-01") == {"day": "2024-05-01"}
    (tmp_path / "recipe.yaml").write_text("folder: a\nstages:\n  prepare: {seed: 2024-05-01}\n")
    with pytest.raises(InputError, match="found the date 2024-05-01"):
        read_recipe(tmp_path / "recipe.yaml")

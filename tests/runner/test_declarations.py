"""What is read from a command's source is what its dataclass says."""

import dataclasses
import importlib
import typing

import pytest

from gr2.errors import InputError
from gr2.options.declare import is_input, is_required, library_options, limits_of
from gr2.runner.declarations import parse, read_command
from gr2.runner.plan import read_plan
from gr2.stages import STAGES, module_of


@pytest.mark.parametrize("command", STAGES)
def test_options_read_from_the_source_are_those_of_the_dataclass(command):
    declared, module = read_command(command), importlib.import_module(module_of(command))
    ours = [cls for cls in module.Config.__mro__ if cls.__module__.startswith("gr2.")]
    names = {name for cls in ours for name in vars(cls).get("__annotations__", {})}
    fields = {field.name: field for field in dataclasses.fields(module.Config) if field.name in names and field.init}
    assert declared.options.keys() == fields.keys()
    for name, field in fields.items():
        option = declared.options[name]
        assert option.path == field.metadata.get("path", False) and option.named == field.metadata.get("named", False)
        assert option.required == is_required(field)
        assert option.many == ("list[" in str(field.type))
    assert declared.trains == hasattr(
        module.Config, "gradient_accumulation_steps"
    )  # of transformers' TrainingArguments
    assert declared.writes == getattr(module, "WRITES", ())


@pytest.mark.parametrize("command", STAGES)
def test_what_is_read_of_types_and_ranges_is_so_libraries_included(command):
    declared, config_class = read_command(command), importlib.import_module(module_of(command)).Config
    fields = {field.name: field for field in dataclasses.fields(config_class) if field.init}
    kinds = typing.get_type_hints(config_class)
    assert declared.all_options.keys() == fields.keys()
    assert declared.library.keys() == set(library_options(config_class)) & fields.keys()
    for name, option in declared.all_options.items():
        limits = limits_of(config_class, fields[name])
        assert option.kind in (None, kinds[name]) and option.limits.items() <= limits.items()
        assert option.kind is not None or "Literal" in str(kinds[name]) or name in declared.library
        assert is_input(fields[name]) == bool(option.path)
        assert option.limits == limits or command.startswith(("sids", "assign"))  # some limits are imported there


def test_an_input_that_is_found_by_its_name_is_a_file_that_some_command_writes():
    written = {file for command in STAGES for file in read_command(command).writes}
    options = [option for command in STAGES for option in read_command(command).options.values()]
    assert {option.path for option in options if isinstance(option.path, str)} <= written


def test_a_command_without_a_module_is_refused():
    with pytest.raises(InputError, match=r"gr2 embed-nothing: expected the module gr2\.stages\.embed_nothing"):
        read_command("embed-nothing")


def test_a_plan_of_many_stages_reads_no_more_modules_than_one_of_few(tmp_path):
    read = []
    for stages in (2, 200):
        lines = ["  prepare: {source: synthetic}", "  slates: {pre_ranker: popularity}"]
        lines += ["  rerank_{seed}: {for: {seed: [" + ", ".join(map(str, range(stages))) + "]}, reranker: random}"]
        (tmp_path / "recipe.yaml").write_text("\n".join(["folder: runs/many", "stages:", *lines, ""]))
        read_command.cache_clear()
        parse.cache_clear()
        assert len(read_plan(tmp_path / "recipe.yaml")) == 2 + stages
        read.append((read_command.cache_info().misses, parse.cache_info().misses))
    assert read[0] == read[1] and read[0][0] == 3

"""Every option of every stage: which name an input, and which numbers each takes."""

import dataclasses
import importlib
import typing

import pytest

from gr2.errors import InputError
from gr2.options.declare import is_input, is_required, library_options, limits_of
from gr2.options.help import describe_options
from gr2.options.parse import parse
from gr2.prompts.prompt import prompt_file
from gr2.runner.stage import input_paths
from gr2.stages import STAGES, module_of

NO_PATHS = {
    "output_dir",  # written to
    "against", "base_url", "bpe_text", "columns", "engine", "eval_strategy", "event_types", "hub_model_id", "kind",
    "logging_strategy",
    "lr_scheduler_type", "metric_for_best_model", "mixture", "mode", "pre_ranker", "protocol", "quantizer",
    "ray_engine", "report_to", "reward", "save_strategy", "script", "source", "split", "splits", "switches",
    "test_from",
}  # fmt: skip
CONFIGS = {stage: importlib.import_module(module_of(stage)).Config for stage in STAGES}


def own_options(config_class):
    """The fields that gr2 declares, with their types as texts."""
    hints = typing.get_type_hints(config_class)
    classes = [cls for cls in config_class.__mro__ if cls.__module__.startswith("gr2.")]
    names = {name for cls in classes for name in cls.__annotations__}
    return {field: str(hints[field.name]) for field in dataclasses.fields(config_class) if field.name in names}


def number_options(config_class):
    hints = typing.get_type_hints(config_class)
    kinds = {
        field: {part for part in (hints[field.name], *typing.get_args(hints[field.name]))}
        for field in dataclasses.fields(config_class)
        if field.init
    }
    kinds = {
        field: found | {inner for part in found for inner in typing.get_args(part)} for field, found in kinds.items()
    }
    kinds = {field: found for field, found in kinds.items() if found & {int, float} and str not in found}
    return {field: float if float in found else int for field, found in kinds.items()}


@pytest.mark.parametrize("stage", STAGES)
def test_a_command_and_each_of_its_groups_declare_15_options_or_fewer(stage):
    groups = [cls for cls in CONFIGS[stage].__mro__ if cls.__module__.startswith("gr2.")]
    assert {cls.__name__: len(cls.__annotations__) for cls in groups if len(cls.__annotations__) > 15} == {}


@pytest.mark.parametrize("stage", STAGES)
def test_every_option_whose_value_may_be_a_path_is_an_input_or_known_as_none(stage):
    texts = [field for field, kind in own_options(CONFIGS[stage]).items() if "str" in kind and "Literal" not in kind]
    assert {field.name for field in texts if not is_input(field)} <= NO_PATHS
    assert not {field.name for field in texts if is_input(field)} & NO_PATHS


@pytest.mark.parametrize("stage", STAGES)
def test_every_input_reaches_the_manifest_and_the_help(stage, tmp_path):
    help = describe_options(stage, CONFIGS[stage], "About.")
    own = own_options(CONFIGS[stage])
    for field in filter(is_input, dataclasses.fields(CONFIGS[stage])):
        if field in own:
            (text,) = [text for text in help.split("\n  --") if text.startswith(f"{field.name} ")]
            assert "(input; " in " ".join(text.split())
        else:
            assert field.name in help.rpartition("Inputs among them:")[2]
        file = tmp_path / f"{field.name}=1" / "file"
        file.parent.mkdir()
        file.write_text("read")
        config = object.__new__(CONFIGS[stage])
        vars(config).update({other.name: None for other in dataclasses.fields(CONFIGS[stage])})
        assert input_paths(config, {field.name: [str(file)]}) == [str(file)]
        if "list" in own.get(field, ""):
            assert input_paths(config, {field.name: [f"name={file}", str(file)]}) == [str(file), str(file)]


def test_a_default_is_an_input_too():
    config = CONFIGS["rerank"](items="i", slates="s", reranker="random", output_dir="o")
    assert str(prompt_file(config.prompt)) in input_paths(
        config, {"items": ["i"], "slates": ["s"], "reranker": ["random"]}
    )


@pytest.mark.parametrize("stage", STAGES)
def test_every_number_has_a_range(stage):
    without = [field.name for field in number_options(CONFIGS[stage]) if not limits_of(CONFIGS[stage], field)]
    assert without == []


def given(stage, field, value):
    """The options of a stage with one number instead of its value, and any text for what is required."""
    options = {other.name: ["x"] for other in dataclasses.fields(CONFIGS[stage]) if other.init and is_required(other)}
    options["output_dir"] = ["out"]
    return options | {field.name: [value]}


@pytest.mark.parametrize("stage", STAGES)
def test_zero_negative_and_endless_numbers_are_taken_or_refused_in_a_sentence(stage, tmp_path, monkeypatch):
    """Never another exception, and nothing is written; NaN and infinity are never taken, but where most=inf says so."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    for field, kind in number_options(CONFIGS[stage]).items():
        for value in ("0", "-1", "-1000000", "nan", "inf", "-inf", "1e400", "1e30", str(10**30), "0.5", ""):
            try:
                parse(stage, CONFIGS[stage], given(stage, field, value))
            except InputError as error:
                assert "\n" not in str(error)
            else:
                endless = value in ("nan", "inf", "-inf", "1e400")
                assert not endless or limits_of(CONFIGS[stage], field).get("most") == float("inf"), (
                    f"{field.name} {value}"
                )
                assert kind is float or value != str(10**30), f"{field.name} {value}"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("stage", [stage for stage in STAGES if library_options(CONFIGS[stage])])
@pytest.mark.parametrize(("name", "value", "expected"), [
    ("learning_rate", "-0.1", "(of at least|above) 0"),
    ("learning_rate", "nan", "(of at least|above) 0"),
    ("per_device_train_batch_size", "0", "of at least 1"),
    ("gradient_accumulation_steps", "-2", "of at least 1"),
    ("max_steps", "0", "of at least 1, or -1"),
    ("num_train_epochs", "0", "above 0"),
    ("seed", "-1", "from 0 to 4,294,967,295"),
    ("seed", str(2**32), "from 0 to 4,294,967,295"),
    ("dataloader_num_workers", "-1", "of at least 0"),
])  # fmt: skip
def test_the_libraries_numbers_have_ranges_too(stage, name, value, expected):
    (field,) = [field for field in dataclasses.fields(CONFIGS[stage]) if field.name == name]
    with pytest.raises(InputError, match=rf"^--{name} .*: expected a number {expected}$"):
        parse(stage, CONFIGS[stage], given(stage, field, value))

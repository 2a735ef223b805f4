"""The defaults that an estimate takes where a recipe says nothing are those of the commands."""

import ast
import importlib
import inspect
import textwrap
from dataclasses import MISSING

import pytest

from gr2.estimate import commands, data, models
from gr2.stages import module_of


def taken(function) -> dict[str, object]:
    """The option names and defaults of `option_of`, `number` and `flag` in a function's source."""
    calls = [
        node for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(function)))) if isinstance(node, ast.Call)
    ]
    calls = [call for call in calls if ast.unparse(call.func) in ("option_of", "number", "flag")]
    constant = [call for call in calls if len(call.args) == 3 and isinstance(call.args[2], ast.Constant)]
    return {call.args[1].value: call.args[2].value for call in constant if isinstance(call.args[1], ast.Constant)}


@pytest.mark.parametrize("command", commands.COMMANDS)
def test_defaults_are_the_commands_own(command):
    fields = importlib.import_module(module_of(command)).Config.__dataclass_fields__
    found = taken(commands.COMMANDS[command])
    for name, value in found.items():
        default = fields[name].default
        if value != "" and default not in (None, MISSING):
            assert (name, value) == (name, default)
    assert found


@pytest.mark.parametrize("command", ["midtrain", "sft", "rl"])
def test_defaults_of_trainings_are_the_libraries_own(command):
    fields = importlib.import_module(module_of(command)).Config.__dataclass_fields__
    for function in (commands.count_steps, commands.count_trained, commands.train_stage):
        for name, value in taken(function).items():
            assert name not in fields or (name, value) == (name, fields[name].default)  # rl has no `trainable`
    called = inspect.getsource(commands.COMMANDS[command])
    assert f"checkpointing={fields['gradient_checkpointing'].default}" in called


def test_defaults_of_models_and_data_are_the_commands_own():
    midtrain = importlib.import_module(module_of("midtrain")).Config.__dataclass_fields__
    assert taken(models.model_of)["vocab_size"] == midtrain["vocab_size"].default
    sids = importlib.import_module(module_of("sids")).Config.__dataclass_fields__
    assert taken(models.add_ids) == {name: sids[name].default for name in ("levels", "codes")}
    slates = importlib.import_module(module_of("slates")).Config.__dataclass_fields__
    assert taken(data.Data.texts)["candidates"] == slates["candidates"].default

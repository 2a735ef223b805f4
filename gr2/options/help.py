"""The help text of a command."""

import dataclasses
import textwrap
import typing

from gr2.options.declare import is_input, is_required
from gr2.options.libraries import INPUTS

INDENT = 25 * " "


def describe_options(stage: str, config_class: type, about: str) -> str:
    """The help text of a command: its own options; those of a library's class are only named."""
    ours = [cls for cls in config_class.__mro__ if cls is config_class or cls.__module__.startswith("gr2.")]
    named = {field.name: field for field in dataclasses.fields(config_class)}
    options = [named[name] for cls in ours for name in cls.__annotations__]
    lines = [
        f"usage: gr2 {stage} [--config FILE] [--key value ...]",
        f"   or: gr2 {stage} --recipe NAME --stage ID [--key value ...]",
        "",
        about.strip(),
        "",
        "YAML keys of FILE are the options below; the command line wins. An input is a file or folder that is read:",
        "its sha256 is recorded, and `gr2 run` runs the stage again when it changed.",
        "",
    ]
    hints = typing.get_type_hints(config_class)
    for field in options:
        value = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        default = "required" if is_required(field) else f"default {value}" if value is not None else "optional"
        choices = typing.get_args(hints[field.name]) if typing.get_origin(hints[field.name]) is typing.Literal else ()
        notes = ["input"] * is_input(field) + ["one of " + ", ".join(choices)] * bool(choices) + [default]
        text = f"{field.metadata.get('help', '')} ({'; '.join(notes)})"
        lines += textwrap.wrap(text, 110, initial_indent=f"  --{field.name:20} ", subsequent_indent=INDENT)
    parent = config_class.__mro__[len(ours)]
    if dataclasses.is_dataclass(parent):
        lines += [
            "",
            f"and every option of {parent.__module__.split('.')[0]}.{parent.__name__}: output_dir, learning_rate,",
            "per_device_train_batch_size, max_steps, save_steps, ... (its documentation lists them).",
            f"Inputs among them: {', '.join(name for name in INPUTS if name in named)}.",
        ]
    return "\n".join(lines)

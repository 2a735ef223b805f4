"""The options of a command and the files it writes, read from its source: planning a recipe imports no stage.

A test holds what is read here against the dataclasses themselves.
"""

import ast
import functools
from dataclasses import dataclass
from typing import Any

from gr2.errors import InputError
from gr2.runner.code_version import PACKAGE, file_of
from gr2.stages import module_of


@dataclass(frozen=True)
class Option:
    """An option of gr2's own; `path` and `named` as in gr2.options.declare.arg."""

    path: bool | str = False
    named: bool = False
    required: bool = False
    many: bool = False  # its value is a list

    @property
    def found(self) -> bool:
        """Whether it is the latest file of its name where a recipe leaves it out."""
        return isinstance(self.path, str) and not self.named and (self.required or not self.many)


@dataclass(frozen=True)
class Command:
    options: dict[str, Option]
    writes: tuple[str, ...]
    trains: bool  # with transformers or TRL, whose options it has beside its own


@functools.cache
def read_command(command: str) -> Command:
    module = module_of(command)
    if not file_of(module):
        raise InputError(f"gr2 {command}: expected the module {module}, which this checkout does not have")
    options, trains = read_class(module, "Config")
    assigned = [node for node in parse(module).body if isinstance(node, ast.Assign)]
    written = [node.value for node in assigned if ast.unparse(node.targets[0]) == "WRITES"]
    return Command(options, ast.literal_eval(written[0]) if written else (), trains)


def read_class(module: str, name: str) -> tuple[dict[str, Option], bool]:
    """The options that a class and its bases declare, and whether one of the bases is a library's."""
    tree = parse(module)
    found = next((node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name), None)
    if found is None:
        source = imported_from(tree, name)
        return read_class(source, name) if source.split(".")[0] == PACKAGE.name else ({}, True)
    options, trains = {}, False
    for base in reversed(found.bases):
        inherited, by_library = read_class(module, ast.unparse(base))
        options, trains = options | inherited, trains or by_library
    fields = [node for node in found.body if isinstance(node, ast.AnnAssign)]
    return options | {node.target.id: read_option(node) for node in fields}, trains


def read_option(field: ast.AnnAssign) -> Option:
    many = "list[" in ast.unparse(field.annotation)
    call = field.value
    if not (isinstance(call, ast.Call) and ast.unparse(call.func) == "arg"):
        return Option(required=call is None, many=many)
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    known: dict[str, Any] = {key: ast.literal_eval(given[key]) for key in ("path", "named") if key in given}
    return Option(required=not call.args and "default" not in given, many=many, **known)


def imported_from(tree: ast.Module, name: str) -> str:
    """The module that a name was imported from; a dotted name's is that before its last dot."""
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and name in [alias.asname or alias.name for alias in node.names]:
            return node.module
    return name.rpartition(".")[0]


@functools.cache
def parse(module: str) -> ast.Module:
    return ast.parse(file_of(module).read_text(encoding="utf-8"))

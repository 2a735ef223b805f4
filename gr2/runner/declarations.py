"""The options of a command and the files it writes, read from its source: planning a recipe imports no stage.

The classes of transformers and TRL that trainings extend are read in the same way: a wrong option is refused before
they are imported, which takes seconds. A test holds what is read here against the dataclasses themselves.
"""

import ast
import functools
import importlib.util
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from gr2.errors import InputError
from gr2.options.libraries import INPUTS, LIMITS
from gr2.options.parse import Expectation
from gr2.runner.code_version import PACKAGE, file_of
from gr2.stages import module_of

# What an annotation may say without an import; a type of another name is not known here.
TYPES = {"Literal": Literal, "Any": Any}


@dataclass(frozen=True)
class Option(Expectation):
    """An option; `path` and `named` as in gr2.options.declare.arg."""

    path: bool | str = False
    named: bool = False
    many: bool = False  # its value is a list

    @property
    def found(self) -> bool:
        """Whether it is the latest file of its name where a recipe leaves it out."""
        return isinstance(self.path, str) and not self.named and (self.required or not self.many)


@dataclass(frozen=True)
class Command:
    options: dict[str, Option]  # gr2's own
    writes: tuple[str, ...]
    library: dict[str, Option] = field(default_factory=dict)  # those that a training takes over

    @property
    def trains(self) -> bool:
        """With transformers or TRL."""
        return bool(self.library)

    @property
    def all_options(self) -> dict[str, Option]:
        return self.library | self.options


@functools.cache
def read_command(command: str) -> Command:
    module = module_of(command)
    if not file_of(module):
        raise InputError(f"gr2 {command}: expected the module {module}, which this checkout does not have")
    options, library = read_class(module, "Config")
    assigned = [node for node in parse(module).body if isinstance(node, ast.Assign)]
    written = [node.value for node in assigned if ast.unparse(node.targets[0]) == "WRITES"]
    for name in options.keys() & (library.keys() | {"seed", "seeds"}):
        limits = options[name].limits or LIMITS.get(name, {})
        options[name] = Option(**{**vars(options[name]), "limits": limits})
    return Command(options, ast.literal_eval(written[0]) if written else (), library)


def read_class(module: str, name: str) -> tuple[dict[str, Option], dict[str, Option]]:
    """The options that a class and its bases declare: those of gr2, and those of a library."""
    tree = parse(module)
    found = next((node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name), None)
    if found is None:
        source = find_import(module, name)
        return read_class(source, name.rpartition(".")[2]) if source else ({}, {})
    ours, library = {}, {}
    for base in reversed(found.bases):
        inherited, of_library = read_class(module, ast.unparse(base))
        ours, library = ours | inherited, library | of_library
    fields = [node for node in found.body if isinstance(node, ast.AnnAssign) and is_argument(node)]
    options = {node.target.id: read_option(node) for node in fields}
    if module.split(".")[0] == PACKAGE.name:
        return ours | options, library
    return ours, library | {key: Option(option.kind, False, LIMITS.get(key, {}), key in INPUTS, many=option.many)
                            for key, option in options.items()}  # fmt: skip


def is_argument(declared: ast.AnnAssign) -> bool:
    """Whether an attribute of a dataclass is one of its arguments."""
    keywords = declared.value.keywords if isinstance(declared.value, ast.Call) else ()
    inside = any(keyword.arg == "init" and ast.unparse(keyword.value) == "False" for keyword in keywords)
    return not inside and not ast.unparse(declared.annotation).startswith("ClassVar")


def read_option(declared: ast.AnnAssign) -> Option:
    annotation = ast.unparse(declared.annotation)
    try:
        kind = eval(annotation, TYPES.copy())
    except (NameError, AttributeError):  # it needs an import
        kind = None
    many, call = "list[" in annotation, declared.value
    if not (isinstance(call, ast.Call) and ast.unparse(call.func) == "arg"):
        return Option(kind, required=call is None, many=many)
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    known = {key: constant(given[key]) for key in ("path", "named") if key in given}
    limits = {key: constant(given[key]) for key in ("least", "above", "most", "below") if key in given}
    limits = {key: limit for key, limit in limits.items() if limit is not None}
    return Option(kind, not call.args and "default" not in given, limits, many=many, **known)


def constant(node: ast.expr) -> Any:
    """The value of a literal, `2**32 - 1` or `math.inf`; None where it needs an import."""
    try:
        return eval(ast.unparse(node), {"math": math})
    except NameError:
        return None


def find_import(module: str, name: str) -> str:
    """The module that a name was imported from, "" where it was not; a dotted name's is that before its last dot."""
    for node in ast.walk(parse(module)):
        if isinstance(node, ast.ImportFrom) and name in [alias.asname or alias.name for alias in node.names]:
            package = module if source_of(module).name == "__init__.py" else module.rpartition(".")[0]
            return importlib.util.resolve_name("." * node.level + (node.module or ""), package)
    return name.rpartition(".")[0]


@functools.cache
def parse(module: str) -> ast.Module:
    return ast.parse(source_of(module).read_text(encoding="utf-8"))


def source_of(module: str) -> Path:
    """A module's file; of a library, it is found without importing it."""
    if module.split(".")[0] == PACKAGE.name:
        return file_of(module)
    top, *below = module.split(".")
    path = Path(importlib.util.find_spec(top).submodule_search_locations[0], *below)
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")

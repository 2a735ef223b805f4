"""Which of gr2's own files a stage depends on: its manifest records them, and a stage runs again when one changed.

The modules are found by reading import statements, those inside functions too. So the answer is the same before a stage
starts, while it runs and when `gr2 run` asks whether to skip it, and it costs no import. Worker processes (Ray, vLLM)
import modules of the same set. A data file, such as a page's template, belongs to a stage if one of its files names it.
"""

import ast
import functools
import hashlib
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
REGISTER = PACKAGE / "stages" / "__init__.py"  # the names of all commands, which no stage's output depends on


def code_version(module: str) -> dict[str, str]:
    """`gr2.stages.sft` -> {"stages/sft.py": sha256, ...}: every file of the package that the module can reach."""
    todo, found = [file_of(module)], {REGISTER}
    while todo:
        file = todo.pop()
        if file not in found:
            found.add(file)
            todo += name_files(file)
    return {str(file.relative_to(PACKAGE)): digest(file) for file in sorted(found - {REGISTER})}


@functools.cache
def name_files(file: Path) -> list[Path]:
    """The package's files that one of them imports, or names as data."""
    text = file.read_text(encoding="utf-8")
    modules = find_imports(ast.parse(text)) if file.suffix == ".py" else set()
    modules = [found for name in sorted(modules) if (found := file_of(name))]
    return modules + [data for data in data_files() if data != file and data.name in text]


def find_imports(tree: ast.AST) -> set[str]:
    """Every dotted name of gr2 that a module imports, with its packages; `from a import b` may name a module."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    parts = [name.split(".") for name in names if name.split(".")[0] == PACKAGE.name]
    return {".".join(part[:count]) for part in parts for count in range(1, len(part) + 1)}


def file_of(module: str) -> Path | None:
    """The file of a module of this package; None where the name is a function's or a class's."""
    path = PACKAGE.joinpath(*module.split(".")[1:])
    candidates = (path.with_suffix(".py"), path / "__init__.py") if path != PACKAGE else (path / "__init__.py",)
    return next((file for file in candidates if file.is_file()), None)


@functools.cache
def data_files() -> list[Path]:
    files = (file for file in sorted(PACKAGE.rglob("*")) if file.is_file() and "__pycache__" not in file.parts)
    return [file for file in files if file.suffix not in (".py", ".pyc")]


@functools.cache
def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()

"""The house: nothing imports from a floor above its own, no two modules import each other, and every file is short."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "gr2"
# Ground first; docs/code.md says what each is.
FLOORS = [
    "errors",
    "masking",
    "process_errors",
    "terminal",
    "devices",
    "processes",
    "ray_cluster",
    "arrays",
    "metrics",
    "files",
    "options",
    "packaged_models",
    "data",
    "semantic_ids",
    "language_model",
    "choices",
    "samplers",
    "prompts",
    "rates",
    "step_lines",
    "training",
    "retrieval",
    "traces",
    "midtrain",
    "sft",
    "rl",
    "rerankers",
    "evaluation",
    "reports",
    "hub",
    "api",
    "serving",
    "stages",
    "runner",
    "estimate",
    "browse",
    "cli",
    "__main__",
]


def imports() -> dict[str, set[str]]:
    """Every module of gr2 -> those of gr2 that it imports, inside functions too."""
    parts = {file: ("gr2", *file.relative_to(PACKAGE).with_suffix("").parts) for file in PACKAGE.rglob("*.py")}
    modules = {".".join(names).removesuffix(".__init__"): file for file, names in parts.items()}
    found = {}
    for module, file in modules.items():
        nodes = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.ImportFrom)]
        names = {f"{node.module}.{alias.name}" for node in nodes for alias in node.names}
        found[module] = {name for name in names | {node.module for node in nodes} if name in modules}
    return {module: names - {"gr2", module} for module, names in found.items()}


def test_nothing_imports_from_a_floor_above_its_own():
    found = imports()
    floor = {module: FLOORS.index(module.split(".")[1]) for module in found if module != "gr2"}
    assert [(upper, name) for upper in floor for name in found[upper] if floor[name] > floor[upper]] == []


def test_no_two_modules_import_each_other():
    found = imports()
    assert len(list(TopologicalSorter(found).static_order())) == len(found)  # CycleError names a circle


def test_no_module_has_more_than_200_lines():
    lengths = {str(file.relative_to(PACKAGE)): file.read_text().count("\n") for file in PACKAGE.rglob("*.py")}
    assert {name: length for name, length in lengths.items() if length > 200} == {}

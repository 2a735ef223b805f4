"""Phrases that a native reader stumbles over do not come back."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PHRASES = [
    r"(at most|by|among its first|under) so many",
    r"so many (items|events|positions|slates|users|steps|ranks|times|tokens|near)",
    r"\bto be had\b",
    r"\bof no account\b",
    r"\bgoes on behind\b",
    r"\banew\b",
    r"\bas it stands\b",
    r"\bwhom it\b",
    r"\bwhom\b",
    r"\b(thereof|wherein|whereby|herein|hence|shall|upon)\b",
    r"\bin the place of\b",
    r"\bof before\b",
    r"\bnobody was shown\b",
    r"\bwhat is to be\b",
    r"what (a|the|whole|validation's)? ?lists? (is|are) worth",
    r"\bnot to be told\b",
    r"\bis told by\b",
    r"\bof the drawing of\b",
    r"\bof everything random\b",
    r"(items|slates|vectors|retries) a (batch|step)\b",
]
FILES = [ROOT / "README.md", ROOT / "CHANGELOG.md"] + [
    file
    for folder in ("gr2", "docs", "prompts", "recipes", "scripts", "benchmarks", "tests")
    for file in sorted((ROOT / folder).rglob("*"))
    if file.suffix in (".py", ".md", ".yaml", ".j2") and file != Path(__file__)
]


@pytest.mark.parametrize("phrase", PHRASES)
def test_no_phrase_that_readers_stumble_over(phrase):
    found = [
        f"{file.relative_to(ROOT)}:{number}: {line.strip()}"
        for file in FILES
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if re.search(phrase, line, re.IGNORECASE)
    ]
    assert found == []


VAGUE = {"own", "there", "taught", "asked", "judged", "learned", "told", "said"}


def test_no_variable_or_argument_has_a_name_that_does_not_say_what_it_holds():
    found = []
    for file in sorted((ROOT / "gr2").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            name = node.arg if isinstance(node, ast.arg) else None
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                name = node.id
            if name in VAGUE:
                found.append(f"{file.relative_to(ROOT)}:{node.lineno}: {name}")
    assert found == []


def test_classes_are_named_by_nouns():
    """Not by participles, as in `Taught` or `Exploring`; `LeftOutRows` and `MinedLists` say rows and lists of what."""
    gerunds_that_are_nouns = {
        "Drawing",
        "Ranking",
        "Reading",
        "Rendering",
        "Sampling",
        "Spelling",
        "Stopping",
        "Training",
    }
    gerunds_that_are_nouns |= {"RecipeDecoding", "Resampling"}
    irregular = r"(Known|Seen|Shown|Told|Taught|Given|Drawn|Chosen|Broken|Lost|Held|Made|Kept|Left)$"
    names = {
        node.name: file.relative_to(ROOT)
        for file in (ROOT / "gr2").rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ClassDef) and node.name not in gerunds_that_are_nouns
    }
    assert {name: file for name, file in names.items() if re.search(r"(ed|ing)$|" + irregular, name)} == {}

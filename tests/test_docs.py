"""Links of the README and of the pages lead somewhere, and CITATION.cff is of this version."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from gr2 import __version__

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md")])
REFERENCES = {"cluster.md", "code.md", "formats.md", "install.md", "recipes.md"}


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings; equal ones are not told apart here."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    headings = [re.sub(r"\[(.*?)\]\(.*?\)", r"\1", line) for line in re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)]
    named = re.findall(r'<a id="(.*?)">', text)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings} | set(named)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    lost = []
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if link.startswith(("http", "mailto:")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            lost.append(link)
    assert lost == []


def test_the_index_lists_every_page_and_the_readme_links_to_the_index():
    index = (ROOT / "docs/README.md").read_text()
    linked = {link for link in re.findall(r"\]\((\w+\.md)\)", index)}
    assert linked == {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert "(docs/README.md)" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("page", sorted(ROOT.glob("docs/*.md")), ids=lambda page: page.name)
def test_a_page_has_80_lines_or_fewer_and_begins_with_what_it_answers(page):
    title, empty, first = page.read_text().splitlines()[:3]
    assert title.startswith("# ") and not empty
    if page.name not in REFERENCES | {"README.md"}:
        assert re.match("(This page|`gr2 |The report)", first), first
        assert len(page.read_text().splitlines()) <= 80


def test_the_citation_names_the_version_and_the_licence_of_the_package():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (cited["cff-version"], cited["type"]) == ("1.2.0", "software")
    assert str(cited["version"]) == project["version"] == __version__ and cited["license"] == project["license"]
    assert cited["message"] and cited["title"] and cited["authors"]
    (paper,) = cited["references"]
    assert paper["url"].endswith("2602.07774") and all(author["family-names"] for author in paper["authors"])

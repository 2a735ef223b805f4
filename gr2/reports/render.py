"""An HTML page, one file without scripts, from a template of this folder; and how pages write numbers."""

import re
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

FOLDER = Path(__file__).parent


def render_page(template: str, folder: Path = FOLDER, **content: object) -> str:
    """The page. `template`, of `folder`, may use what lies beside this file; all `content` is escaped but Markup."""
    return find_templates(folder).get_template(template).render(content)


@cache
def find_templates(folder: Path) -> Environment:
    options = {"autoescape": True, "undefined": StrictUndefined, "trim_blocks": True, "lstrip_blocks": True}
    environment = Environment(loader=FileSystemLoader([folder, FOLDER]), **options)
    environment.filters |= {"fixed": fixed, "signed": signed, "p_value": p_value, "percent": percent, "whole": whole}
    environment.filters |= {"amount": amount, "short_commit": short_commit, "with_contents": add_contents}
    return environment


def add_contents(page: Markup) -> Markup:
    """The page's content with an anchor at each section, and a table of contents before the first."""
    sections, entries, ids = re.split(r"<section>(?=\s*<h2>)", page), [], set()
    for number, section in enumerate(sections[1:], start=1):
        title = re.search("<h2>(.*?)</h2>", section, re.DOTALL)[1]
        name = re.sub(r"[^a-z0-9]+", "-", Markup(title).striptags().lower()).strip("-")
        anchor = name if name and name not in ids else f"section-{number}"
        ids.add(anchor)
        sections[number] = f'<section id="{anchor}">{section}'
        entries.append(f'<li><a href="#{anchor}">{title}</a></li>')
    nav = ['<nav class="contents" aria-label="Contents"><ul>', *entries, "</ul></nav>\n"] if entries else []
    return Markup(sections[0] + "\n".join(nav) + "".join(sections[1:]))


def fixed(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def short_commit(commit: str) -> str:
    """Twelve digits of it, with the mark of files that differ."""
    return commit[:12] + "-dirty" * commit.endswith("-dirty")


def signed(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:+.{digits}f}".replace("-", "−")


def p_value(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def percent(share: float | None) -> str:
    """`41.2 %`, below one percent `0.41 %`."""
    if share is None:
        return "–"
    if 0 < share < 0.0001:
        return "< 0.01 %"
    return f"{100 * share:.{2 if 0 < share < 0.01 else 1}f} %"


def whole(number: int) -> str:
    """`12,101`."""
    return f"{number:,}"


def amount(value: float | None) -> str:
    """`1,336,064`, `25.5`, `0.112`: three digits, or all before the point."""
    if value is None:
        return "–"
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.{1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3}f}"

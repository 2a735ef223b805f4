"""The page: template, style and scripts of this folder in one file, and the content, compressed.

Content is base64, so no text of an item can end its element or be markup; the scripts show it as text alone. The policy
in the page's head lets nothing run but these scripts, and lets nothing be loaded. The content has a line for what lists
and filters need, and one for the rest of every PART slates, which the page reads when one of them is shown.
"""

import base64
import hashlib
import json
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from markupsafe import Markup

from gr2.reports.render import render_page

FOLDER = Path(__file__).parent
PART = 100  # slates, as in model.js
OF_SLATES, OF_SYSTEMS = ("labels", "scores", "facts", "sources"), ("order", "score", "reason", "reasoning")
SCRIPTS = ("model.js", "elements.js", "list.js", "slate.js", "page.js")


def render(name: str, content: dict) -> str:
    """The page of `collect.collect`'s content; `name` is the run's."""
    script = "\n" + "\n".join((FOLDER / file).read_text(encoding="utf-8") for file in SCRIPTS)
    digest = hashlib.sha256(script.encode()).digest()
    return render_page(
        "page.html.j2",
        FOLDER,
        name=name,
        script=Markup(script),
        script_hash=Markup(base64.b64encode(digest).decode()),
        data=Markup("\n".join([pack(sum_up(content)), *map(pack, details(content))])),
    )


def sum_up(content: dict) -> dict:
    """The content without details, but with what lists and filters ask of them: whether there is a trace; of each
    system the best candidate (null where it did not rank the slate), the place of the first relevant one (0: none), and
    whether it explains.
    """
    slates, systems = content["slates"], []
    for system in content["systems"]:
        rest = {name: column for name, column in system.items() if name not in OF_SYSTEMS}
        explains = [bool(text) for text in system.get("reasoning", ())]
        orders = list(zip(system["order"], slates["labels"], strict=True))
        first, place = [order and order[0] for order, _ in orders], [find_place(*one) for one in orders]
        systems.append(rest | {"first": first, "place": place, "explains": explains})
    place = [find_place(range(len(labels)), labels) for labels in slates["labels"]]
    kept = {name: column for name, column in slates.items() if name not in OF_SLATES}
    traced = [bool(traces) for traces in content["traces"]]
    return content | {"slates": kept | {"place": place, "traced": traced}, "systems": systems, "traces": []}


def find_place(order: Sequence[int] | None, labels: list[float]) -> int:
    """From 1, of the first relevant candidate; 0 where none is relevant, or there is no order."""
    return next((place for place, at in enumerate(order or (), 1) if labels and labels[at] > 0), 0)


def details(content: dict) -> Iterator[dict]:
    """What is shown of one slate alone: the columns of PART slates at a time."""
    slates, systems = content["slates"], content["systems"]
    for start in range(0, len(slates["id"]), PART):
        part = slice(start, start + PART)
        of_systems = [{name: system[name][part] for name in OF_SYSTEMS if name in system} for system in systems]
        of_slates = {name: slates[name][part] for name in OF_SLATES}
        yield of_slates | {"systems": of_systems, "traces": content["traces"][part]}


def pack(content: dict) -> str:
    """JSON -> zlib -> base64; the browser's DecompressionStream reads it."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return base64.b64encode(zlib.compress(text.encode())).decode()

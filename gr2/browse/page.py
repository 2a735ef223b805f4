"""The page: template, style and scripts of this folder in one file, and the content, compressed.

Content is base64, so no text of an item can end its element or be markup; the scripts show it as text alone. The policy
in the page's head lets nothing run but these scripts, and lets nothing be loaded.
"""

import base64
import hashlib
import json
import zlib
from pathlib import Path

from markupsafe import Markup

from gr2.reports.render import render_page

FOLDER = Path(__file__).parent
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
        data=Markup(pack(content)),
    )


def pack(content: dict) -> str:
    """JSON -> zlib -> base64; the browser's DecompressionStream reads it."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return base64.b64encode(zlib.compress(text.encode())).decode()

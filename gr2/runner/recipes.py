"""`gr2 recipes`: the recipes that come with gr2. `gr2 recipes copy NAME [FILE]` writes one into the working folder."""

import re
import shutil
from pathlib import Path

from gr2.errors import InputError
from gr2.runner.recipe import find_recipe, shipped_recipes


def main(words: list[str]) -> None:
    if words[:1] == ["copy"] and len(words) in (2, 3) and not words[1].startswith("-"):
        copy(words[1], Path(words[2] if len(words) == 3 else f"{words[1]}.yaml"))
    elif not words:
        for name, file in shipped_recipes().items():
            print(f"{name:22} {file.read_text(encoding='utf-8').splitlines()[0].lstrip('# ')}")
        print("\ngr2 run NAME, or gr2 recipes copy NAME to change one")
    else:
        print(__doc__)
        if words[0] not in ("-h", "--help"):
            raise InputError(f"recipes {' '.join(words)}: expected no more words, or copy NAME [FILE]")


def copy(name: str, target: Path) -> None:
    """Copies a recipe, and beside it the files that it names as `./FILE`; InputError where one exists already."""
    source = find_recipe(name)
    names = re.findall(r"(?<![\w.])\./([\w./-]*\w)", source.read_text(encoding="utf-8"))
    files = {source: target} | {source.parent / beside: target.parent / beside for beside in names}
    for file in files.values():
        if file.exists():
            raise InputError(f"{file}: expected no such file; nothing is overwritten")
    for file, copied in files.items():
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copied)
        print(f"gr2 recipes: {copied}")

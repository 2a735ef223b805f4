"""The shell commands that README.md and docs/ show."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md")])
FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
INDENTED = re.compile(r"(?:^ {4}\S.*\n(?:^ {4}.*\n)*)", re.MULTILINE)


@dataclass(frozen=True)
class Line:
    """A line of a shell block; those that end in a backslash are joined."""

    page: Path
    text: str

    @property
    def words(self) -> list[str]:
        return shlex.split(self.text, comments=True)

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}: {self.text[:60]}"


def shell_blocks(page: Path) -> list[str]:
    """Blocks in ``` that are marked as bash, or not at all, and those that are indented by four spaces."""
    text = page.read_text()
    fenced = [block for language, block in FENCED.findall(text) if language in ("", "bash", "sh")]
    return fenced + INDENTED.findall(FENCED.sub("", text))


def shell_lines() -> list[Line]:
    return [
        Line(page, line.strip())
        for page in PAGES
        for block in shell_blocks(page)
        for line in fill_variables(block).replace("\\\n", " ").splitlines()
        if line.strip() and not line.strip().startswith("#")
    ]


def fill_variables(block: str) -> str:
    """$NAME -> its value, where the block has a line NAME=VALUE."""
    for name, value in re.findall(r"^(\w+)=([\w.-]+)$", block, re.MULTILINE):
        block = re.sub(rf"\${name}\b", value, block)
    return block


def spans() -> list[Line]:
    """`gr2 ...` in running text, but not in docs/results: those say how an earlier commit was run."""
    pages = [page for page in PAGES if page.parent.name != "results"]
    texts = [(page, FENCED.sub("", page.read_text())) for page in pages]
    return [Line(page, " ".join(span.split())) for page, text in texts for span in re.findall(r"`(gr2 [^`]+)`", text)]


def programs(line: Line) -> list[list[str]]:
    """The words of each program that a line starts, itself or through one that runs another: `srun bash -c '...'`."""
    words = line.words
    if "bash" in words and "-c" in words:
        return programs(Line(line.page, words[words.index("-c") + 1]))
    found, current = [], []
    for word in words:
        if word in ("&&", "||", "|", ";"):
            found, current = [*found, current], []
        else:
            current.append(word)
    return [*found, current]


def gr2_words(program: list[str]) -> list[str] | None:
    """What follows `gr2`, or an image of that name in `docker run`; None if the program does not run gr2."""
    if program[:1] == ["cd"]:
        return None
    if program[:2] == ["docker", "run"]:
        image = next((at for at, word in enumerate(program) if re.fullmatch(r"gr2:\w+", word)), None)
        return None if image is None else program[image + 1 :]
    return program[program.index("gr2") + 1 :] if "gr2" in program else None

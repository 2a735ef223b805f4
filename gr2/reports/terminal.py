"""Tables of systems on the terminal."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table


def print_systems(title: str, columns: list[str], rows: dict[str, list[str]]) -> None:
    """A table with a row of figures per system."""
    table = Table(title=title, box=None, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("system", overflow="ellipsis", max_width=16)
    for column in columns:
        table.add_column(escape(column), justify="right", no_wrap=True)
    for name, figures in rows.items():
        table.add_row(escape(name), *map(escape, figures))
    Console(highlight=False).print(table)


def print_sentences(sentences: list[str]) -> None:
    for sentence in sentences:
        Console(highlight=False).print(escape(sentence))

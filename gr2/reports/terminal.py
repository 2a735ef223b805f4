"""Tables of systems on the terminal."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gr2.reports.render import fixed, signed


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


def print_counterfactual(found: dict) -> None:
    """IPS and SNIPS estimates beside the plain ones, and the warning; found: see `evaluation.counterfactual`."""
    metric = f"dcg@{found['k']}"
    rows = {}
    for name, figures in found["systems"].items():
        gain = figures["gain"][metric]
        low, high = gain["interval"]
        values = [fixed(figures[kind][metric]["value"]) for kind in ("plain", "snips", "ips")]
        shown = f"{signed(gain['value'])} [{signed(low)}, {signed(high)}]"
        rows[name] = [*values, "" if name == "input_order" else shown]
    columns = [f"{metric} plain", "SNIPS", "IPS", "SNIPS gain [95 %]"]
    clicks = f"effective sample size {found['effective_clicks']:.0f} of {found['clicks']} clicks"
    print_systems(f"clicks of {found['requests']} requests; {clicks}", columns, rows)
    biased = "The sentences above are about clicks as they came, which favour the order that was shown; SNIPS does not."
    print_sentences([biased, *([f"warning: {found['warning']}"] if found["warning"] else [])])

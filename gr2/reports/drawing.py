"""Matplotlib style and byte-reproducible inline SVG."""

import io
import math

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

STYLE = {
    "svg.fonttype": "none",  # text stays text: small, searchable
    "svg.hashsalt": "gr2",
    "text.parse_math": False,  # a system may be called `a$b`
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.titlesize": 10,
    "figure.constrained_layout.h_pad": 0.09,
    "figure.constrained_layout.w_pad": 0.09,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "text.color": "#22262b",
    "axes.labelcolor": "#22262b",
    "axes.edgecolor": "#9aa1ab",
    "xtick.color": "#555c66",
    "ytick.color": "#22262b",
}
INK, SOFT, GREY, PALE, GRID, NAVY, PAPER = "#22262b", "#555c66", "#8a919c", "#d3d7dc", "#e3e6ea", "#1f3a6b", "#ffffff"
# These become the page's own colours (style.css), which are others on a dark page; the rest can be read on both.
OF_THE_PAGE = {INK: "ink", SOFT: "tick", GREY: "grey", PALE: "pale", GRID: "line", NAVY: "dark-blue", PAPER: "paper",
               "#9aa1ab": "axis", "#000000": "ink"}  # fmt: skip
OCHRE, BLUE, GREEN, RED = "#cf9a3d", "#3b76b5", "#3d8f5f", "#c05746"
KINDS = {"language model": BLUE, "reranker": OCHRE, "reference": GREY}  # of systems; see evaluation/kinds.py
DASHED = (0, (4, 3))


def panels(count: int, height: float, columns: int = 3, **shared: bool) -> tuple[Figure, list[Axes]]:
    """A figure with `count` panels of one size, `height` inches, `columns` in a row; the last row may hold fewer."""
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(10, 0.2 + height * rows), layout="constrained")
    grid = list(figure.subplots(rows, columns, squeeze=False, **shared).flat)
    for axes in grid[count:]:
        axes.set_visible(False)
    return figure, grid[:count]


def shorten(name: str) -> str:
    return name if len(name) <= 22 else name[:21] + "…"


def space_out(heights: np.ndarray, least: float) -> np.ndarray:
    """Heights moved up as little as it takes for neighbours to lie at least `least` apart."""
    order = np.argsort(heights, kind="stable")
    steps = least * np.arange(len(heights))
    moved = np.empty(len(heights))
    moved[order] = np.maximum.accumulate(heights[order] - steps) + steps
    return moved


def svg(figure: Figure) -> Markup:
    """An <svg> element that templates do not escape, in the page's colours."""
    buffer = io.StringIO()
    figure.get_layout_engine().execute(figure)
    figure.set_layout_engine("none")  # else savefig would draw all of it twice, once for the layout
    figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    text = buffer.getvalue()
    for color, name in OF_THE_PAGE.items():
        text = text.replace(f": {color}", f": var(--{name})")
    return Markup(text[text.index("<svg") :])

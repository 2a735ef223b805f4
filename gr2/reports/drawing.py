"""How pictures look and become inline SVG: no dates, fixed ids, so the same data give the same bytes."""

import io
import math

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
    "axes.edgecolor": "#9aa1ab",
    "xtick.color": "#555c66",
    "ytick.color": "#22262b",
}
INK, SOFT, GREY, PALE = "#22262b", "#555c66", "#8a919c", "#d3d7dc"
OCHRE, BLUE, GREEN, RED = "#cf9a3d", "#3b76b5", "#3d8f5f", "#c05746"
DASHED = (0, (4, 3))


def panels(count: int, height: float, columns: int = 3, **shared: bool) -> tuple[Figure, list[Axes]]:
    """A figure with `count` panels, `columns` in a row, all of one size, `height` inches; the last row may stay open."""
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(10, 0.2 + height * rows), layout="constrained")
    grid = list(figure.subplots(rows, columns, squeeze=False, **shared).flat)
    for axes in grid[count:]:
        axes.set_visible(False)
    return figure, grid[:count]


def svg(figure: Figure) -> Markup:
    """An <svg> element that templates take as it is."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    text = buffer.getvalue()
    return Markup(text[text.index("<svg") :])

"""The report's pictures, each an inline SVG string: no dates, fixed ids, so the same data give the same bytes."""

import io
import math

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gr2.evaluation.metrics import MAIN

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
GREY, PALE, OCHRE, BLUE, GREEN, RED = "#8a919c", "#d3d7dc", "#cf9a3d", "#3b76b5", "#3d8f5f", "#c05746"
COLORS = {"input_order": GREY, "random": PALE, "oracle": PALE, "blend": OCHRE}  # any other system is blue
# Keys of the training log and what a reader calls them.
CURVES = {
    "reward": "mean reward",
    "promoted": "target promoted, share",
    "identity_rate": "input order copied, share",
    "kendall_tau": "Kendall's tau to the input",
    "valid": "valid answers, share",
    "zero_spread": "groups without spread, share",
    "completions/mean_length": "completion, tokens",
}


def metric_bars(systems: dict[str, dict], intervals: dict[str, dict]) -> str:
    """Bars of the main metrics with 95 % intervals, one panel a metric; a dashed line marks the input order."""
    names = list(systems)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(10, 1.5 + 0.46 * len(names)), layout="constrained")
        for axes, metric in zip(figure.subplots(2, 3, sharey=True).flat, MAIN, strict=True):
            values = [systems[name][metric] for name in names]
            axes.barh(range(len(names)), values, color=[COLORS.get(name, BLUE) for name in names], height=0.68)
            for row, name in enumerate(names):
                low, high = intervals[name][metric]
                if low is not None:
                    axes.plot([low, high], [row, row], color="#22262b", linewidth=1.1)
            axes.axvline(systems["input_order"][metric], color=GREY, linewidth=0.9, linestyle=(0, (4, 3)))
            axes.set_yticks(range(len(names)), _short(names))
            axes.set_title(metric, loc="left")
            axes.set_xlim(0, 1.02)
            axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", ".25", ".5", ".75", "1"])
            axes.tick_params(axis="y", length=0)
        figure.axes[0].invert_yaxis()  # shared: the first system on top, as in the table
        return _svg(figure)


def rank_change_histograms(changes: dict[str, np.ndarray]) -> str:
    """For each system the shares of slates by the places that the relevant item rose (green) or fell (red)."""
    furthest = max(1, *(int(np.abs(change).max()) for change in changes.values()))
    places = np.arange(-furthest, furthest + 1)
    colors = [RED if place < 0 else GREEN if place > 0 else PALE for place in places]
    with matplotlib.rc_context(STYLE):
        figure, panels = _panels(len(changes), height=2.0, sharex=True, sharey=True)
        for axes, (name, change) in zip(panels, changes.items(), strict=True):
            shares = 100 * np.array([(change == place).mean() for place in places])
            axes.bar(places, shares, color=colors, width=0.85)
            axes.set_title(_short([name])[0], loc="left")
            summary = f"rose {100 * (change > 0).mean():.0f} %\nfell {100 * (change < 0).mean():.0f} %"
            axes.text(0.98, 0.95, summary, transform=axes.transAxes, ha="right", va="top", color="#555c66")
            axes.set_xlabel("places up")
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.tick_params(labelbottom=True)
        for axes in panels[::3]:
            axes.set_ylabel("slates, %")
        return _svg(figure)


def training_curves(log: list[dict]) -> str | None:
    """One panel for each known key of the training log, against the step; None where it has none of them.

    Of a step that was logged twice, as after a resume, the later line counts.
    """
    points = {key: {line["step"]: line[key] for line in log if _is_number(line.get(key))} for key in CURVES}
    points = {key: sorted(rows.items()) for key, rows in points.items() if rows}
    if not points:
        return None
    with matplotlib.rc_context(STYLE):
        figure, panels = _panels(len(points), height=1.9)
        for axes, (key, rows) in zip(panels, points.items(), strict=True):
            steps, values = np.array(rows, dtype=float).T
            window = max(1, len(values) // 20)
            smooth = [values[max(0, i - window + 1) : i + 1].mean() for i in range(len(values))]
            axes.plot(steps, values, color=PALE, linewidth=1, marker="." if len(values) < 30 else None)
            axes.plot(steps, smooth, color=BLUE, linewidth=1.5)
            axes.set_title(CURVES[key], loc="left")
            axes.set_xlabel("step")
        return _svg(figure)


def _panels(count: int, height: float, **shared: bool) -> tuple[Figure, list[Axes]]:
    """A figure with `count` panels, three in a row, all of one size; the rest of the last row stays empty."""
    rows = math.ceil(count / 3)
    figure = Figure(figsize=(10, 0.2 + height * rows), layout="constrained")
    panels = list(figure.subplots(rows, 3, squeeze=False, **shared).flat)
    for axes in panels[count:]:
        axes.set_visible(False)
    return figure, panels[:count]


def _short(names: list[str]) -> list[str]:
    return [name if len(name) <= 22 else name[:21] + "…" for name in names]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    text = buffer.getvalue()
    return text[text.index("<svg") :]

"""The report's pictures, each an inline <svg> element."""

import math

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure

from gr2.evaluation.metrics import MAIN
from gr2.page.drawing import BLUE, DASHED, GREEN, GREY, INK, OCHRE, PALE, RED, SOFT, STYLE, panels, svg

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


def metric_bars(systems: dict[str, dict], intervals: dict[str, dict]) -> Markup:
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
                    axes.plot([low, high], [row, row], color=INK, linewidth=1.1)
            axes.axvline(systems["input_order"][metric], color=GREY, linewidth=0.9, linestyle=DASHED)
            axes.set_yticks(range(len(names)), _short(names))
            axes.set_title(metric, loc="left")
            axes.set_xlim(0, 1.02)
            axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", ".25", ".5", ".75", "1"])
            axes.tick_params(axis="y", length=0)
        figure.axes[0].invert_yaxis()  # shared: the first system on top, as in the table
        return svg(figure)


def rank_change_histograms(changes: dict[str, np.ndarray]) -> Markup:
    """For each system the shares of slates by the places that the relevant item rose (green) or fell (red)."""
    furthest = max(1, *(int(np.abs(change).max()) for change in changes.values()))
    places = np.arange(-furthest, furthest + 1)
    colors = [RED if place < 0 else GREEN if place > 0 else PALE for place in places]
    with matplotlib.rc_context(STYLE):
        figure, grid = panels(len(changes), height=2.0, sharex=True, sharey=True)
        for axes, (name, change) in zip(grid, changes.items(), strict=True):
            shares = 100 * np.array([(change == place).mean() for place in places])
            axes.bar(places, shares, color=colors, width=0.85)
            axes.set_title(_short([name])[0], loc="left")
            summary = f"rose {100 * (change > 0).mean():.0f} %\nfell {100 * (change < 0).mean():.0f} %"
            axes.text(0.98, 0.95, summary, transform=axes.transAxes, ha="right", va="top", color=SOFT)
            axes.set_xlabel("places up")
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.tick_params(labelbottom=True)
        for axes in grid[::3]:
            axes.set_ylabel("slates, %")
        return svg(figure)


def training_curves(log: list[dict]) -> Markup | None:
    """One panel for each known key of the training log, against the step; None where it has none of them.

    Of a step that was logged twice, as after a resume, the later line counts.
    """
    points = {key: {line["step"]: line[key] for line in log if _is_number(line.get(key))} for key in CURVES}
    points = {key: sorted(rows.items()) for key, rows in points.items() if rows}
    if not points:
        return None
    with matplotlib.rc_context(STYLE):
        figure, grid = panels(len(points), height=1.9)
        for axes, (key, rows) in zip(grid, points.items(), strict=True):
            steps, values = np.array(rows, dtype=float).T
            window = max(1, len(values) // 20)
            smooth = [values[max(0, i - window + 1) : i + 1].mean() for i in range(len(values))]
            axes.plot(steps, values, color=PALE, linewidth=1, marker="." if len(values) < 30 else None)
            axes.plot(steps, smooth, color=BLUE, linewidth=1.5)
            axes.set_title(CURVES[key], loc="left")
            axes.set_xlabel("step")
        return svg(figure)


def _short(names: list[str]) -> list[str]:
    return [name if len(name) <= 22 else name[:21] + "…" for name in names]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)

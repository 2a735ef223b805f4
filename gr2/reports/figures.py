"""Pictures of the reranking report, each an inline <svg> element."""

import itertools
import math

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gr2.reports.drawing import (
    BLUE,
    DASHED,
    GREEN,
    GREY,
    INK,
    KINDS,
    OCHRE,
    PALE,
    RED,
    SOFT,
    STYLE,
    panels,
    shorten,
    svg,
)

COMPUTED = {"input_order": GREY, "random": PALE, "oracle": PALE}  # others have the colour of their kind
LINES = (BLUE, RED, OCHRE, GREEN)  # of several training runs; more than four are dashed
# Keys of the training log, and their titles.
CURVES = {
    "reward": "mean reward",
    "identity_rate": "input order copied, share",
    "promoted": "target promoted, share",
    "kendall_tau": "Kendall's tau to the input",
    "valid": "valid answers, share",
    "zero_spread": "groups without spread, share",
    "completions/mean_length": "completion, tokens",
}


def metric_bars(
    systems: dict[str, dict], intervals: dict[str, dict], main: tuple[str, ...], kinds: dict[str, str]
) -> Markup:
    """Bars of the main metrics with 95 % intervals, a panel per metric in two rows; dashed: the input order."""
    names = list(systems)
    colors = [COMPUTED.get(name) or KINDS[kinds[name]] for name in names]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(10, 1.5 + 0.46 * len(names)), layout="constrained")
        grid = figure.subplots(2, (len(main) + 1) // 2, sharey=True).flatten()
        for axes in grid[len(main) :]:
            axes.set_axis_off()
        for axes, metric in zip(grid, main, strict=False):
            values = [systems[name][metric] for name in names]
            axes.barh(range(len(names)), values, color=colors, height=0.68)
            for row, name in enumerate(names):
                low, high = intervals[name][metric]
                if low is not None:
                    axes.plot([low, high], [row, row], color=INK, linewidth=1.1)
            axes.axvline(systems["input_order"][metric], color=GREY, linewidth=0.9, linestyle=DASHED)
            axes.set_yticks(range(len(names)), [shorten(name) for name in names])
            axes.set_title(metric, loc="left")
            axes.set_xlim(0, 1.02)
            axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", ".25", ".5", ".75", "1"])
            axes.tick_params(axis="y", length=0)
        figure.axes[0].invert_yaxis()  # shared: the first system on top, as in the table
        return svg(figure)


def rank_change_histograms(changes: dict[str, np.ndarray]) -> Markup:
    """For each system the share of slates by how many ranks the relevant item rose (green) or fell (red)."""
    furthest = max(1, *(int(np.abs(change).max()) for change in changes.values()))
    steps = np.arange(-furthest, furthest + 1)
    colors = [RED if step < 0 else GREEN if step > 0 else PALE for step in steps]
    with matplotlib.rc_context(STYLE):
        figure, grid = panels(len(changes), height=2.0, sharex=True, sharey=True)
        for axes, (name, change) in zip(grid, changes.items(), strict=True):
            shares = 100 * np.array([(change == step).mean() for step in steps])
            axes.bar(steps, shares, color=colors, width=0.85)
            axes.set_title(shorten(name), loc="left")
            summary = f"rose {100 * (change > 0).mean():.0f} %\nfell {100 * (change < 0).mean():.0f} %"
            axes.text(0.98, 0.95, summary, transform=axes.transAxes, ha="right", va="top", color=SOFT)
            axes.set_xlabel("places up")
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.tick_params(labelbottom=True)
        grid[0].set_ylim(top=1.3 * grid[0].get_ylim()[1])  # shared: room for the summaries above the bars
        for axes in grid[::3]:
            axes.set_ylabel("slates, %")
        return svg(figure)


def training_curves(logs: dict[str, list[dict]]) -> Markup | None:
    """A panel for each of CURVES in the training logs, against the step, with a line per log; None if none is there."""
    points = {key: {name: _points(log, key) for name, log in logs.items()} for key in CURVES}
    points = {key: {name: rows for name, rows in lines.items() if len(rows)} for key, lines in points.items()}
    points = {key: lines for key, lines in points.items() if lines}
    if not points:
        return None
    styles = dict(zip(logs, itertools.cycle(itertools.product(("-", DASHED), LINES))))
    with matplotlib.rc_context(STYLE):
        figure, grid = panels(len(points), height=1.9)
        for axes, (key, lines) in zip(grid, points.items(), strict=True):
            for name, rows in lines.items():
                steps, values = rows.T
                dashes, color = styles[name]
                window = max(1, len(values) // 20)
                smooth = [values[max(0, i - window + 1) : i + 1].mean() for i in range(len(values))]
                pale = PALE if len(logs) == 1 else (color, 0.3)
                axes.plot(steps, values, color=pale, linewidth=1, marker="." if len(values) < 30 else None, zorder=1)
                axes.plot(steps, smooth, color=color, linewidth=1.5, linestyle=dashes)
            axes.set_title(CURVES[key], loc="left")
            axes.set_xlabel("step")
            if CURVES[key].endswith("share"):
                axes.set_ylim(-0.03, 1.03)
        if len(logs) > 1:
            handles = [Line2D([], [], color=color, linestyle=dashes, label=shorten(name))
                       for name, (dashes, color) in styles.items()]  # fmt: skip
            columns = min(4, len(handles))
            figure.legend(handles=handles, loc="outside upper left", ncols=columns, frameon=False, fontsize=10)
        return svg(figure)


def _points(log: list[dict], key: str) -> np.ndarray:
    """(step, value) rows, float [n, 2], by step; of a step that was logged twice, after a resume, the last."""
    rows = {line["step"]: line[key] for line in log if _is_number(line["step"]) and _is_number(line.get(key))}
    return np.array(sorted(rows.items()), dtype=float)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)

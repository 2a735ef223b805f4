"""The picture of quality against cost, an inline <svg> element."""

import itertools

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gr2.reports.drawing import DASHED, GREEN, GREY, INK, KINDS, PAPER, STYLE, shorten, space_out, svg

NEAR = 0.1  # of the picture's width: names of points nearer than this could lie on each other


def cost_picture(results: dict, metric: str) -> Markup | None:
    """`metric` with its interval against milliseconds a slate, logarithmic, with the frontier; None where no system has
    a time.
    """
    systems, costs = results["systems"], results["costs"]
    names = [name for name in costs if costs[name]["ms"] is not None and costs[name]["ms"] > 0]
    if not names:
        return None
    times = {name: costs[name]["ms"] for name in names}
    values = {name: systems[name][metric] for name in names}
    floor = systems["input_order"][metric]
    first, last = 0.6 * min(times.values()), 1.7 * max(times.values())
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(10, 4.4), layout="constrained")
        axes = figure.subplots()
        axes.set_xscale("log")
        axes.set_xlim(first, last * (last / first) ** 0.2)  # room for the names
        axes.xaxis.set_major_formatter(lambda value, position: f"{value:g}")
        axes.xaxis.set_minor_formatter(lambda value, position: "")
        axes.axhline(floor, color=GREY, linewidth=0.9, linestyle=DASHED, zorder=0)
        axes.annotate("input order", (first, floor), (3, 3), textcoords="offset points", color=GREY)
        frontier = [name for name in results["frontier"] if name in times]
        steps = [first, *(times[name] for name in frontier), axes.get_xlim()[1]]
        heights = [floor, *(values[name] for name in frontier)]
        axes.step(steps, [*heights, heights[-1]], where="post", color=GREEN, linewidth=1.6, zorder=1)
        for name in names:
            low, high = results["intervals"][name][metric]
            color = KINDS[results["kinds"][name]]
            if low is not None:
                axes.plot([times[name]] * 2, [low, high], color=color, linewidth=1.1, zorder=2)
            axes.plot(times[name], values[name], "o", color=color, markersize=6, zorder=3)
        label_points(axes, times, values)
        axes.set_xlabel("milliseconds a slate, in batches")
        axes.set_title(f"{metric}: language models blue, others learned ochre, rules grey; frontier green", loc="left")
        return svg(figure)


def label_points(axes: Axes, times: dict[str, float], values: dict[str, float]) -> None:
    """Names right of their points; of points near each other in one column, each name tied to its point by a line."""
    (first, last), (bottom, top) = np.log(axes.get_xlim()), axes.get_ylim()
    names = sorted(times, key=lambda name: times[name])
    near = [np.log(times[after] / times[name]) < NEAR * (last - first) for name, after in itertools.pairwise(names)]
    for group in np.split(names, 1 + np.flatnonzero(~np.array(near, dtype=bool))):
        column = max(times[name] for name in group) * np.exp(0.012 * (last - first))
        heights = np.array([values[name] for name in group]) + 0.025 * (top - bottom)  # above the frontier's line
        moved = space_out(heights, 0.055 * (top - bottom))
        for name, place in zip(group, moved - (moved - heights).mean(), strict=True):
            point = times[name], values[name]
            axes.plot([point[0], column], [point[1], place], color=GREY, linewidth=0.5, zorder=1)
            paper = {"facecolor": PAPER, "edgecolor": "none", "pad": 0.8}  # over the frontier's line
            axes.text(column, place, shorten(name), va="center", color=INK, bbox=paper, zorder=4)

"""The report of a full-catalogue evaluation: `report.html`, and the table on the terminal."""

import matplotlib
import numpy as np
from markupsafe import Markup

from gr2.evaluation.retrieval import KS, METRICS
from gr2.reports.drawing import BLUE, GREEN, GREY, GRID, INK, OCHRE, RED, SOFT, STYLE, panels, shorten, space_out, svg
from gr2.reports.render import render_page
from gr2.reports.terminal import print_systems

COLORS = (BLUE, OCHRE, GREEN, RED, SOFT, GREY)
SHOWN = tuple(metric for metric in METRICS if metric != "ndcg@1")  # NDCG@1 is recall@1
LABEL = 0.065  # height of a line's name, as a share of the picture's
TITLES = {"popularity": "by the target's pretrain events", "history": "by the length of the history"}


def render(results: dict, curves: dict[str, np.ndarray], making: dict[str, dict]) -> str:
    """The page. results: the content of metrics.json; curves: recall [50] at depths 1 to 50; making: how each system's
    lists were made, see `evaluation.retrieval.read_making`.
    """
    best = max(results["systems"], key=lambda name: results["systems"][name]["ndcg@10"])
    return render_page(
        "retrieval.html.j2",
        results=results,
        metrics=SHOWN,
        best=best,
        top={metric: max(system[metric] for system in results["systems"].values()) for metric in SHOWN},
        making=making,
        titles=TITLES,
        pictures={"curves": recall_curves(curves), "buckets": bucket_bars(results["buckets"])},
    )


def recall_curves(curves: dict[str, np.ndarray]) -> Markup:
    """Recall by depth of the list: the ceiling of a reranker of the first K."""
    with matplotlib.rc_context(STYLE):
        figure, (axes,) = panels(1, 3.4, columns=1)
        for index, curve in enumerate(curves.values()):
            axes.plot(np.arange(1, len(curve) + 1), curve, color=COLORS[index % len(COLORS)], linewidth=1.6)
        axes.set_xlim(1, max(KS))
        axes.set_ylim(0)
        top = axes.get_ylim()[1]
        heights = space_out(np.array([curve[-1] for curve in curves.values()]) / top, LABEL) * top
        for index, (name, height) in enumerate(zip(curves, heights, strict=True)):
            look = {"va": "center", "color": COLORS[index % len(COLORS)], "annotation_clip": False}
            axes.annotate(shorten(name), (max(KS), height), xytext=(5, 0), textcoords="offset points", **look)
        axes.set_xticks([1, 5, 10, 20, 30, 40, 50])
        axes.set_xlabel("depth K of the list")
        axes.set_title("recall@K: the ceiling of a reranker that is given the first K", loc="left")
        axes.grid(axis="y", color=GRID, linewidth=0.7)
        return svg(figure)


def bucket_bars(buckets: dict[str, dict]) -> Markup:
    """Recall@10 by bucket with intervals, one panel a kind of bucket."""
    with matplotlib.rc_context(STYLE):
        figure, grid = panels(len(buckets), 3.2, columns=2)
        for axes, (kind, found) in zip(grid, buckets.items(), strict=True):
            systems = list(next(iter(found.values()))["systems"])
            width = 0.8 / len(systems)
            for index, name in enumerate(systems):
                rows = [part["systems"][name]["recall@10"] for part in found.values()]
                centres = np.arange(len(found)) + (index - (len(systems) - 1) / 2) * width
                color, values = COLORS[index % len(COLORS)], [row["value"] for row in rows]
                axes.bar(centres, values, width * 0.9, color=color, label=shorten(name))
                for centre, row in zip(centres, rows, strict=True):
                    if row["interval"][0] is not None:
                        axes.plot([centre, centre], row["interval"], color=INK, linewidth=0.8)
            names = [f"{name}\nn = {part['positions']:,}" for name, part in found.items()]
            axes.set_xticks(range(len(found)), names, fontsize=7.5)
            axes.set_title(f"recall@10 {TITLES[kind]}", loc="left")
        handles, labels = grid[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=4, frameon=False, fontsize=8)
        return svg(figure)


def print_table(results: dict) -> None:
    counts = {name: f"{results[name]:,}" for name in ("positions", "users", "items")}
    title = f"{counts['positions']} {results['split']} positions of {counts['users']} users, {counts['items']} items"
    shown = ("recall@1", "recall@5", "recall@10", "recall@50", "ndcg@5", "ndcg@10")
    rows = {}
    for name, system in results["systems"].items():
        low, high = results["intervals"][name]["recall@10"]
        interval = "–" if low is None else f"[{low:.4f}, {high:.4f}]"
        rows[name] = [*(f"{system[metric]:.4f}" for metric in shown), interval]
    columns = [metric.replace("recall", "R").replace("ndcg", "N") for metric in shown]
    print_systems(title, [*columns, "R@10 [95 %]"], rows)
    for name, count in results["without_list"].items():
        if count:
            print(f"{name}: no list for {count:,} of {counts['positions']} positions; each of these is a miss")

"""The quality page's pictures, each an inline <svg> element."""

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure

from gr2.reports.drawing import BLUE, DASHED, GREY, INK, NAVY, PALE, RED, STYLE, panels, svg

COLORS = ("#3b76b5", "#e08a2c", "#3d8f5f", "#c8443a", "#7d5ba6", "#23a6ab",
          "#d66fae", "#7a5137", "#a3b832", NAVY, "#f2a393", "#6cc1f2")  # fmt: skip
MAPPED = 2000  # items on the map
SMALL = 500  # for up to 500 items principal axes draw the map, which is fast; more items overlap on it


def code_usage(assigned: np.ndarray, codes: int) -> Markup:
    """A panel per level: items of each code, most used first; dashed: an even spread. assigned: [n, levels]."""
    levels = assigned.shape[1]
    with matplotlib.rc_context(STYLE):
        figure, grid = panels(levels, height=2.3, columns=min(levels, 4))
        for level, axes in enumerate(grid):
            counts = np.sort(np.bincount(assigned[:, level], minlength=codes))[::-1]
            axes.stairs(counts, fill=True, color=BLUE)
            axes.axhline(len(assigned) / codes, color=INK, linewidth=1, linestyle=DASHED)
            axes.set_title(f"level {level + 1}", loc="left")
            axes.set_xlim(0, codes)
            axes.set_xlabel("codes, most used first")
        grid[0].set_ylabel("items")
        return svg(figure)


def group_sizes(sizes: list[dict]) -> Markup:
    """Bars: how many groups of items shared an ID `before` (grey) and `after` (red) the assignment, by their `size`."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(10, 2.4), layout="constrained")
        axes = figure.subplots()
        places = np.arange(len(sizes))
        for shift, key, color in ((-0.2, "before", GREY), (0.2, "after", RED)):
            counts = [row[key] for row in sizes]
            bars = axes.bar(places + shift, counts, color=color, width=0.4, label=f"{key} the assignment")
            axes.bar_label(bars, [f"{count:,}" for count in counts], padding=2, color=INK)
        axes.set_xticks(places, [row["size"] for row in sizes])
        axes.tick_params(axis="x", length=0)
        axes.set_xlabel("items that share one ID")
        axes.set_ylabel("such groups")
        axes.margins(y=0.15)
        axes.legend(frameon=False)
        return svg(figure)


def item_map(assigned: np.ndarray, vectors: np.ndarray, seed: int = 0) -> Markup:
    """Items [n, d] as dots on a plane, at most 2,000; those of the most used first codes are coloured."""
    first = assigned[:, 0]
    counts = np.bincount(first)
    shown = [code for code in np.argsort(-counts, kind="stable")[: len(COLORS)] if counts[code]]
    rows = np.random.default_rng(seed).permutation(len(vectors))[:MAPPED]
    places, first = plane(vectors[rows], seed), first[rows]
    dots = {"linestyle": "none", "marker": "o", "markeredgewidth": 0}
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(10, 5.6), layout="constrained")
        axes = figure.subplots()
        others = ~np.isin(first, shown)
        if others.any():
            axes.plot(*places[others].T, color=PALE, markersize=2.6, label="other first codes", **dots)
        for code, color in zip(shown, COLORS, strict=False):
            label = f"code {code}: {counts[code]:,} items"
            axes.plot(*places[first == code].T, color=color, markersize=4.2, label=label, **dots)
        axes.set_axis_off()
        axes.set_aspect("equal", adjustable="datalim")
        figure.legend(loc="outside right center", frameon=False, markerscale=1.8)
        return svg(figure)


def plane(vectors: np.ndarray, seed: int) -> np.ndarray:
    """From [n, d] to [n, 2], near vectors to near places: principal axes for few vectors, t-SNE for more."""
    places = principal_axes(vectors)
    spread = places[:, 0].std()
    if len(vectors) <= SMALL or spread == 0:
        return places
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):  # threads add up in any order, so the bytes would vary
        return TSNE(init=1e-4 * places / spread, max_iter=500, random_state=seed).fit_transform(vectors)


def principal_axes(vectors: np.ndarray) -> np.ndarray:
    """The two directions of largest variance, [n, 2]; each axis points to where its farthest vector lies."""
    left, scale, _ = np.linalg.svd(vectors - vectors.mean(axis=0), full_matrices=False)
    places = np.zeros((len(vectors), 2), np.float32)  # stays 0 where there is no second direction
    places[:, : len(scale)] = (left * scale)[:, :2]
    farthest = places[np.abs(places).argmax(axis=0), [0, 1]]
    return places * np.where(farthest < 0, -1, 1)

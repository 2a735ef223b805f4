"""How long the page of `gr2 browse` takes to open in a headless Chromium, by slates and systems.

    python -m benchmarks.browse                        # synthetic runs of several sizes
    python -m benchmarks.browse --page runs/beauty/browse.html

From the start of the navigation to the first drawing of list and slate, by the performance API; the median of --rounds
loads, each of which reads, inflates and parses the file again. Beside it the main thread's own time, which another
load on the machine does not lengthen, the page's size, and the heap after it. Exit code 1 where 3,000 slates with 6
systems take 2 s or longer. docs/browse.md has what it printed.
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np

from gr2.browse.page import render
from tests.browser import Browser

SIZES = ((3000, 6, 10), (3000, 6, 50), (5000, 6, 50), (5000, 12, 50))  # slates, systems, candidates
ITEMS, HISTORY, FACTS, LIMIT = 12_000, 20, 20, 2.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", type=Path, nargs="*", default=[], help="pages of your own")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        pages = {str(page): page.resolve() for page in options.page} or make_pages(Path(folder))
        browser = Browser(Path(folder) / "profile")
        print(f"{'':44}{'MB':>7}{'opens in, s':>13}{'main thread, s':>16}{'heap, MB':>10}")
        opened = {}
        for name, page in pages.items():
            opened[name], thread, heap = measure(browser, page, options.rounds)
            print(f"{name:44}{page.stat().st_size / 1e6:7.1f}{opened[name]:13.2f}{thread:16.2f}{heap / 1e6:10.0f}")
        browser.close()
    sys.exit(not options.page and opened[name_of(*SIZES[0])] >= LIMIT)


def measure(browser: Browser, page: Path, rounds: int) -> tuple[float, float, float]:
    """Medians over rounds: seconds until the page is drawn, of the main thread, and bytes of its heap."""
    browser.call("Performance.enable", timeDomain="threadTicks")
    rows = []
    for _ in range(rounds):
        browser.open(page.as_uri())
        browser.wait("performance.getEntriesByName('drawn').length > 0")
        metrics = {row["name"]: row["value"] for row in browser.call("Performance.getMetrics")["metrics"]}
        drawn = browser.run("performance.getEntriesByName('drawn')[0].startTime") / 1000
        rows.append((drawn, metrics["TaskDuration"], metrics["JSHeapUsedSize"]))
    return tuple(map(statistics.median, zip(*rows, strict=True)))


def make_pages(folder: Path) -> dict[str, Path]:
    pages = {name_of(*size): folder / f"{number}.html" for number, size in enumerate(SIZES)}
    for size, page in zip(SIZES, pages.values(), strict=True):
        page.write_text(render("synthetic", make_content(*size)))
    return pages


def name_of(slates: int, systems: int, candidates: int) -> str:
    return f"{slates:,} slates x {systems} systems, {candidates} candidates"


def make_content(slates: int, systems: int, candidates: int) -> dict:
    """What `collect` would give for a run of this size: random orders, titles of eight words."""
    rng = np.random.default_rng(0)
    words = [f"{'abcdefghijklmnop'[number % 16]}word{number}" for number in range(4000)]
    titles = [" ".join(words[at] for at in row) for row in rng.integers(4000, size=(ITEMS, 8))]
    labels = np.zeros((slates, candidates))
    labels[np.arange(slates), rng.integers(candidates, size=slates)] = 1
    orders = [rng.permuted(np.tile(np.arange(candidates), (slates, 1)), axis=1).tolist() for _ in range(systems)]
    scores = [write(rng.normal(size=(slates, candidates)).round(3)) for _ in range(systems)]
    return {
        "split": "test",
        "notes": [],
        "items": {
            "id": [str(item) for item in range(ITEMS)],
            "title": titles,
            "categories": [["Beauty", "Nails"]] * ITEMS,
            "sid": [f"<|sid_begin|><s_a_{item}><|sid_end|>" for item in range(ITEMS)],
        },
        "slates": {
            "id": [f"{slate}-1" for slate in range(slates)],
            "user": [str(slate) for slate in range(slates)],
            "history": rng.integers(ITEMS, size=(slates, HISTORY)).tolist(),
            "candidates": [rng.choice(ITEMS, candidates, replace=False).tolist() for _ in range(slates)],
            "labels": labels.astype(int).tolist(),
            "scores": write(rng.normal(size=(slates, candidates)).round(3)),
            "factNames": [f"fact_{number}" for number in range(FACTS)],
            "facts": [";".join(write(levels)) for levels in rng.integers(10, size=(slates, candidates, FACTS))],
            "sources": [],
        },
        "systems": [
            {"name": f"system_{at}", "order": order, "valid": [True] * slates, "score": score}
            for at, (order, score) in enumerate(zip(orders, scores, strict=True))
        ],
        "traces": [[]] * slates,
    }


def write(rows: np.ndarray) -> list[str]:
    return [" ".join(map(str, row)) for row in rows.tolist()]


if __name__ == "__main__":
    main()

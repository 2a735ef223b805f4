"""`quality.html`: how good semantic IDs are, for a reader; one file, no scripts."""

import math

import numpy as np

from gr2.reports import semantic_id_pictures as pictures
from gr2.reports.render import fixed, render_page, whole

SIZES = {"2": (2, 2), "3": (3, 3), "4": (4, 4), "5–9": (5, 9), "10–99": (10, 99), "100 or more": (100, math.inf)}


def render(facts: dict, assigned: np.ndarray, vectors: np.ndarray) -> str:
    """The page. `facts`: the content of quality.json; final codes `assigned`, int64 [n, levels]; `vectors`: [n, d]."""
    sizes = group_sizes(facts["collision_sizes_before_assignment"], facts["collision_sizes"])
    return render_page(
        "semantic_ids.html.j2",
        facts=facts,
        headline=headline(facts),
        log2_codes=math.log2(facts["codes"]),
        sizes=sizes,
        saving=saving(facts["added_distortion"], facts["added_distortion_of_random"]),
        prefixes=prefixes(facts["category_purity"], facts["neighbour_preservation"]),
        mapped=min(len(vectors), pictures.MAPPED),
        method="principal axes" if len(vectors) <= pictures.SMALL else "t-SNE",
        pictures={
            "usage": pictures.code_usage(assigned, facts["codes"]),
            "sizes": pictures.group_sizes(sizes) if sizes else None,
            "map": pictures.item_map(assigned, vectors),
        },
    )


def headline(facts: dict) -> dict[str, str]:
    """Whether every item has an ID of its own: a `tone` (good, bad) and the `text`."""
    if facts["collisions"] == 0:
        tone, verdict = "good", "all with an ID of their own"
    else:
        tone, verdict = "bad", f"of which {whole(facts['collisions'])} share their ID with another item"
    error = fixed(facts["reconstruction_error"])
    text = f"{whole(facts['items'])} items, {verdict}; squared error {error} of the vectors' energy."
    return {"tone": tone, "text": text}


def group_sizes(before: dict[str, int], after: dict[str, int]) -> list[dict]:
    """Rows of `size`, groups `before` and `after` the assignment; large sizes together, empty ones left out."""
    rows = []
    for name, (low, high) in SIZES.items():
        counts = [sum(count for size, count in sizes.items() if low <= int(size) <= high) for sizes in (before, after)]
        if any(counts):
            rows.append({"size": name, "before": counts[0], "after": counts[1]})
    return rows


def saving(added: float, random: float) -> str | None:
    """What the assignment spares of the distortion that random codes add; None where they add none."""
    if random <= 0:
        return None
    change = round(100 * (1 - added / random))
    return f"{abs(change)} % {'less' if change >= 0 else 'more'}"


def prefixes(purity: list[dict] | None, neighbours: list[dict]) -> list[dict]:
    """Rows by prefix length: `purity` and `neighbours`, each a dict of `share` and `by_chance` or None."""
    by_length = [{row["prefix"]: row for row in rows} for rows in (purity or [], neighbours)]
    lengths = sorted(set().union(*by_length))
    return [{"length": n, "purity": by_length[0].get(n), "neighbours": by_length[1].get(n)} for n in lengths]

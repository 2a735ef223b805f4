"""How many slates there are, and how many were left out and why: the table of a report, for each protocol."""

from gr2.evaluation.coverage import recall_ceiling

NO_CEILING = "Nothing was retrieved, so there is no recall ceiling"
ABOUT = {
    "next": "A slate exists only where the pre-ranker's list holds the target. The metrics above are about those "
    "slates, not about all positions: over all positions no reranker reaches more than the recall ceiling, the share "
    "of positions that have a slate.",
    "later": f"The relevant items were put into every slate. {NO_CEILING}: the metrics say how well the candidates are "
    "ordered, not how often a user would be shown what they take next.",
    "impressions": "A slate is a stretch of what a user rated. A stretch is left out where every item is liked or none "
    f"is, since all orders of it are equally good. {NO_CEILING}.",
    "log": f"A slate is a request of the log. The metrics are about the requests with a click. {NO_CEILING}.",
}
POSITIONS, SHORT, SLATES = {"positions": "positions"}, {"short": "left out: list too short"}, {"slates": "slates"}
REPEATED = {"repeated": "left out: an item twice"}
HEADS = {  # by count of slates_report.json
    "next": POSITIONS | {"missed": "left out: target missed"} | SHORT | SLATES,
    "later": POSITIONS | REPEATED | SHORT | SLATES,
    "impressions": POSITIONS | REPEATED | SHORT | {"missed": "left out: all liked, or none"} | SLATES,
    "log": {"positions": "requests with a history"} | SHORT | SLATES | {"unclicked": "of them without a click"},
}


def tabulate_counts(report: dict | None) -> dict | None:
    """`about`, a paragraph; `heads`; and `rows` by split, a whole number for each head, and with `next` the ceiling."""
    if report is None:
        return None
    heads = HEADS[report["protocol"]]
    rows = {split: [counts.get(name, 0) for name in heads] for split, counts in report["splits"].items()}
    ceilings = {split: recall_ceiling(report, split) for split in rows} if report["protocol"] == "next" else None
    return {"about": ABOUT[report["protocol"]], "heads": [*heads.values()], "rows": rows, "ceilings": ceilings}

"""Which slates are explained."""

import polars as pl

from gr2.errors import InputError
from gr2.files.slates import Slate, read_slates
from gr2.traces.store import accepted_slates


def choose_slates(
    path: str, item_ids: pl.Series, split: str, skip: list[str], *, least_gain: int = 0, unlabelled: bool = False
) -> tuple[list[Slate], dict[str, int]]:
    """The slates of a split, in file order, and how many were left out for which reason.

    Left out are slates without a relevant candidate (unless `unlabelled`), those with an accepted trace in one of the
    traces.jsonl files `skip`, and those whose first relevant item cannot move up by `least_gain` ranks.
    """
    slates = read_slates(path, item_ids, split)
    if not slates:
        raise InputError(f"{path}: column 'split': expected slates of split '{split}', found none")
    done = accepted_slates(skip)
    labelled = [slate for slate in slates if unlabelled or slate.relevant]
    new = [slate for slate in labelled if slate.slate_id not in done]
    chosen = [slate for slate in new if not least_gain or slate.first_relevant(slate.candidates) >= least_gain]
    if new and not chosen:
        raise InputError(f"--least_gain {least_gain}: expected less; no relevant item can move up that many ranks")
    counts = {
        "slates_without_relevant_item": len(slates) - len(labelled),
        "slates_skipped": len(labelled) - len(new),
        "slates_without_room_to_gain": len(new) - len(chosen),
    }
    return chosen, counts

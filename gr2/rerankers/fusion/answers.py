"""Members' answers: their files, and whether they are what a fusion takes them for."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from gr2.data.teacher_rankings import read_whole_rankings
from gr2.errors import InputError
from gr2.files.artifacts import MANIFEST, read_json, read_manifest, stage_of
from gr2.files.rankings import TIMING_FILE, Ranking
from gr2.files.slates import Slate
from gr2.rerankers.origin import check_origin, find_origin
from gr2.rerankers.protocol import Reranker
from gr2.rerankers.record import kind_of
from gr2.rerankers.rules import NAMES

TEACH = ("rerank", "template", "traces", "distil")  # stages that turn the slates of a --split into what others learn


def ask(open_member: Callable[[str], Reranker], member: str, slates: list[Slate]) -> tuple[list[Ranking], float]:
    """A member's rankings, and the milliseconds that one took in the batches that it was asked in; the clock, which
    also counts what is loaded with the first slate, stands in where the rankings do not say.
    """
    reranker = open_member(member)
    started = time.monotonic()
    rankings = reranker.rank(slates)
    spent, known = 1000 * (time.monotonic() - started) / len(slates), mean_latency(rankings)
    return rankings, spent if known is None else known


def check_file(member: str, files: dict[str, str], path: str) -> None:
    """InputError where the manifest beside a rankings.parquet says that it is not this member's.

    files: the member's, as `digests` gives them.
    """
    origin = find_origin(path)
    if origin:
        check_origin(origin, f"--member_rankings {path}", member, files)


def read_answers(path: str, slates: Sequence[Slate]) -> list[Ranking]:
    """A member's rankings of these slates; InputError where one is missing."""
    return read_whole_rankings(path, slates, " (of the split that is asked for)")


def read_milliseconds(path: str, rankings: Sequence[Ranking]) -> float:
    """What an answer of the file took in its batch; InputError where neither it nor timing.json beside it says so."""
    known = mean_latency(rankings)
    if known is not None:
        return known
    timing = Path(path).parent / TIMING_FILE
    if not timing.exists():
        raise InputError(f"--member_rankings {path}: expected {TIMING_FILE} of `gr2 rerank` beside it; run it again")
    return read_json(timing)["ms_a_slate"]


def mean_latency(rankings: Sequence[Ranking]) -> float | None:
    """Milliseconds, of the rankings that say what they took; None where none does."""
    known = [ranking.latency_ms for ranking in rankings if ranking.latency_ms is not None]
    return sum(known) / len(known) if known else None


def refuse_member(member: str) -> None:
    """InputError for a fusion, and for a member that, by its manifests, learned from one, or from valid or test slates.

    A fusion learns from the valid split itself, so as a member it would know the labels; so would its student.
    """
    if member in NAMES:
        return
    if not Path(member).is_dir():
        raise InputError(f"--members {member}: expected a reranker's folder, or one of {', '.join(NAMES)}")
    if kind_of(member) == "fusion":
        raise InputError(f"--members {member}: expected its members in its place; a fusion has learned the valid split")
    folders, seen = [Path(member)], set()
    while folders:
        folder = folders.pop()
        if folder in seen or not (folder / MANIFEST).exists():
            continue
        seen.add(folder)
        manifest = read_manifest(folder / MANIFEST)
        split = manifest.get("config", {}).get("split", "train")
        taught_by = f"made of split {split}" if manifest.get("stage") in TEACH and split != "train" else None
        if manifest.get("stage") == "fit fusion":
            taught_by = "a fusion, which has learned the valid split"
        if taught_by:
            reason = f"it learned from {folder}, {taught_by}"
            raise InputError(f"--members {member}: {reason}; expected a reranker that knows the train split only")
        folders += filter(None, map(stage_of, manifest["inputs"]))

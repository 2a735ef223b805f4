"""A request as a slate of the catalogue's items, and the slate's ranking as an order of the request's candidates."""

import math
from dataclasses import dataclass

from gr2.files.rankings import Ranking
from gr2.files.slates import Slate
from gr2.serving.directory import Directory
from gr2.serving.messages import REPEATED, UNKNOWN, Answer, RankingJob, fall_back

NEW = "new item "  # the ids in a slate of items that the catalogue does not know; followed by the index


@dataclass(frozen=True)
class Lookup:
    """A request whose candidates were looked up."""

    job: RankingJob
    past: list[str]
    ids: list[str]  # the item ids of the candidates that can be ranked
    kept: list[int]  # their indices in the request
    marks: dict[int, str]  # index of each of the others -> why it keeps its place

    @property
    def new(self) -> dict[str, int]:
        """Those that the catalogue does not know -> their indices."""
        return {item_id: at for item_id, at in zip(self.ids, self.kept, strict=True) if item_id.startswith(NEW)}

    @property
    def adds_facts(self) -> bool:
        """Whether the request tells of candidates what the catalogue does not."""
        return bool(self.new) or any(self.job.features)

    @property
    def slate(self) -> Slate:
        given = {"scores": self.job.scores, "facts": self.job.facts, "sources": self.job.sources}
        parts = {name: [values[at] for at in self.kept] for name, values in given.items() if values}
        return Slate(self.job.number, self.past, self.ids, **parts)

    def refuse(self) -> Answer | None:
        """The input order, where nothing can be ranked."""
        count = len(self.job.candidates)
        if not self.past:
            return fall_back(
                count, "unknown_user", "Nothing is known about the user: no item of the history was found."
            )
        if not self.ids:
            return fall_back(count, "unknown_items", "None of the candidates is an item of the catalogue.")
        return None

    def arrange(self, ranking: Ranking) -> Answer:
        """The ranking in the request's terms; a candidate that was not ranked stands at its place of the input."""
        index = dict(zip(self.ids, self.kept, strict=True))
        ranked = [index[item_id] for item_id in ranking.ranking]
        scored = ranking.scores is not None and all(map(math.isfinite, ranking.scores))  # JSON knows no infinity
        scores = dict(zip(ranked, ranking.scores, strict=True)) if scored else None
        order, rest = [], iter(ranked)
        for place in range(len(self.job.candidates)):
            order.append(place if place in self.marks else next(rest))
        why = None if ranking.valid else f"The model's answer was unusable: {ranking.reason}."
        return Answer(
            order,
            scores and [scores.get(at) for at in order],
            self.marks,
            ranking.reasoning,
            None if ranking.completion_tokens is None else (ranking.prompt_tokens, ranking.completion_tokens),
            None if ranking.valid else "unusable",
            why,
        )


def look_up(job: RankingJob, directory: Directory, ranks_text: bool, ranks_features: bool) -> Lookup:
    """ranks_text, ranks_features: whether the reranker can rank an item of which nothing else is known."""
    ids, kept, marks, taken = [], [], {}, set()
    for at, word in enumerate(job.candidates):
        text = job.texts[at] if job.texts else None
        item_id = word if word in directory.texts else None
        if item_id is None and job.by_text:
            item_id = directory.find(word, taken) or directory.find(text or "", taken)
        if item_id is None:
            described = (ranks_text and text) or (ranks_features and job.features and job.features[at])
            item_id = f"{NEW}{at}" if described else None
        if item_id is None or item_id in taken:
            marks[at] = UNKNOWN if item_id is None else REPEATED
            continue
        taken.add(item_id)
        ids.append(item_id)
        kept.append(at)
    return Lookup(job, directory.read_past(job), ids, kept, marks)

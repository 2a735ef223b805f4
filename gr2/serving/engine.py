"""The process that holds the reranker: `python -m gr2.serving.engine FD` reads batches from a socket and answers them.

A process of its own, since an engine that hangs can only be killed, and one that dies must not take the server along.
It ends when the socket does.
"""

import copy
import gc
import os
import pickle
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from gr2.data.facts import Facts
from gr2.errors import InputError
from gr2.files.rankings import Ranking
from gr2.files.slates import Slate
from gr2.masking import mask
from gr2.prompts.render import needs_facts
from gr2.rerankers.fusion.reranker import Fusion
from gr2.rerankers.language_model import LanguageModel
from gr2.rerankers.open import open_reranker
from gr2.rerankers.prm.reranker import PRMReranker
from gr2.rerankers.protocol import FeatureScorer, Reranker
from gr2.rerankers.record import needs_scores, version_of
from gr2.rerankers.rules import NAMES
from gr2.serving import logs
from gr2.serving.candidates import Lookup, look_up
from gr2.serving.directory import read_directory
from gr2.serving.messages import LENGTH, Answer, EngineReady, EngineRefusal, RankingJob, fall_back
from gr2.serving.request_features import RequestFeatures
from gr2.serving.settings import Settings


class Engine:
    def __init__(self, settings: Settings):
        """InputError where the reranker cannot be opened, or was not fitted on these inputs."""
        inputs = settings.inputs
        self.directory = read_directory(inputs.items, inputs.interactions, settings.history)
        self.reranker = open_reranker(settings.reranker, inputs, settings.sampling)
        self.encode = open_encoder(settings.encoder) if settings.encoder else None
        reads_features = isinstance(self.reranker, FeatureScorer)
        self.ranks_text = reads_features and (self.encode is not None or not isinstance(self.reranker, PRMReranker))
        self.ranks_features = reads_features and not isinstance(self.reranker, PRMReranker)
        self.needs_scores = needs_scores(settings.reranker)
        self.facts = open_facts(settings, self.reranker)
        self.rank = rank_with(self.reranker, self.facts)
        self.warm_up()

    def warm_up(self) -> None:
        """Ranks a made-up slate, so that everything lazy is loaded; that slate may lack what the reranker reads."""
        if isinstance(self.reranker, LanguageModel):
            _ = self.reranker.sampler
        ids = list(islice(self.directory.texts, 5))
        with suppress(InputError):
            self.rank([Slate("the first", ids[:1], ids)])

    def answer(self, jobs: Sequence[RankingJob]) -> list[Answer]:
        """Never raises: what cannot be ranked gets the input order, marked."""
        answers: dict[str, Answer] = {}
        together = []
        for job in jobs:
            try:
                lookup = look_up(job, self.directory, self.ranks_text, self.ranks_features)
                refused = lookup.refuse()
                if refused:
                    answers[job.number] = refused
                elif lookup.adds_facts and isinstance(self.reranker, FeatureScorer):
                    answers[job.number] = self.answer_with_features(lookup)
                else:
                    together.append(lookup)
            except Exception as error:
                answers[job.number] = fail(job, error)
        for lookup, ranking in zip(together, self.rank_all([lookup.slate for lookup in together]), strict=True):
            failed = isinstance(ranking, Exception)
            answers[lookup.job.number] = fail(lookup.job, ranking) if failed else lookup.arrange(ranking)
        return [self.mark(job, answers[job.number]) for job in jobs]

    def mark(self, job: RankingJob, answer: Answer) -> Answer:
        """Says where the reranker took the candidates' scores for 0. It is no refusal: clients of texts send none."""
        given = job.features and all(one and "score" in one for one in job.features)
        given = job.scores or (given and isinstance(self.reranker, FeatureScorer))
        reads = self.needs_scores or (self.facts and "score" in self.facts.bounds and not job.facts)
        lacks = reads and not given and not answer.fallback
        return answer._replace(lacks="score") if lacks else answer

    def rank_all(self, slates: list[Slate]) -> list[Ranking | Exception]:
        """All at once; where that fails one after the other, so that a bad slate harms no other."""
        if not slates:
            return []
        try:
            return self.rank(slates)
        except Exception as error:
            if len(slates) == 1:
                return [error]
            return [self.rank_all([slate])[0] for slate in slates]

    def answer_with_features(self, lookup: Lookup) -> Answer:
        """With features of what the request tells."""
        slate, texts = lookup.slate, lookup.job.texts or [None] * len(lookup.job.candidates)
        titles = {item_id: texts[at] or "" for item_id, at in lookup.new.items()}
        features = lookup.job.features or [None] * len(lookup.job.candidates)
        given = {item_id: features[at] or {} for item_id, at in zip(lookup.ids, lookup.kept, strict=True)}
        reranker = copy.copy(self.reranker)
        whole = self.reranker.features
        reranker.features = RequestFeatures(whole, self.directory.texts, slate, titles, given, self.encode)
        return lookup.arrange(reranker.rank([slate])[0])


def fail(job: RankingJob, error: Exception) -> Answer:
    """The input order, with what a client may know of an error."""
    count = len(job.candidates)
    if isinstance(error, InputError):  # it lacks sources or facts that it reads, or is given too many candidates
        return fall_back(count, "refused", f"The reranker refused: {remove_paths(str(error))}")
    logs.write("engine_error", "error", error=logs.describe(error))
    return fall_back(count, "engine_failed", "The reranker failed on this request.")


def remove_paths(sentence: str) -> str:
    """With one full stop."""
    return " ".join("the reranker" if "/" in word else word for word in mask(sentence).split()).rstrip(".") + "."


def open_facts(settings: Settings, reranker: Reranker) -> Facts | None:
    """For a language model, also within a fusion, whose prompt shows facts: what adds them to requests without."""
    by_itself = isinstance(reranker, LanguageModel) and needs_facts(reranker.prompt)
    if not settings.levels or not (by_itself or isinstance(reranker, Fusion)):
        return None
    return Facts(settings.levels, settings.inputs.features(settings.reranker))


def rank_with(reranker: Reranker, facts: Facts | None) -> Callable[[list[Slate]], list[Ranking]]:
    """A language model's `rank` keeps the answers of a run that is interrupted; here it is asked directly."""
    add = facts.add if facts else list
    if isinstance(reranker, LanguageModel):
        return lambda slates: reranker.answer(reranker.shorten(add(slates)))
    return lambda slates: reranker.rank(add(slates))


def open_encoder(name: str) -> Callable:
    from sentence_transformers import SentenceTransformer

    from gr2.packaged_models import resolve

    model = SentenceTransformer(resolve(name))
    return lambda texts: model.encode(texts, normalize_embeddings=True, show_progress_bar=False)


def send(stream: BinaryIO, message: object) -> None:
    data = pickle.dumps(message)
    stream.write(LENGTH.pack(len(data)) + data)
    stream.flush()


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server decides when this process ends, after its last answer
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    stream = socket.socket(fileno=int(sys.argv[1])).makefile("rwb")
    settings: Settings = pickle.load(stream).follow_links()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what libraries print of slates is no business of the log's
    logs.take_over()
    if settings.threads:
        import torch

        torch.set_num_threads(settings.threads)
    version = version_of(settings.reranker) if settings.reranker in NAMES or Path(settings.reranker).is_dir() else ""
    with suppress(EOFError, pickle.UnpicklingError, ConnectionError):  # the server has ended
        try:
            engine = Engine(settings)
        except (InputError, OSError) as error:
            send(stream, EngineRefusal(str(error)))
        else:
            gc.collect()
            gc.freeze()  # what is loaded is never looked at again by the collector
            send(stream, EngineReady(version))
            while True:
                send(stream, engine.answer(pickle.load(stream)))
    os.dup2(1, 2)  # libraries complain as the interpreter ends


if __name__ == "__main__":
    main()

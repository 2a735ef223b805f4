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

from gr2.errors import InputError
from gr2.files.rankings import Ranking
from gr2.files.slates import Slate
from gr2.masking import mask
from gr2.rerankers.language_model import LanguageModel
from gr2.rerankers.open import open_reranker
from gr2.rerankers.prm.reranker import PRMReranker
from gr2.rerankers.protocol import FeatureScorer, Reranker
from gr2.rerankers.record import version_of
from gr2.rerankers.rules import NAMES
from gr2.serving import logs
from gr2.serving.asks import LENGTH, Answer, Ask, Opened, Refused, fall_back
from gr2.serving.candidates import Placed, look_up
from gr2.serving.directory import read_directory
from gr2.serving.settings import Settings
from gr2.serving.told import ToldFeatures


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
        self.rank = rank_with(self.reranker)
        self.warm_up()

    def warm_up(self) -> None:
        """Loads what is loaded with the first slate. One that nobody asked for may lack what the reranker reads."""
        if isinstance(self.reranker, LanguageModel):
            _ = self.reranker.sampler
        ids = list(islice(self.directory.texts, 5))
        with suppress(InputError):
            self.rank([Slate("the first", ids[:1], ids)])

    def answer(self, asks: Sequence[Ask]) -> list[Answer]:
        """Never raises: what cannot be ranked gets the input order, marked."""
        answers: dict[str, Answer] = {}
        together = []
        for ask in asks:
            try:
                placed = look_up(ask, self.directory, self.ranks_text, self.ranks_features)
                refused = placed.refuse()
                if refused:
                    answers[ask.number] = refused
                elif placed.told and isinstance(self.reranker, FeatureScorer):
                    answers[ask.number] = self.answer_told(placed)
                else:
                    together.append(placed)
            except Exception as error:
                answers[ask.number] = fail(ask, error)
        for placed, ranking in zip(together, self.rank_all([placed.slate for placed in together]), strict=True):
            failed = isinstance(ranking, Exception)
            answers[placed.ask.number] = fail(placed.ask, ranking) if failed else placed.arrange(ranking)
        return [answers[ask.number] for ask in asks]

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

    def answer_told(self, placed: Placed) -> Answer:
        """With features of what the request tells."""
        slate, texts = placed.slate, placed.ask.texts or [None] * len(placed.ask.candidates)
        titles = {item_id: texts[at] or "" for item_id, at in placed.new.items()}
        features = placed.ask.features or [None] * len(placed.ask.candidates)
        given = {item_id: features[at] or {} for item_id, at in zip(placed.ids, placed.kept, strict=True)}
        reranker = copy.copy(self.reranker)
        whole = self.reranker.features
        reranker.features = ToldFeatures(whole, self.directory.texts, slate, titles, given, self.encode)
        return placed.arrange(reranker.rank([slate])[0])


def fail(ask: Ask, error: Exception) -> Answer:
    """The input order, with what a client may know of an error."""
    count = len(ask.candidates)
    if isinstance(error, InputError):  # it lacks sources or facts that it reads, or is given too many candidates
        return fall_back(count, "refused", f"The reranker refused: {without_paths(str(error))}")
    logs.write("engine_error", "error", error=logs.describe(error))
    return fall_back(count, "engine_failed", "The reranker failed on this request.")


def without_paths(sentence: str) -> str:
    """With one full stop."""
    return " ".join("the reranker" if "/" in word else word for word in mask(sentence).split()).rstrip(".") + "."


def rank_with(reranker: Reranker) -> Callable[[list[Slate]], list[Ranking]]:
    """A language model's `rank` keeps the answers of a run that is interrupted; here it is asked directly."""
    if isinstance(reranker, LanguageModel):
        return lambda slates: reranker.answer(reranker.shorten(slates))
    return reranker.rank


def open_encoder(name: str) -> Callable:
    from sentence_transformers import SentenceTransformer

    from gr2.packaged import resolve

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
            send(stream, Refused(str(error)))
        else:
            gc.collect()
            gc.freeze()  # what is loaded is never looked at again by the collector
            send(stream, Opened(version))
            while True:
                send(stream, engine.answer(pickle.load(stream)))
    os.dup2(1, 2)  # libraries complain as the interpreter ends


if __name__ == "__main__":
    main()

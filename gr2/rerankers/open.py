"""Any reranker by its name or folder.

    reranker = require_scores(open_reranker(folder, Inputs(items, interactions, embeddings)), folder)
    rankings = reranker.rank(slates)

A new one is a file with a class that has `open` and `rank`, and a line of KINDS. Libraries that take seconds to import
are imported as a reranker is opened.
"""

from dataclasses import replace
from functools import partial

from gr2.errors import InputError
from gr2.rerankers.blend import Blend
from gr2.rerankers.fusion.reranker import Fusion
from gr2.rerankers.lambdamart import LambdaMART
from gr2.rerankers.language_model import LanguageModel
from gr2.rerankers.latent import Latent
from gr2.rerankers.list_writer.reranker import ListWriterReranker
from gr2.rerankers.on_ray import OnRay
from gr2.rerankers.one_pass.reranker import OnePassReranker
from gr2.rerankers.prm.reranker import PRMReranker
from gr2.rerankers.protocol import Inputs, OnScores, Reranker, Sampling
from gr2.rerankers.record import expect_folder, kind_of, needs_scores
from gr2.rerankers.rules import NAMES, Rule
from gr2.rerankers.sasrec import SASRecReranker

KINDS = {
    "blend": Blend,
    "lambdamart": LambdaMART,
    "prm": PRMReranker,
    "one_pass": OnePassReranker,
    "fusion": Fusion,
    "glorank": ListWriterReranker,
    "degre": ListWriterReranker,
    "goalrank": ListWriterReranker,
    "sasrec": SASRecReranker,
    "latent": Latent,
    "language model": LanguageModel,
} | dict.fromkeys(NAMES, Rule)


def open_reranker(name_or_folder: str, inputs: Inputs, sampling: Sampling | None = None) -> Reranker:
    """A rule by its name; anything else by the kind that its folder says. InputError for a missing input."""
    kind = name_or_folder
    if kind not in NAMES:
        expect_folder(name_or_folder)
        kind = kind_of(name_or_folder)
    if kind not in KINDS:
        raise InputError(f"--reranker {name_or_folder}: an {kind} ranks nothing; `gr2 fit degre` learns from it")
    sampling = sampling or Sampling()
    if sampling.engine == "ray" and kind != "language model":  # which keeps its answers here as they come
        in_worker = replace(sampling, engine=sampling.ray_engine, unfinished=None)
        return OnRay(partial(open_reranker, name_or_folder, inputs, in_worker), sampling)
    if kind == "fusion":  # its members keep no unfinished answers: they would share one file
        of_members = replace(sampling, unfinished=None)
        return Fusion(name_or_folder, inputs, partial(open_reranker, inputs=inputs, sampling=of_members), sampling)
    return KINDS[kind].open(name_or_folder, inputs, sampling)


def require_scores(reranker: Reranker, name_or_folder: str, where: str = "") -> Reranker:
    """The opened reranker; where it was fitted on scores, it then refuses slates without them."""
    return OnScores(reranker, name_or_folder, where) if needs_scores(name_or_folder) else reranker

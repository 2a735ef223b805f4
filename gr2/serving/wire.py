"""Each interface: a request as an `RankingJob`, and an `Answer` as the body that its clients read."""

import math
import uuid
from collections.abc import Callable
from typing import Any, NamedTuple

from pydantic import ValidationError

from gr2.serving import forms
from gr2.serving.forms import Candidate
from gr2.serving.messages import Answer, RankingJob
from gr2.serving.settings import Limits


class Refusal(Exception):
    """A request that is answered with a status and a sentence."""

    def __init__(self, status: int, sentence: str, **headers: str):
        super().__init__(sentence)
        self.status, self.sentence, self.headers = status, sentence, headers


class Interface(NamedTuple):
    path: str
    form: type[forms.Form]
    job: Callable[[Any], RankingJob]
    body: Callable[[Any, RankingJob, Answer, str], Any]  # request, job, answer, the model's version
    error: Callable[[str], dict[str, str]]


def check(job: RankingJob, limits: Limits) -> None:
    """Refusal where there are too many candidates or too long a text."""
    for name, values in (("candidates", job.candidates), ("items of the history", job.history or ())):
        if len(values) > limits.candidates:
            raise Refusal(422, f"Expected at most {limits.candidates} {name}, found {len(values)}.")
    texts = (*job.candidates, *filter(None, job.texts), *(job.history or ()), job.user or "")
    longest = max(map(len, texts))
    most_of_query = limits.text * limits.candidates  # it may be a whole history
    if longest > limits.text or len(job.query or "") > most_of_query:
        raise Refusal(422, f"Expected texts of at most {limits.text} characters, found {longest}.")


def read_slate_request(request: forms.SlateRequest) -> RankingJob:
    return make_job(request.candidates, user=request.user, history=request.history)


def read_documents(request: forms.CohereRequest | forms.RerankRequest) -> RankingJob:
    return make_job(list(map(read_document, request.documents)), query=request.query, by_text=True)


def read_texts(request: forms.TeiRequest) -> RankingJob:
    return make_job(list(map(read_document, request.texts)), query=request.query, by_text=True)


def read_document(document: str | Candidate) -> str | Candidate:
    """A document that is JSON, `{"id": ..., "text": ...}`, as a candidate; any other as it is."""
    if isinstance(document, str) and document.lstrip()[:1] == "{":
        try:
            return Candidate.model_validate_json(document)
        except ValidationError:
            return document
    return document


def make_job(candidates: list[str | Candidate], by_text: bool = False, **who: Any) -> RankingJob:
    """Refusal where some candidates have a score, facts or sources and others not."""
    number = uuid.uuid4().hex
    if all(isinstance(one, str) for one in candidates):
        return RankingJob(number, candidates, by_text=by_text, texts=candidates if by_text else (), **who)
    full = [Candidate(id=one, text=one if by_text else None) if isinstance(one, str) else one for one in candidates]
    return RankingJob(
        number,
        [one.text or "" if one.id is None else one.id for one in full],
        by_text=by_text,
        texts=[one.text for one in full],
        features=[one.features for one in full] if any(one.features for one in full) else (),
        scores=all_or_none([one.score for one in full], "a score"),
        facts=all_or_none([one.facts for one in full], "facts"),
        sources=all_or_none([one.sources for one in full], "sources"),
        **who,
    )


def all_or_none(values: list, what: str) -> list:
    missing = [at for at, value in enumerate(values) if value is None]
    if 0 < len(missing) < len(values):
        raise Refusal(422, f"candidates[{missing[0]}]: expected {what}, as other candidates have, found none.")
    return [] if missing else values


def slate_body(request: forms.SlateRequest, job: RankingJob, answer: Answer, version: str) -> dict:
    scores, marks = answer.scores or [None] * len(answer.order), answer.marks or {}
    ranking = [
        {"index": at, "id": job.candidates[at], "score": score} | ({"placed": marks[at]} if at in marks else {})
        for at, score in zip(answer.order, scores, strict=True)
    ]
    body = {"id": job.number, "model": version, "ranking": ranking[: request.top_n]}
    body["fallback"] = {"reason": answer.fallback, "why": answer.why} if answer.fallback else None
    body["lacks"] = answer.lacks
    if answer.tokens:
        body["tokens"] = dict(zip(("prompt", "completion"), answer.tokens, strict=True))
    return body | ({"trace": answer.trace} if request.with_trace else {})


def cohere_body(request: forms.CohereRequest, job: RankingJob, answer: Answer, version: str) -> dict:
    results = [{"index": at, "relevance_score": value} for at, value in relevances(answer)]
    meta = {"api_version": {"version": "2"}, "billed_units": {"search_units": 0}}
    return {"id": job.number, "results": results[: request.top_n], "meta": meta | warnings(answer)}


def rerank_body(request: forms.RerankRequest, job: RankingJob, answer: Answer, version: str) -> dict:
    results: list[dict] = [{"index": at, "relevance_score": value} for at, value in relevances(answer)]
    if request.return_documents is not False:
        for result in results:
            document = request.documents[result["index"]]
            text = document if isinstance(document, str) else document.text or document.id
            result["document"] = {"text": text}
    total = sum(answer.tokens or ())
    meta = {"api_version": {"version": "1"}, "billed_units": {"search_units": 0}}
    return {
        "id": job.number,
        "object": "list",
        "model": request.model or version,
        "usage": {"total_tokens": total, "prompt_tokens": total},
        "results": results[: request.top_n],
        "meta": meta | warnings(answer),
    }


def tei_body(request: forms.TeiRequest, job: RankingJob, answer: Answer, version: str) -> list[dict]:
    values = relevances(answer, raw=request.raw_scores)
    return [
        {"index": at, "score": value} | ({"text": request.texts[at]} if request.return_text else {})
        for at, value in values
    ]


def warnings(answer: Answer) -> dict[str, list[str]]:
    """Cohere's `meta.warnings`."""
    found = [f"{answer.fallback}: {answer.why} The order is that of the request."] if answer.fallback else []
    if answer.lacks:
        found.append(
            f"The reranker was fitted with a {answer.lacks} for each candidate; send it, or expect worse orders."
        )
    if answer.marks:
        places = ", ".join(f"{at} ({why})" for at, why in answer.marks.items())
        found.append(f"Documents that kept their place: {places}.")
    return {"warnings": found} if found else {}


def relevances(answer: Answer, raw: bool = False) -> list[tuple[int, float]]:
    """Index and relevance of each candidate, the best first, never rising: the score's sigmoid, or the score itself.

    Without scores 1, and less by 1 / K for each place. A candidate that kept its place has the value of its neighbour.
    """
    count = len(answer.order)
    if answer.scores is None:
        return [(at, 1 - place / count) for place, at in enumerate(answer.order)]
    known = [score for score in answer.scores if score is not None]
    last, values = known[0], []
    for score in answer.scores:
        last = last if score is None else score
        values.append(last if raw else sigmoid(last))
    return list(zip(answer.order, values, strict=True))


def sigmoid(score: float) -> float:
    return 1 / (1 + math.exp(-score)) if score >= 0 else math.exp(score) / (1 + math.exp(score))


INTERFACES = (
    Interface("/v1/slates", forms.SlateRequest, read_slate_request, slate_body, lambda why: {"message": why}),
    Interface("/v2/rerank", forms.CohereRequest, read_documents, cohere_body, lambda why: {"message": why}),
    Interface(
        "/v1/rerank", forms.RerankRequest, read_documents, rerank_body, lambda why: {"message": why, "detail": why}
    ),
    Interface(
        "/rerank", forms.TeiRequest, read_texts, tei_body, lambda why: {"error": why, "error_type": "Validation"}
    ),
)

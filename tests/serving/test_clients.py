"""The clients of the public interfaces get the answers that `gr2 rerank` writes."""

import math
import re
from dataclasses import replace
from pathlib import Path

import cohere
import httpx
import polars as pl
import pytest

from gr2.files.slates import Slate, read_slates
from gr2.rerankers.open import open_reranker
from gr2.rerankers.protocol import Inputs
from gr2.serving.wire import INTERFACES
from tests.serving.conftest import TOKEN, known, rerank


@pytest.fixture(scope="module")
def expected(world, fitted, tmp_path_factory) -> dict[str, dict]:
    return rerank(world, fitted / "blend", tmp_path_factory.mktemp("rerank"))


@pytest.fixture(scope="module")
def unscored(world, fitted) -> dict[str, dict]:
    """The same of slates without the retriever's scores, which texts have no place for."""
    slates = [replace(slate, scores=[]) for slate in read_slates(world.slates, split="test")]
    rankings = open_reranker(str(fitted / "blend"), Inputs(**known(world))).rank(slates)
    return {ranking.slate_id: vars(ranking) for ranking in rankings}


@pytest.fixture(scope="module")
def titles(world) -> dict[str, str]:
    return dict(pl.read_parquet(world.items).select("item_id", "title").iter_rows())


def candidates(slate: Slate) -> list:
    if not slate.scores:
        return slate.candidates
    return [{"id": item_id, "score": score} for item_id, score in zip(slate.candidates, slate.scores, strict=True)]


def relevance(scores: list[float]) -> list[float]:
    return [pytest.approx(1 / (1 + math.exp(-score)), abs=1e-9) for score in scores]


def test_slates(server, asked, expected):
    for slate in asked:
        body = {"history": slate.history, "candidates": candidates(slate)}
        answer = server.post("/v1/slates", body).json()
        row = expected[slate.slate_id]
        assert [entry["id"] for entry in answer["ranking"]] == row["ranking"]
        assert [entry["score"] for entry in answer["ranking"]] == pytest.approx(row["scores"], abs=1e-9)
        assert [slate.candidates[entry["index"]] for entry in answer["ranking"]] == row["ranking"]
        assert answer["fallback"] is answer["lacks"] is None and len(answer["model"]) == 12


@pytest.mark.parametrize("named_by", ["id", "title"])
def test_the_official_cohere_client_v2(server, asked, unscored, titles, named_by):
    client = cohere.ClientV2(api_key=TOKEN, base_url=server.url)
    names = titles if named_by == "title" else {item_id: item_id for item_id in titles}
    for slate in asked[:10]:
        documents, query = [names[item] for item in slate.candidates], "\n".join(names[item] for item in slate.history)
        answer = client.rerank(model="any", query=query, documents=documents, top_n=4)
        row = unscored[slate.slate_id]
        assert [slate.candidates[result.index] for result in answer.results] == row["ranking"][:4]
        assert [result.relevance_score for result in answer.results] == relevance(row["scores"][:4])
        (warning,) = answer.meta.warnings
        assert warning.startswith("The reranker was fitted with a score for each candidate; send it")


def test_the_official_cohere_client_v1(server, asked, unscored, titles):
    client = cohere.Client(api_key=TOKEN, base_url=server.url)
    slate = asked[0]
    documents = [{"text": titles[item_id], "id": item_id} for item_id in slate.candidates]
    query = "\n".join(slate.history)
    answer = client.rerank(model="any", query=query, documents=documents, return_documents=True)
    row = unscored[slate.slate_id]
    assert [result.document.text for result in answer.results] == [titles[item_id] for item_id in row["ranking"]]
    assert [result.relevance_score for result in answer.results] == relevance(row["scores"])


def test_cohere_sees_a_refusal_as_its_own(server):
    with pytest.raises(cohere.errors.UnauthorizedError):
        cohere.ClientV2(api_key="another", base_url=server.url).rerank(model="any", query="u", documents=["d"])
    with pytest.raises(cohere.errors.UnprocessableEntityError, match="Expected at most 200 candidates, found 201"):
        client = cohere.ClientV2(api_key=TOKEN, base_url=server.url)
        client.rerank(model="any", query="u", documents=["d"] * 201)


def test_jina(server, asked, unscored, titles):
    slate = asked[1]
    request = {
        "model": "jina-reranker-v3",
        "query": "\n".join(slate.history),
        "documents": [titles[item_id] for item_id in slate.candidates],
        "top_n": 3,
        "truncation": True,
    }
    answer = server.post("/v1/rerank", request).json()
    row = unscored[slate.slate_id]
    assert answer["model"] == "jina-reranker-v3" and answer["object"] == "list" and "total_tokens" in answer["usage"]
    assert [result["document"]["text"] for result in answer["results"]] == [titles[item] for item in row["ranking"][:3]]
    assert [result["relevance_score"] for result in answer["results"]] == relevance(row["scores"][:3])
    answer = server.post("/v1/rerank", request | {"return_documents": False}).json()
    assert answer["results"][0].keys() == {"index", "relevance_score"}


def test_tei(server, asked, unscored, titles):
    slate = asked[2]
    texts = [titles[item_id] for item_id in slate.candidates]
    request = {"query": "\n".join(slate.history), "texts": texts, "truncate": True, "truncation_direction": "Right"}
    row = unscored[slate.slate_id]
    answer = server.post("/rerank", request)
    assert [entry["score"] for entry in answer.json()] == relevance(row["scores"])
    assert len(answer.headers["x-gr2-model"]) == 12 and answer.headers["x-gr2-lacks"] == "score"
    answer = server.post("/rerank", request | {"raw_scores": True, "return_text": True}).json()
    assert [entry["score"] for entry in answer] == pytest.approx(row["scores"], abs=1e-9)
    assert [entry["text"] for entry in answer] == [titles[item_id] for item_id in row["ranking"]]
    assert server.post("/rerank", {"query": 1}).json()["error_type"] == "Validation"


def test_a_user_is_what_the_user_chose_last(server, world):
    events = pl.read_parquet(world.interactions).filter(user_id="user07").sort("position")["item_id"].to_list()
    films = [f"film{number:02d}" for number in range(12)]
    by_user = server.post("/v1/slates", {"user": "user07", "candidates": films}).json()
    by_history = server.post("/v1/slates", {"history": events[-20:], "candidates": films}).json()
    assert by_user["ranking"] == by_history["ranking"]
    for query in ("user07", '{"user": "user07"}', '{"history": ["%s"]}' % '", "'.join(events[-20:])):  # noqa: UP031
        answer = server.post("/v2/rerank", {"query": query, "documents": films}).json()
        assert [result["index"] for result in answer["results"]] == [entry["index"] for entry in by_user["ranking"]]


def test_what_is_not_known_is_answered_and_marked(server, asked):
    slate = asked[0]
    known = server.post("/v1/slates", {"history": slate.history, "candidates": slate.candidates[:4]}).json()["ranking"]
    mixed = [slate.candidates[0], "no such film", *slate.candidates[1:4], slate.candidates[0]]
    answer = server.post("/v1/slates", {"history": slate.history, "candidates": mixed}).json()
    assert [entry["id"] for entry in answer["ranking"] if "placed" not in entry] == [entry["id"] for entry in known]
    assert answer["ranking"][1] == {"index": 1, "id": "no such film", "score": None, "placed": "unknown"}
    assert answer["ranking"][5] | {"id": ""} == {"index": 5, "id": "", "score": None, "placed": "repeated"}
    warned = server.post("/v2/rerank", {"query": "\n".join(slate.history), "documents": [*mixed[:2], mixed[0]]})
    assert warned.json()["meta"]["warnings"][1:] == ["Documents that kept their place: 2 (repeated)."]
    for body, reason in (
        ({"user": "nobody", "candidates": slate.candidates}, "unknown_user"),
        ({"history": ["nothing"], "candidates": slate.candidates}, "unknown_user"),
        ({"history": slate.history, "candidates": ["a", "b"]}, "unknown_items"),
    ):
        answer = server.post("/v1/slates", body)
        assert answer.status_code == 200 and answer.json()["fallback"]["reason"] == reason
        assert [entry["index"] for entry in answer.json()["ranking"]] == list(range(len(body["candidates"])))
        assert answer.headers["x-gr2-fallback"] == reason


def test_a_new_item_is_ranked_by_its_text_or_its_features(server, asked):
    """The blend ranks by features; a title alone tells of words, given features of whatever they say."""
    slate = asked[0]
    body = {"history": slate.history, "candidates": [*slate.candidates[:3], {"id": "new", "text": "Comedy number 4"}]}
    answer = server.post("/v1/slates", body).json()
    assert all("placed" not in entry for entry in answer["ranking"])
    scores = {}
    for value in (0.0, 9.0):
        body["candidates"][3] = {"id": "new", "features": {"followed": value}}
        entries = server.post("/v1/slates", body).json()["ranking"]
        scores[value] = next(entry["score"] for entry in entries if entry["id"] == "new")
    assert scores[0.0] != scores[9.0] and None not in scores.values()


def test_metrics_and_health(server):
    assert server.client.get("/health").json() == {"status": "ok"} and server.is_ready()
    before = server.metric("gr2_requests_total", route="/rerank", status="422")
    server.post("/rerank", {})
    assert server.metric("gr2_requests_total", route="/rerank", status="422") == before + 1
    assert server.metric("gr2_request_seconds_count", route="/v1/slates") > 0
    assert server.metric("gr2_batch_size_count") > 0 and server.metric("gr2_ready") == 1
    assert server.metric("gr2_fallbacks_total", reason="unknown_user") > 0
    before = server.metric("gr2_copies_total")
    server.post("/v1/slates", {"user": "user01", "candidates": ["film01"]})
    assert server.metric("gr2_copies_total") == before + 1


def test_the_log_says_nothing_of_who_and_what(server, asked):
    server.post("/v2/rerank", {"query": "user07", "documents": ["film01", "a secret text"]})
    server.post("/v1/slates", {"user": {"secret": "a secret text"}, "candidates": ["film01"]})
    text = str(server.log)
    assert server.events("request") and not [word for word in ("user07", "film0", "secret", TOKEN) if word in text]


def test_the_routes_that_need_no_token_are_those_that_the_page_names(server):
    page = (Path(__file__).parents[2] / "docs/serve_operation.md").read_text()
    named = re.findall("`(/.*?)`", re.search("every route but (.*?) expects", page, re.DOTALL)[1])
    assert set(named) == {"/health", "/ready", "/metrics", "/openapi.json"}
    assert [httpx.get(server.url + path).status_code for path in named] == [200] * len(named)
    closed = ["/v1/reload", *(interface.path for interface in INTERFACES)]
    assert [httpx.post(server.url + path, json={}).status_code for path in closed] == [401] * len(closed)

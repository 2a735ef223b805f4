import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gr2.serving import forms, wire
from gr2.serving.messages import Answer, fall_back
from gr2.serving.settings import Limits


@given(st.lists(st.none() | st.floats(-1e6, 1e6), min_size=1).filter(lambda scores: any(s is not None for s in scores)))
def test_relevances_never_rise_and_lie_between_0_and_1(scores):
    known = iter(sorted((score for score in scores if score is not None), reverse=True))
    scores = [None if score is None else next(known) for score in scores]
    for raw in (False, True):
        found = wire.relevances(Answer(list(range(len(scores))), scores), raw)
        values = [value for _, value in found]
        assert [at for at, _ in found] == list(range(len(scores))) and values == sorted(values, reverse=True)
        assert raw or all(0 <= value <= 1 for value in values)
        assert not raw or all(value == score for value, score in zip(values, scores, strict=True) if score is not None)


def test_without_scores_relevance_falls_by_place():
    assert wire.relevances(fall_back(4, "deadline", "")) == [(0, 1.0), (1, 0.75), (2, 0.5), (3, 0.25)]


@pytest.mark.parametrize(("body", "sentence"), [
    ("{}", "candidates: expected a value, found none."),
    ("[1]", "The body: expected an object."),
    ("nonsense", "The body: expected JSON in UTF-8."),
    ('{"user": "u", "history": [], "candidates": ["a"]}', "The body: expected either a user or a history."),
    ('{"user": "u", "candidates": []}', "candidates: expected other values: list should have at least 1 item"),
    ('{"user": "u", "candidates": ["a"], "top_n": 0}', "top_n: expected greater than or equal to 1."),
    ('{"user": "u", "candidates": ["a"], "top_n": "3"}', "top_n: expected a valid integer."),
    ('{"user": "u", "candidates": [{}]}', "candidates[0]: expected an id or a text."),
    ('{"user": "u", "candidates": ["a", {"id": "b", "score": 1e400}]}', "candidates[1].score: expected"),
])  # fmt: skip
def test_a_wrong_request_is_explained_in_a_sentence(body, sentence):
    with pytest.raises(ValidationError) as error:
        forms.SlateRequest.model_validate_json(body)
    assert wire.forms.explain(error.value).startswith(sentence.rstrip(".")) and forms.explain(error.value).endswith(".")


def test_whole_numbers_are_ids():
    request = forms.SlateRequest.model_validate_json('{"user": 7, "candidates": [3, {"id": 4}, "5"]}')
    job = wire.read_slate_request(request)
    assert job.user == "7" and job.candidates == ["3", "4", "5"]


def test_a_document_that_is_json_is_a_candidate():
    job = wire.read_documents(
        forms.CohereRequest(query="u", documents=['{"id": "a", "score": 2}', '{"id": "b", "score": 1}'])
    )
    assert job.candidates == ["a", "b"] and list(job.scores) == [2, 1] and list(job.texts) == [None, None]
    job = wire.read_documents(forms.CohereRequest(query="u", documents=["{not json", '{"id": "b"}']))
    assert job.candidates == ["{not json", "b"]


def test_a_score_for_some_candidates_is_refused():
    request = forms.SlateRequest(user="u", candidates=["a", forms.Candidate(id="b", score=1.0)])
    with pytest.raises(wire.Refusal, match=r"candidates\[0\]: expected a score, as other candidates have, found none"):
        wire.read_slate_request(request)


def test_limits():
    request = forms.SlateRequest(history=["a" * 9], candidates=["b"] * 3)
    for limits, sentence in ((Limits(0, 2, 99), "at most 2 candidates, found 3"), (Limits(0, 3, 8), "at most 8 char")):
        with pytest.raises(wire.Refusal, match=sentence):
            wire.check(wire.read_slate_request(request), limits)
    wire.check(wire.read_slate_request(request), Limits(0, 3, 9))


def test_the_page_lists_the_fields_of_a_slate_request():
    page = (Path(__file__).parents[2] / "docs/serve.md").read_text()
    table = page.partition("| field | what it is |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(forms.SlateRequest.model_fields)

"""The sampler for OpenAI-style servers, against fake servers: real HTTP, no model behind it."""

import json
import time
from collections import Counter

import pytest
from fake_openai import FakeServer

from gr2.errors import InputError
from gr2.language_model import samplers_openai
from gr2.language_model.samplers import open_sampler

TEXTS = ("word", "the user", "a word and another word", "system", "for the", "word " * 14, "no, 1, 2, 3, 4")
CONVERSATIONS = [[{"role": "user", "content": text}] for text in TEXTS]
SCHEMA = {
    "type": "object",
    "properties": {"recommendations": {"type": "array", "items": {"enum": ["a", "b"]}, "uniqueItems": True}},
}


def ask(*servers: FakeServer, conversations=CONVERSATIONS, concurrency=3, temperature=0.0, max_tokens=9, schemas=None):
    urls = [server.url for server in servers]
    sampler = open_sampler("openai", "fake-model", base_url=urls, concurrency=concurrency, progress=False)
    return sampler.sample(conversations, seeds=range(len(conversations)), temperature=temperature, top_p=1.0,
                          max_tokens=max_tokens, schemas=schemas)  # fmt: skip


def test_openai_keeps_the_order_and_bounds_what_is_in_flight():
    def reply(request: dict) -> str:
        time.sleep(0.05 * (len(request["messages"][0]["content"]) % 3))
        return f"{request['seed']}"

    with FakeServer(reply) as server:
        samples = ask(server, temperature=0.5, max_tokens=9)
    assert [one.text for one in samples] == [str(seed) for seed in range(7)]
    assert (samples[0].finish_reason, samples[0].prompt_tokens, samples[0].completion_tokens) == ("stop", 7, 5)
    assert 1 < server.most_at_once <= 3
    sent = {(one["model"], one["temperature"], one["top_p"], one["max_tokens"]) for one in server.requests}
    assert sent == {("fake-model", 0.5, 1.0, 9)}


def test_openai_tries_again_after_a_server_error():
    failed = []

    def reply(request: dict) -> str | tuple[int, str]:
        if request["seed"] == 1 and not failed:
            failed.append(request)
            return 500, "the fake server stumbles once"
        return "fine"

    with FakeServer(reply) as server:
        assert [one.text for one in ask(server, conversations=CONVERSATIONS[:3])] == ["fine"] * 3
    assert len(server.requests) == 4


def test_openai_sends_the_schema_without_unique_items():
    with FakeServer(lambda request: "{}") as server:
        ask(server, conversations=CONVERSATIONS[:1], schemas=[SCHEMA])
    sent = server.requests[0]["response_format"]["json_schema"]
    assert sent["strict"] and sent["schema"]["properties"]["recommendations"]["items"] == {"enum": ["a", "b"]}
    assert "uniqueItems" not in json.dumps(sent)


def test_openai_names_what_the_server_refuses():
    with (
        FakeServer(lambda request: (400, "maximum context length is 96 tokens")) as server,
        pytest.raises(InputError, match="maximum context length is 96"),
    ):
        ask(server, conversations=CONVERSATIONS[:1])
    assert len(server.requests) == 1, "a refusal is not tried again"


def test_several_servers_share_the_requests():
    def reply(request: dict) -> str:
        time.sleep(0.02)
        return f"{request['seed']}"

    with FakeServer(reply) as one, FakeServer(reply) as two, FakeServer(reply) as three:
        samples = ask(one, two, three, conversations=CONVERSATIONS * 6, concurrency=2)
    assert [sample.text for sample in samples] == [str(seed) for seed in range(42)]
    asked = [request["seed"] for server in (one, two, three) for request in server.requests]
    assert sorted(asked) == list(range(42))
    for server in (one, two, three):
        assert server.most_at_once <= 2 and len(server.requests) > 5


def test_a_server_that_fails_is_left_out(monkeypatch, capsys):
    """Its requests go to the other; each is answered once."""
    monkeypatch.setattr(samplers_openai, "RETRIES", 1)

    def sick(request: dict) -> str | tuple[int, str]:
        return "fine" if len(bad.requests) <= 4 else (503, "the fake server is sick")

    with FakeServer(sick) as bad, FakeServer(lambda request: "fine") as good:
        samples = ask(bad, good, conversations=CONVERSATIONS * 6, concurrency=2)
    assert [sample.text for sample in samples] == ["fine"] * 42
    assert "503" in (said := capsys.readouterr().out) and "1 of 2 servers left" in said and bad.url in said
    assert len(bad.requests) <= 4 + 2 * 2, "two in flight, each tried twice, and nothing more"
    times = Counter(request["seed"] for request in good.requests)
    assert set(times.values()) == {1}


def test_when_no_server_is_left_the_run_says_so(monkeypatch):
    monkeypatch.setattr(samplers_openai, "RETRIES", 0)
    with FakeServer(lambda request: (500, "broken")) as one, FakeServer(lambda request: (500, "broken")) as two:
        with pytest.raises(InputError, match=r"no server is left that answers.*broken"):
            ask(one, two)
        closed = FakeServer(lambda request: "never asked")
        closed.url = "http://127.0.0.1:9/v1"
        with pytest.raises(InputError, match=r"no server is left that answers.*127\.0\.0\.1:9"):
            ask(closed)

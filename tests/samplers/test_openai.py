"""The sampler for OpenAI-style servers, against fake servers: real HTTP, no model behind it."""

import gc
import json
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from gr2 import errors
from gr2.errors import InputError
from gr2.samplers import openai as samplers_openai
from gr2.samplers.base import Request
from gr2.samplers.open import open_sampler
from tests.samplers.fake_openai import FakeServer, Odd, completion

TEXTS = ("word", "the user", "a word and another word", "system", "for the", "word " * 14, "no, 1, 2, 3, 4")
CONVERSATIONS = [[{"role": "user", "content": text}] for text in TEXTS]
SCHEMA = {
    "type": "object",
    "properties": {"recommendations": {"type": "array", "items": {"enum": ["a", "b"]}, "uniqueItems": True}},
}


def open_impatient(server: FakeServer, concurrency=3):
    """A sampler that waits for hundredths of seconds where it would for minutes."""
    sampler = open_sampler("openai", "fake-model", base_url=server.url, concurrency=concurrency)
    sampler.deadline, sampler.pause, sampler.longest_wait = 0.6, 0.01, 2.5
    return sampler


def ask(server: FakeServer, conversations=CONVERSATIONS, concurrency=3, **settings):
    settings = {"temperature": 0.0, "top_p": 1.0, "max_tokens": 9} | settings
    return open_impatient(server, concurrency).sample(conversations, seeds=range(len(conversations)), **settings)


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


def test_openai_refuses_scores_of_the_first_choice_before_it_asks():
    with FakeServer(lambda request: "{}") as server, pytest.raises(InputError, match="--order first: a chat server"):
        ask(server, conversations=CONVERSATIONS[:2], schemas=[SCHEMA] * 2, order="first")
    assert server.requests == []


def test_openai_names_what_the_server_refuses():
    with (
        FakeServer(lambda request: (400, "maximum context length is 96 tokens")) as server,
        pytest.raises(InputError, match="maximum context length is 96"),
    ):
        ask(server, conversations=CONVERSATIONS[:1])
    assert len(server.requests) == 1, "a refusal is not tried again"


def test_after_a_failure_what_is_in_flight_is_answered_and_nothing_more_is_sent(monkeypatch):
    """Three in flight: the first fails at once, the others answer later."""
    monkeypatch.setattr(samplers_openai, "RETRIES", 0)

    def reply(request: dict) -> str | tuple[int, str]:
        if request["seed"] == 0:
            return 503, "the fake server is sick"
        time.sleep(0.3)
        return "fine"

    with FakeServer(reply) as server:
        waiting = [Request(index, CONVERSATIONS[0], index, 0.0) for index in range(9)]
        answered = []
        with pytest.raises(errors.ServiceError, match=r"the server failed: http.*503.*sick; the same command goes on"):
            for some in open_impatient(server).stream(
                lambda room: [waiting.pop(0) for _ in range(min(room, len(waiting)))], top_p=1.0, max_tokens=9
            ):
                answered += [request.key for request, _ in some]
    assert sorted(answered) == [1, 2] and len(server.requests) == 3


def test_a_server_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr(samplers_openai, "RETRIES", 0)
    closed = FakeServer(lambda request: "never asked")
    closed.url = "http://127.0.0.1:9/v1"
    with pytest.raises(errors.ServiceError, match=r"the server failed: http://127\.0\.0\.1:9"):
        ask(closed)


RUBBISH = {
    "a page under 200": Odd("<html>Service is busy</html>", headers={"Content-Type": "text/html"}),
    "a page named JSON": Odd("<html>Service is busy</html>"),
    "broken JSON": Odd('{"choices": [{"mess'),
    "nothing": Odd(""),
    "a number": Odd("3"),
    "empty choices": Odd(completion("fine") | {"choices": []}),
    "null choices": Odd(completion("fine") | {"choices": None}),
    "an error under 200": Odd({"error": {"message": "Service is busy", "code": 503}}),
    "a null message": Odd(completion("fine", message=None)),
    "null content": Odd(completion(None)),
    "no content": Odd(completion("fine", message={"role": "assistant"})),
    "content that is no text": Odd(completion(["fine"])),
    "a tool call": Odd(completion(None, finish_reason="tool_calls")),
    "an answer broken off": Odd(completion("fi", finish_reason="abort")),
    "a page under 500": Odd("<html>Service is busy</html>", 500, {"Content-Type": "text/html"}),
    "a death in the middle": Odd(completion("fine"), cut=True),
}


@pytest.mark.parametrize("rubbish", RUBBISH.values(), ids=RUBBISH)
def test_rubbish_is_asked_again_and_never_counts_as_an_answer(rubbish, monkeypatch):
    with FakeServer(lambda request: rubbish if len(server.requests) == 1 else "fine") as server:
        assert [one.text for one in ask(server, conversations=CONVERSATIONS[:2])] == ["fine"] * 2
    assert len(server.requests) == 3
    monkeypatch.setattr(samplers_openai, "RETRIES", 1)
    with FakeServer(lambda request: rubbish) as bad, pytest.raises(errors.ServiceError, match="the server failed"):
        ask(bad)


def test_a_server_that_answers_rubbish_only_ends_the_run_with_one_sentence():
    rubbish = RUBBISH["an error under 200"]
    with FakeServer(lambda request: rubbish) as server, pytest.raises(errors.ServiceError) as complaint:
        ask(server, conversations=CONVERSATIONS[:1])
    message = str(complaint.value)
    assert message.startswith("the server failed: ") and "Service is busy" in message and "request 0" in message
    assert server.url in message and "\n" not in message
    assert len(server.requests) == samplers_openai.RETRIES + 1


@pytest.mark.parametrize("silent", [Odd("never", hang=30), Odd(" " * 1_000, drip=0.05)], ids=["hangs", "drips"])
def test_a_request_has_a_deadline_for_its_whole_answer(silent):
    """Both servers send nothing of use for ever; the second sends a byte now and then, so that no read times out."""
    with FakeServer(lambda request: silent if len(server.requests) == 1 else "fine") as server:
        assert ask(server, conversations=CONVERSATIONS[:1])[0].text == "fine", "it is asked once more"
    started = time.monotonic()
    with FakeServer(lambda request: silent) as server:
        with pytest.raises(errors.ServiceError, match=r"no whole answer within 0\.6 s"):
            ask(server, conversations=CONVERSATIONS[:1])
        assert 1.2 <= time.monotonic() - started < 5 and len(server.requests) == 2


def test_a_run_that_waits_says_what_for(capsys):
    def reply(request: dict) -> str | Odd:
        return Odd(completion("fine"), hang=0.4) if len(server.requests) > 1 else Odd("busy", 503)

    with FakeServer(reply) as server:
        sampler = open_impatient(server)
        sampler.notice = 0.15
        sampler.sample(CONVERSATIONS[:2], temperature=0.0, top_p=1.0, max_tokens=9, seeds=[0, 1])
    output = capsys.readouterr().out
    assert "no answer for 0.15 s, 2 requests in flight; last failure: " in output and "503, busy" in output


def test_retry_after_is_followed():
    in_a_moment = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
    for asked, least in ((in_a_moment, 0.5), ("0.3", 0.3), ("0", 0.0)):
        told = Odd("slow down", 429, {"Retry-After": asked})
        with FakeServer(lambda request, told=told: told if len(server.requests) == 1 else "fine") as server:
            started = time.monotonic()
            assert ask(server, conversations=CONVERSATIONS[:1])[0].text == "fine"
            assert least <= time.monotonic() - started < least + 3
        assert len(server.requests) == 2


def test_waiting_as_told_is_no_failed_try():
    told = Odd("slow down", 429, {"Retry-After": "0.02"})
    times = samplers_openai.RETRIES + 3
    with FakeServer(lambda request: told if len(server.requests) <= times else "fine") as server:
        assert ask(server, conversations=CONVERSATIONS[:1])[0].text == "fine"


@pytest.mark.parametrize("seconds", ["3600", "1"])
def test_a_server_that_asks_to_wait_too_long_has_failed(seconds):
    """An hour at once, or a second again and again: a request of this test waits 2.5 s in all."""
    told = Odd("slow down", 429, {"Retry-After": seconds})
    with FakeServer(lambda request: told) as server:
        with pytest.raises(
            errors.ServiceError, match=f"asks to wait {seconds} s, and a request waits at most 2.5 s in all"
        ):
            ask(server, conversations=CONVERSATIONS[:1])
        assert len(server.requests) == (1 if seconds == "3600" else 3)


@pytest.mark.parametrize("asked", ["soon", "", "nan", "inf", "Mon, 99 Foo 2026"])
def test_an_odd_retry_after_is_no_wait(asked):
    with FakeServer(
        lambda request: Odd("busy", 429, {"Retry-After": asked}) if len(server.requests) == 1 else "fine"
    ) as server:
        assert ask(server, conversations=CONVERSATIONS[:1])[0].text == "fine"


@pytest.mark.parametrize(
    ("answer", "text", "finish_reason"),
    [
        (completion("fine", finish_reason="length"), "fine", "length"),
        (completion("fine", finish_reason="max_tokens"), "fine", "length"),
        (completion("fine", finish_reason="eos"), "fine", "stop"),
        (completion("fine", finish_reason=None), "fine", "stop"),
        (completion("fine", finish_reason=["stop"]), "fine", "stop"),
        (completion(""), "", "stop"),
        (completion(None, finish_reason="length"), "", "length"),  # the model was still thinking
        (completion(None, message={"content": None, "reasoning_content": "Hm."}), "", "stop"),
        (completion(None, finish_reason="content_filter"), "", "content_filter"),
        (completion("I w", finish_reason="content_filter"), "I w", "content_filter"),
        (completion(None, message={"content": None, "refusal": "I cannot."}), "I cannot.", "refusal"),
    ],
)
def test_how_an_answer_ended(answer, text, finish_reason):
    with FakeServer(lambda request: Odd(answer)) as server:
        (sample,) = ask(server, conversations=CONVERSATIONS[:1])
    assert (sample.text, sample.finish_reason) == (text, finish_reason)


@pytest.mark.parametrize(
    ("usage", "counts"),
    [
        (None, (0, 0)),
        ([], (0, 0)),
        ({}, (0, 0)),
        ({"prompt_tokens": None, "completion_tokens": 5}, (0, 5)),
        ({"prompt_tokens": "7", "completion_tokens": -5}, (0, 0)),
        ({"prompt_tokens": 7.5, "completion_tokens": True}, (0, 0)),
    ],
)
def test_counts_that_are_missing_or_odd_are_zero(usage, counts):
    with FakeServer(lambda request: Odd(completion("fine", usage=usage))) as server:
        (sample,) = ask(server, conversations=CONVERSATIONS[:1])
    assert (sample.prompt_tokens, sample.completion_tokens) == counts and type(sample.prompt_tokens) is int


def test_a_refused_request_loses_no_answer_and_leaves_no_traceback(caplog):
    """Ten at once, the last is answered and all others are refused."""

    def reply(request: dict) -> str | tuple[int, str]:
        time.sleep(0.05)
        return "fine" if request["seed"] == 9 else (400, "maximum context length is 96 tokens")

    with FakeServer(reply) as server:
        sampler = open_impatient(server, concurrency=10)
        waiting = [Request(number, CONVERSATIONS[0], number, 0.0) for number in range(10)]
        answers = sampler.stream(
            lambda room: [waiting.pop() for _ in range(min(room, len(waiting)))], top_p=1.0, max_tokens=9
        )
        with pytest.raises(InputError, match="refused: status 400, maximum context length is 96 tokens"):
            for _ in answers:
                time.sleep(0.2)  # the refusals arrive together
    gc.collect()
    assert not caplog.records, "Task exception was never retrieved"


def test_no_password_stands_in_a_message(capsys):
    with FakeServer(lambda request: (500, "I am sick, see http://me:secret@host/v1?api_key=secret")) as server:
        server.url = server.url.replace("//", "//user:secret@")
        with pytest.raises(
            errors.ServiceError, match=r"http://\*\*\*@127.*sick, see http://\*\*\*@host/v1\?api_key="
        ) as complaint:
            ask(server)
    assert "secret" not in str(complaint.value) + capsys.readouterr().out

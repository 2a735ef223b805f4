"""An engine that hangs or dies, a full queue, a new model, the end: no request is lost."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.serving.conftest import rerank, words
from tests.serving.server import Running, serving

pytestmark = pytest.mark.slow
DEADLINE, HANG = 4, 8  # seconds
LATE = ("deadline", "engine_late")


def point_to(link: Path, folder: str | Path) -> None:
    """Exchanges a folder in one step, as a deployment does."""
    aside = link.with_suffix(".new")
    aside.symlink_to(folder)
    os.replace(aside, link)


@pytest.fixture(scope="module")
def model(fitted, tmp_path_factory) -> Path:
    link = tmp_path_factory.mktemp("model") / "model"
    point_to(link, fitted / "blend")
    return link


@pytest.fixture(scope="module")
def frail(world, model):
    options = {
        "deadline": 1000 * DEADLINE,
        "hang": HANG,
        "queue": 4,
        "batch_size": 2,
        "prompt": "student_no_trace",
        "max_tokens": 110,
    }
    with serving(model, *words(world, **options)) as running:
        yield running


@pytest.fixture
def body(asked) -> dict:
    return {"history": asked[0].history, "candidates": asked[0].candidates}


def reason(answer: httpx.Response) -> str | None:
    assert answer.status_code == 200, answer.text
    fallback = answer.json()["fallback"]
    if fallback:
        assert [entry["index"] for entry in answer.json()["ranking"]] == list(range(len(answer.json()["ranking"])))
    return fallback and fallback["reason"]


def test_a_dead_engine_is_replaced_and_answers_fall_back_at_once(frail, body):
    whole = frail.post("/v1/slates", body).json()["ranking"]
    os.kill(frail.engine, signal.SIGKILL)
    broken = frail.wait_for("engine_broken")
    assert broken["why"] == "the process ended" and not frail.is_ready()
    assert reason(frail.post("/v1/slates", body)) == "engine_down"
    assert frail.client.get("/ready").json()["message"] == "The engine is being started."
    frail.wait_until_ready()
    answer = frail.post("/v1/slates", body)
    assert reason(answer) is None and answer.json()["ranking"] == whole
    assert frail.metric("gr2_engine_restarts_total") == 1


def test_an_engine_that_dies_at_work_leaves_nobody_waiting(frail, body):
    os.kill(frail.engine, signal.SIGSTOP)  # so that the request is still there when it dies
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(frail.post, "/v1/slates", body)
        time.sleep(0.3)
        os.kill(frail.engine, signal.SIGKILL)
        assert reason(waiting.result()) == "engine_down"
    frail.wait_until_ready()


def test_an_engine_that_hangs_is_killed_and_nobody_waits_longer_than_the_deadline(frail, body):
    os.kill(frail.engine, signal.SIGSTOP)
    before = len(frail.events("engine_broken"))
    assert reason(frail.post("/v1/slates", body)) == "deadline"
    time.sleep(0.1)
    assert reason(frail.post("/v1/slates", body)) == "engine_late"  # at once: it is not asked
    assert not frail.is_ready()
    assert frail.wait_for("engine_broken", before + 1)["why"] == f"no answer in {HANG} s"
    frail.wait_until_ready()
    assert reason(frail.post("/v1/slates", body)) is None


def test_a_full_queue_says_so_and_keeps_what_it_has(frail, body):
    whole = frail.post("/v1/slates", body).json()["ranking"]
    os.kill(frail.engine, signal.SIGSTOP)
    with ThreadPoolExecutor(12) as pool:
        asked = [pool.submit(httpx.post, f"{frail.url}/v1/slates", json=body, timeout=60) for _ in range(12)]
        end = time.monotonic() + 30
        while sum(one.done() for one in asked) < 6 and time.monotonic() < end:  # at most 2 at work and 4 that wait
            time.sleep(0.01)
        os.kill(frail.engine, signal.SIGCONT)
        answers = [one.result() for one in asked]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert len(refused) >= 6 and {answer.headers["retry-after"] for answer in refused} == {"1"}
    assert "queue is full" in refused[0].json()["message"]
    kept = [answer for answer in answers if answer.status_code == 200]
    assert kept and all(answer.json()["ranking"] == whole for answer in kept if reason(answer) is None)


def keep_asking(running: Running, body: dict, stop: threading.Event, pause: float) -> list[httpx.Response]:
    """Answers until `stop`, or until nobody lets the client in."""
    answers = []
    with httpx.Client(base_url=running.url, timeout=60) as client:
        while not stop.is_set():
            try:
                answers.append(client.post("/v1/slates", json=body))
            except (httpx.NetworkError, httpx.RemoteProtocolError):
                break
            time.sleep(pause)
    return answers


def test_models_are_exchanged_under_load_and_each_answers_as_gr2_rerank(
    world, fitted, beginner, frail, model, asked, body, tmp_path
):
    """A PRM, a pointer, a language model by its first choices: every slate has the order and the scores of the file."""
    with asking_on(frail, body) as answers:
        for folder, more in (
            (fitted / "prm", {}),
            (fitted / "pointer", {}),
            (beginner, {"order": "first", "prompt": "student_no_trace", "max_tokens": 110}),
        ):
            point_to(model, folder)
            version = frail.post("/v1/reload", None, timeout=300).json()["model"]
            expected = rerank(world, folder, tmp_path / Path(folder).name, **more)
            for slate in asked:
                scored = zip(slate.candidates, slate.scores, strict=True)
                request = {"history": slate.history, "candidates": [{"id": i, "score": score} for i, score in scored]}
                answer = ask_in_time(frail, request)
                entries, row = answer["ranking"], expected[slate.slate_id]
                assert answer["model"] == version and answer["fallback"] is None
                assert [entry["id"] for entry in entries] == row["ranking"]
                scores = [entry["score"] for entry in entries]
                if "scores" in row:
                    assert scores == pytest.approx(row["scores"], abs=1e-4)
                else:
                    assert set(scores) == {None}
    answers = [answer for answer in answers if answer.status_code != 429]
    assert {reason(answer) for answer in answers} <= {None, *LATE}
    assert sum(reason(answer) is None for answer in answers) > 20
    assert len({answer.json()["model"] for answer in answers}) >= 3


@contextmanager
def asking_on(running: Running, body: dict) -> Iterator[list[httpx.Response]]:
    """Two clients that ask until the block ends; then the list has all that they were answered."""
    stop, answers = threading.Event(), []
    with ThreadPoolExecutor(2) as pool:
        asking = [pool.submit(keep_asking, running, body, stop, 0.1) for _ in range(2)]
        try:
            yield answers
        finally:
            stop.set()
        for one in asking:
            answers += one.result()


def ask_in_time(running: Running, request: dict) -> dict:
    """The answer; on a busy machine the first ones may come after the deadline."""
    for _ in range(20):
        answer = running.post("/v1/slates", request)
        if answer.status_code != 429 and reason(answer) not in LATE:
            break
        time.sleep(0.5)
    return answer.json()


def test_a_model_that_cannot_be_opened_leaves_the_old_one(frail, model, fitted, body, tmp_path):
    version = frail.post("/v1/slates", body).json()["model"]
    whole = os.readlink(model)
    point_to(model, tmp_path)
    refused = frail.post("/v1/reload", None, timeout=300)
    assert refused.status_code == 409 and "the old one stays" in refused.json()["message"]
    assert "no reranker" in frail.wait_for("not_reloaded")["why"]
    assert frail.is_ready() and frail.post("/v1/slates", body).json()["model"] == version
    point_to(model, whole)


def test_the_end_answers_all_that_was_taken(world, fitted, body):
    """SIGTERM while four clients ask as fast as they can: whoever was let in gets an answer."""
    with serving("popularity", *words(world, deadline=20000)) as running:
        stop = threading.Event()
        with ThreadPoolExecutor(4) as pool:
            asking = [pool.submit(keep_asking, running, body, stop, 0) for _ in range(4)]
            while running.metric("gr2_requests_total") < 50:
                time.sleep(0.01)
            running.process.send_signal(signal.SIGTERM)
            answers = [answer for one in asking for answer in one.result()]
        assert running.process.wait(60) == 0
        running.reader.join(10)
    ended = running.events("stop")[0]
    assert ended["taken"] == ended["answered"] == len(answers) > 50
    assert {reason(answer) for answer in answers} == {None}

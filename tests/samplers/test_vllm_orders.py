"""Lists by choices and by the first choice with a real vLLM engine, against the same weights in transformers.

The engine computes in float32 here, so that its numbers can be held to those of transformers.
"""

import json
import math
import multiprocessing
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from gr2.choices.drawing import Drawing
from gr2.choices.spelling import Spelling, spell
from gr2.choices.walk import ListWriter
from gr2.choices.write import begin, score_first
from gr2.errors import InputError
from gr2.files.sid_tokens import sid_string, vocabulary
from gr2.language_model.chat import prompt_text
from gr2.language_model.loading import load_model
from gr2.language_model.scratch import small_model, train_tokenizer
from gr2.samplers.base import Request
from gr2.samplers.open import open_sampler
from tests.helpers import save_model
from tests.samplers.test_base import ranking_schema

pytestmark = [pytest.mark.vllm, pytest.mark.slow]

EXACT = 1e-4
MESSAGES = [[{"role": "user", "content": f"{words} a word and another"}] for words in ("", "word", "the user " * 9)]
SLATES = {
    "apart": [sid_string([code, 1, 2]) for code in range(6)],
    "alike": [sid_string([code % 2, code % 3, code]) for code in range(10)],
    "alone": [sid_string([3, 1, 2])],
}
LONG = [sid_string([code, code % 3, 2]) for code in range(140)]


def write_model(folder: Path) -> str:
    """A random Qwen3 of 100,000 parameters that vLLM can load."""
    tokenizer = train_tokenizer(["a word and another word for the user and the system"], 300)
    tokenizer.add_tokens(vocabulary(3, 140))
    net = small_model(tokenizer, hidden_size=64, layers=2, heads=2, context=2048, seed=0)
    with torch.no_grad():
        for weight in net.parameters():
            weight *= 4 if weight.dim() == 2 else 1  # otherwise all tokens are about as likely
    save_model(net, tokenizer, folder)
    return str(folder)


@pytest.fixture(scope="module")
def sampler(tmp_path_factory):
    vllm = pytest.importorskip("vllm")
    folder = write_model(tmp_path_factory.mktemp("model"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vllm, "LLM", partial(in_float32, vllm.LLM))
        sampler = open_sampler("vllm", folder, batch_size=5)
    sampler.folder = folder
    yield sampler
    sampler.close()
    assert multiprocessing.active_children() == []


def in_float32(engine, **settings):
    return engine(**settings | {"dtype": "float32"})


@pytest.fixture(scope="module")
def model(sampler):
    return load_model(sampler.folder).eval()


def with_explanation(schema: dict) -> dict:
    return schema | {"properties": {"explanation": {"type": "string", "maxLength": 12}} | schema["properties"]}


def answer(sampler, requests: list[Request], max_tokens: int = 200) -> list[tuple[list[str], object]]:
    """For each request the list that it became, and its sample."""
    samples = {request.key: sample for request, sample in sampler.answer(requests, top_p=1.0, max_tokens=max_tokens)}
    return [(json.loads(samples[request.key].text)["recommendations"], samples[request.key]) for request in requests]


def prompt_of(sampler, request: Request) -> list[int]:
    return sampler.tokenizer(prompt_text(sampler.tokenizer, request.messages), add_special_tokens=False)["input_ids"]


def spelling_of(sampler, request: Request) -> Spelling:
    return spell(sampler.tokenizer, request.schema["properties"]["recommendations"]["items"]["enum"])


def score_list(model, spelling: Spelling, start: list[int], order: list[int]) -> list[float]:
    """Each candidate's log-probability in a list that follows `start`: one pass, each token among those admitted."""
    with torch.inference_mode():
        logits = model(torch.tensor([start + spelling.write(order)])).logits[0].double()
    place, scores, unused = len(start), [], set(order)
    for index in order:
        tokens, score = spelling.items[index], 0.0
        for depth, token in enumerate(tokens):
            alike = [spelling.items[other] for other in unused if spelling.items[other][:depth] == tokens[:depth]]
            among = sorted({other[depth] for other in alike})
            score += logits[place + depth - 1, among].log_softmax(0)[among.index(token)].item()
        scores.append(score)
        unused.remove(index)
        place += len(tokens) + len(spelling.between)
    return scores


def requests_of(order: str, temperature: float = 0.0) -> list[Request]:
    pairs = [(messages, slate) for messages in MESSAGES for slate in SLATES.values()]
    return [
        Request(number, messages, number, temperature, ranking_schema(slate), order)
        for number, (messages, slate) in enumerate(pairs)
    ]


@pytest.mark.parametrize("temperature", [0.0, 1.5])
def test_log_probs_of_a_list_are_those_of_its_choices(sampler, model, temperature):
    """At any temperature those at 1; the last candidate, which is forced, has none."""
    requests = requests_of("choices", temperature)
    spread = []
    for request, (written, sample) in zip(requests, answer(sampler, requests), strict=True):
        spelling, prompt = spelling_of(sampler, request), prompt_of(sampler, request)
        sids = request.schema["properties"]["recommendations"]["items"]["enum"]
        order = [sids.index(sid) for sid in written]
        expected = score_list(model, spelling, prompt + spelling.opening, order)
        assert sample.log_probs == pytest.approx(expected, abs=EXACT)
        assert sorted(order) == list(range(len(sids))) and sample.log_probs[-1] == 0.0
        assert (sample.finish_reason, sample.prompt_tokens) == ("stop", len(prompt))
        assert sample.completion_tokens == len(spelling.opening + spelling.write(order))
        spread += [score for score in expected if score]
    assert min(spread) < -1 and max(spread) > -0.1, "scores that are all alike would show nothing"


def test_scores_of_the_first_choice_are_those_of_gr2_choices(sampler, model):
    requests = requests_of("first")
    for request, (written, sample) in zip(requests, answer(sampler, requests), strict=True):
        expected = first_scores(sampler, model, request, prompt_of(sampler, request))
        check_scores(request, written, sample, expected)
        assert (sample.prompt_tokens, sample.completion_tokens) == (len(prompt_of(sampler, request)), 0)


def first_scores(sampler, model, request: Request, prompt: list[int], head: list[int] | None = None) -> list[float]:
    spelling = spelling_of(sampler, request)
    writer = ListWriter(spelling, prompt + (head or spelling.opening), Drawing())
    with torch.inference_mode():
        (scores,) = score_first(begin(model, [writer]), [writer])
    return scores


def check_scores(request: Request, written: list[str], sample, expected: list[float]) -> None:
    sids = request.schema["properties"]["recommendations"]["items"]["enum"]
    assert sorted(written) == sorted(sids) and sample.finish_reason == "stop"
    assert sample.log_probs == sorted(sample.log_probs, reverse=True)
    assert sample.log_probs == pytest.approx([expected[sids.index(sid)] for sid in written], abs=EXACT)
    assert math.fsum(map(math.exp, sample.log_probs)) == pytest.approx(1, abs=1e-9)


def test_lists_longer_than_a_grammar_or_a_question_can_hold(sampler, model):
    """64 candidates are a grammar's limit, 128 a question's; `max_tokens` does not cut a list."""
    by_choice = Request("choices", MESSAGES[1], 0, 1.0, ranking_schema(LONG[:70]))
    by_first = Request("first", MESSAGES[1], 0, 0.0, ranking_schema(LONG), "first")
    (written, sample), (ranked, scored) = answer(sampler, [by_choice, by_first], max_tokens=20)
    order = [LONG.index(sid) for sid in written]
    spelling, prompt = spelling_of(sampler, by_choice), prompt_of(sampler, by_choice)
    expected = score_list(model, spelling, prompt + spelling.opening, order)
    assert sorted(order) == list(range(70)) != order
    assert sample.log_probs == pytest.approx(expected, abs=EXACT)
    assert sample.completion_tokens == len(spelling.opening + spelling.write(order))
    check_scores(by_first, ranked, scored, first_scores(sampler, model, by_first, prompt_of(sampler, by_first)))


def test_a_first_choice_follows_its_explanation(sampler, model, monkeypatch):
    asked = []
    engine = sampler.llm.llm_engine
    add_request = engine.add_request

    def note(name, prompt, settings):
        asked.append((prompt["prompt_token_ids"], settings))
        return add_request(name, prompt, settings)

    monkeypatch.setattr(engine, "add_request", note)
    for seed, slate in enumerate(SLATES.values()):
        asked.clear()
        request = Request(0, MESSAGES[0], seed, 1.0, with_explanation(ranking_schema(slate)), "first")
        ((written, sample),) = answer(sampler, [request])
        explanation = json.loads(sample.text)["explanation"]
        assert 0 <= len(explanation) <= 12
        if len(slate) == 1:
            assert len(asked) == 1 and sample.log_probs == [0.0]
            continue
        prompt = prompt_of(sampler, request)
        texts = [text for text, settings in asked if settings.logprob_token_ids]
        head = min(texts, key=len)[len(prompt) :]  # of the first branch; forced tokens of the first ID are in it
        said = sampler.tokenizer.decode(head)
        assert sample.text.startswith(said.partition("<|sid_begin|>")[0]) and said.count("<|sid_begin|>") == 1
        head = head[: head.index(sampler.tokenizer.convert_tokens_to_ids("<|sid_begin|>"))]
        check_scores(request, written, sample, first_scores(sampler, model, request, prompt, head))
        assert sample.completion_tokens == len(head)


def test_an_explanation_that_is_cut_off_has_no_list(sampler):
    schema = with_explanation(ranking_schema(SLATES["apart"]))
    requests = [Request(order, MESSAGES[0], 0, 1.0, schema, order) for order in ("first", "choices")]
    for _, sample in sampler.answer(requests, top_p=1.0, max_tokens=5):
        assert (sample.finish_reason, sample.log_probs) == ("length", None) and sample.completion_tokens > 0


def test_texts_follow_their_seeds_and_long_prompts_are_refused(sampler):
    how = {"temperature": 1.5, "top_p": 1.0, "max_tokens": 8}
    texts = [one.text for one in sampler.sample(MESSAGES[:1] * 3, seeds=[1, 1, 2], **how)]
    assert texts[0] == texts[1] != texts[2] and "<|im_end|>" not in "".join(texts)
    with pytest.raises(InputError, match="context of 2048"):
        sampler.sample([[{"role": "user", "content": "word " * 3000}]], seeds=[0], **how)


def test_every_request_is_answered_once_whatever_is_asked_together(sampler, model):
    """Texts, lists of both orders and with explanations; each asked once more after its answer, with its seed."""
    schema = ranking_schema(SLATES["alike"])
    kinds = [(None, "choices"), (schema, "choices"), (schema, "first"), (with_explanation(schema), "first")]
    kinds.append((ranking_schema(LONG[:70]), "choices"))
    waiting = [Request(number, MESSAGES[number % 3], 7, 1.0, *kinds[number % 5]) for number in range(10)]
    rooms, answered, again = [], [], []

    def take(room: int) -> list[Request]:
        rooms.append(room)
        return [waiting.pop() for _ in range(min(room, len(waiting)))]

    for some in sampler.stream(take, top_p=1.0, max_tokens=150):
        answered += [(request.key, sample) for request, sample in some]
        waiting += [replace(request, key=request.key + 10) for request, _ in some if request.key < 10]
        again += [request for request, _ in some if request.key >= 10 and request.key % 5 in (1, 4)]
    found = dict(answered)
    assert sorted(key for key, _ in answered) == list(range(20)) and max(rooms) == 5
    assert all((found[key].log_probs is None) == (key % 5 == 0) for key in found)
    assert all(found[key].finish_reason == found[key + 10].finish_reason for key in range(10))
    for request in again:
        spelling, sids = spelling_of(sampler, request), request.schema["properties"]["recommendations"]["items"]["enum"]
        order = [sids.index(sid) for sid in json.loads(found[request.key].text)["recommendations"]]
        expected = score_list(model, spelling, prompt_of(sampler, request) + spelling.opening, order)
        assert found[request.key].log_probs == pytest.approx(expected, abs=EXACT)
        assert found[request.key].text == found[request.key - 10].text

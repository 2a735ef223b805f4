import json

import pytest
import torch

from gr2.errors import InputError
from gr2.files.sid_tokens import sid_string, vocabulary
from gr2.language_model.scratch import small_model, train_tokenizer
from gr2.samplers.base import Request
from gr2.samplers.open import open_sampler
from tests.helpers import save_model

CONTEXT = 128
CONVERSATIONS = [
    [{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}]
    for text in ("word", "the user", "a word and another word", "system", "for the", "word " * 14, "no, 1, 2, 3, 4")
]
SEEDS = list(range(len(CONVERSATIONS)))


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    """A random Qwen3 of a few thousand parameters whose generation config asks for greedy, which nobody may follow."""
    folder = tmp_path_factory.mktemp("model")
    tokenizer = train_tokenizer(["a word and another word for the user and the system"], 300)
    tokenizer.add_tokens(vocabulary(3, 4))
    net = small_model(tokenizer, hidden_size=32, layers=2, heads=2, context=CONTEXT, seed=0)
    with torch.no_grad():
        for weight in net.model.layers.parameters():
            weight *= 10 if weight.dim() == 2 else 1  # otherwise it repeats its last token
    save_model(net, tokenizer, folder)
    generation = json.loads((folder / "generation_config.json").read_text())
    greedy = generation | {"do_sample": False, "top_k": 1, "temperature": 0.01}
    (folder / "generation_config.json").write_text(json.dumps(greedy))
    return str(folder)


@pytest.fixture(scope="module")
def sampler(model):
    return open_sampler("transformers", model, batch_size=3)


def sample(sampler, conversations=CONVERSATIONS, seeds=SEEDS, **settings):
    return sampler.sample(conversations, seeds=seeds, **{"temperature": 0.0, "top_p": 1.0, "max_tokens": 12} | settings)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_samples_come_in_order_and_the_batch_changes_nothing(sampler, temperature):
    together = sample(sampler, temperature=temperature)
    questions = zip(CONVERSATIONS, SEEDS, strict=True)
    alone = [sample(sampler, [one], [seed], temperature=temperature)[0] for one, seed in questions]
    assert together == alone
    assert len({one.text for one in together}) > 1
    assert [one.prompt_tokens for one in together] == [one.prompt_tokens for one in alone]


def test_the_same_seeds_give_the_same_samples(sampler):
    first = sample(sampler, temperature=1.0)
    assert first == sample(sampler, temperature=1.0)
    assert first != sample(sampler, temperature=1.0, seeds=[seed + 1 for seed in SEEDS])


def test_no_batch_repeats_the_draws_of_another(sampler):
    """Three in a batch: one question, twelve times."""
    texts = [one.text for one in sample(sampler, CONVERSATIONS[:1] * 12, range(12), temperature=1.0)]
    assert len(set(texts)) == 12
    again = [one.text for one in sample(sampler, CONVERSATIONS[:1] * 12, [0] * 12, temperature=1.0)]
    assert set(again) == {texts[0]}, "one seed, one sample"


def test_tokens_are_drawn_as_often_as_they_are_likely():
    import torch

    from gr2.samplers.transformers import Draws

    scores = torch.tensor([[0.5, 0.0, 0.3, 0.2]]).log().expand(4000, 4)
    for temperature, top_p, shares in ((1.0, 1.0, [0.5, 0, 0.3, 0.2]), (0.5, 1.0, [25 / 38, 0, 9 / 38, 4 / 38]),
                                       (1.0, 0.7, [5 / 8, 0, 3 / 8, 0])):  # fmt: skip
        draws = Draws([Request(seed, [], seed, temperature) for seed in range(4000)], top_p)
        found = draws(None, scores).isfinite().float()
        assert (found.sum(1) == 1).all() and found.mean(0).tolist() == pytest.approx(shares, abs=0.03)


def test_the_samples_of_a_structured_batch_are_those_of_each_alone(sampler):
    """Explanations too, which are written token by token."""
    schemas = [schema([sid_string([1, code, 3]) for code in range(3)])] * len(SEEDS)
    how = {"temperature": 1.0, "max_tokens": 80}
    together = sample(sampler, schemas=schemas, **how)
    questions = zip(CONVERSATIONS, SEEDS, schemas, strict=True)
    alone = [sample(sampler, [one], [seed], schemas=[of_one], **how)[0] for one, seed, of_one in questions]
    assert [one.text for one in together] == [one.text for one in alone] and len({one.text for one in alone}) > 3


def test_nothing_is_merged_in_from_the_generation_config(sampler):
    texts = {sample(sampler, CONVERSATIONS[:1], [seed], temperature=3.0)[0].text for seed in range(8)}
    assert len(texts) == 8, "top_k 1 or greedy was taken from generation_config.json"


def test_an_answer_ends_at_its_stop_token(model):
    sampler = open_sampler("transformers", model, batch_size=100)
    samples = sample(sampler, CONVERSATIONS * 14, list(range(98)), temperature=3.0, max_tokens=40)
    assert {one.finish_reason for one in samples} == {"stop", "length"}
    for one in samples:
        assert "<|im_end|>" not in one.text
        assert (one.completion_tokens == 40) or one.finish_reason == "stop"


def test_semantic_ids_survive_decoding(sampler, model):
    tokenizer = sampler.tokenizer
    sid = sid_string([1, 2, 3])
    assert sampler._sample(1, tokenizer(sid)["input_ids"]).text == sid
    assert len(tokenizer(sid)["input_ids"]) == 5


def test_under_a_schema_even_a_random_model_writes_permutations(sampler):
    """The model has 3 x 4 codes; the slates share their first code, two lengths are in one batch."""
    slates = [[sid_string([1, code, 3]) for code in range(size)] for size in (4, 2, 4, 3, 1, 4, 4)]
    samples = sample(sampler, max_tokens=60, temperature=1.0, schemas=[ranking_schema(slate) for slate in slates])
    answers = [json.loads(one.text)["recommendations"] for one in samples]
    assert [sorted(answer) for answer in answers] == slates
    assert {one.finish_reason for one in samples} == {"stop"}
    assert len({tuple(answer) for answer in answers if len(answer) == 4}) > 1


def test_every_row_of_a_batch_has_its_own_temperature(sampler):
    """Three in a batch: greedy, nearly greedy and hot; the first two write what a greedy batch writes."""
    requests = [
        Request(number, CONVERSATIONS[1], number, temperature) for number, temperature in enumerate([0.0, 1e-3, 3.0])
    ]
    texts = {request.key: one.text for request, one in sampler.answer(requests, top_p=1.0, max_tokens=12)}
    greedy = sample(sampler, CONVERSATIONS[1:2], [0])[0].text
    assert texts[0] == texts[1] == greedy != texts[2]


def test_a_sampler_takes_on_until_there_is_no_more(sampler):
    """What is asked after an answer (here: every request once more) is answered too."""
    waiting = [Request(number, CONVERSATIONS[number], number, 1.0) for number in range(4)]
    rooms, answered = [], []

    def take(room: int) -> list[Request]:
        rooms.append(room)
        return [waiting.pop() for _ in range(min(room, len(waiting)))]

    for some in sampler.stream(take, top_p=1.0, max_tokens=4):
        answered += [request for request, _ in some]
        waiting += [Request(request.key + 4, request.messages, 9, 1.0) for request, _ in some if request.key < 4]
    assert sorted(request.key for request in answered) == list(range(8)) and set(rooms) == {3}


def test_rows_that_only_pad_the_vocabulary_are_never_sampled(model, tmp_path):
    """Rows as long as these would win every step."""
    import shutil

    from gr2.language_model.loading import load_model, load_tokenizer

    shutil.copytree(model, tmp_path, dirs_exist_ok=True)
    net, tokenizer = load_model(model), load_tokenizer(model)
    words = len(tokenizer)
    net.resize_token_embeddings(words + 60, mean_resizing=False)
    with torch.no_grad():
        net.get_input_embeddings().weight[words:] *= 1000
    save_model(net, tokenizer, tmp_path)
    padded = open_sampler("transformers", str(tmp_path), batch_size=7)
    assert padded.padding_rows == list(range(words, words + 60))
    for temperature in (0.0, 1.0):
        (one,) = sample(padded, CONVERSATIONS[:1], [0], temperature=temperature, max_tokens=20)
        assert one.completion_tokens > 1 and one.text, "padding decodes to nothing"


def test_a_prompt_that_is_too_long_is_refused_and_not_cut(sampler):
    long = [[{"role": "user", "content": "word " * 200}]]
    with pytest.raises(InputError, match=f"context of {CONTEXT}"):
        sample(sampler, long, [0])
    with pytest.raises(InputError, match="max_tokens"):
        sample(sampler, max_tokens=CONTEXT)


def test_unknown_engines_and_folders_are_refused(tmp_path):
    with pytest.raises(InputError, match="--engine telepathy: expected one of vllm, transformers, openai, ray"):
        open_sampler("telepathy", "model")
    with pytest.raises(InputError, match="nowhere"):
        open_sampler("transformers", str(tmp_path / "nowhere"))


def ranking_schema(choices: list[str]) -> dict:
    lists = {"type": "array", "items": {"enum": choices}, "minItems": len(choices), "maxItems": len(choices)}
    return {"type": "object", "properties": {"recommendations": lists | {"uniqueItems": True}}}


def schema(choices: list[str]) -> dict:
    lists = {"type": "array", "items": {"enum": choices}, "minItems": len(choices), "maxItems": len(choices)}
    properties = {"explanation": {"type": "string", "maxLength": 20}, "recommendations": lists | {"uniqueItems": True}}
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}

import json
import math

import pytest
import torch
from transformers import GenerationConfig

from gr2.choices.drawing import Drawing
from gr2.choices.spelling import spell
from gr2.choices.walk import ListWriter
from gr2.choices.write import begin, score_first
from gr2.files.sid_tokens import SID, sid_string, vocabulary
from gr2.language_model.scratch import small_model, train_tokenizer
from gr2.language_model.vocabulary import expand
from gr2.samplers.structured_answers import answer_structured

SIDS = [sid_string([index // 2, index]) for index in range(5)]


@pytest.fixture(scope="module")
def model_and_tokenizer():
    tokenizer = train_tokenizer(['{"explanation": "It is like this, so.", "recommendations": ["", ""]}'] * 3, 320)
    model = small_model(tokenizer, 32, 2, 2, 512, seed=0)
    expand(model, tokenizer, vocabulary(2, 8), seed=0)
    return model.eval(), tokenizer


def schema(sids: list[str], explanation: dict | None) -> dict:
    array = {"type": "array", "items": {"enum": sids}, "minItems": len(sids), "maxItems": len(sids)}
    fields = {"explanation": explanation} if explanation else {}
    return {"type": "object", "properties": fields | {"recommendations": array | {"uniqueItems": True}}}


def answer(model, tokenizer, schemas: list[dict], order: str, max_tokens: int = 120) -> tuple[list, list]:
    torch.manual_seed(0)
    prompts = [tokenizer.encode("a b" * (3 + index)) for index in range(len(schemas))]
    generation = GenerationConfig(do_sample=True, top_k=0, pad_token_id=tokenizer.pad_token_id)
    drawings = [Drawing(1.0, seed=index) for index in range(len(schemas))]
    with torch.inference_mode():
        found = answer_structured(model, tokenizer, prompts, schemas, drawings, max_tokens, order, generation)
    return prompts, found


LIMIT = 62  # tokens
EXPLANATIONS = [
    {"type": "string", "cites": [*SIDS[:2], sid_string([7, 7])]},
    {"type": "string", "maxLength": 30},
    {"type": "string", "pattern": "^It is (like|unlike) this, so\\.$"},
]


@pytest.mark.parametrize("explanation", EXPLANATIONS, ids=["cites", "short", "pattern"])
def test_an_explanation_goes_over_into_the_list(model_and_tokenizer, explanation):
    """What the cache holds of a left-padded batch, whose explanations end at different tokens, is what a model reads
    in one piece: the same probabilities of being first. The whole answer is JSON, and its list a permutation.
    """
    model, tokenizer = model_and_tokenizer
    slates = [SIDS, SIDS[:3], SIDS[1:], SIDS[:2]]
    prompts, answers = answer(model, tokenizer, [schema(sids, explanation) for sids in slates], "first", 160)
    whole = [index for index, one in enumerate(answers) if one.log_probs is not None]
    assert len(whole) > 1
    for index in whole:
        one, sids = answers[index], slates[index]
        text = json.loads(tokenizer.decode(one.tokens, skip_special_tokens=True))
        assert sorted(text["recommendations"]) == sorted(sids) and text["explanation"]
        if "cites" in explanation:
            cited = {match[0] for match in SID.finditer(text["explanation"])}
            assert cited <= set(explanation["cites"])
        spelling = spell(tokenizer, sids)
        order = [sids.index(sid) for sid in text["recommendations"]]
        head = one.tokens[: -len(spelling.write(order))]
        assert head + spelling.write(order) == one.tokens
        writer = ListWriter(spelling, prompts[index] + head, Drawing())
        with torch.inference_mode():
            (expected,) = score_first(begin(model, [writer]), [writer])
        assert one.log_probs == pytest.approx([expected[row] for row in order], abs=1e-4)
        assert sum(map(math.exp, one.log_probs)) == pytest.approx(1)


def test_an_explanation_that_does_not_end_in_time_has_no_list(model_and_tokenizer):
    model, tokenizer = model_and_tokenizer
    asked = [schema(SIDS, EXPLANATIONS[0]), schema(SIDS[:2], EXPLANATIONS[0])]
    _, answers = answer(model, tokenizer, asked, "choices", max_tokens=LIMIT)
    for one, sids in zip(answers, (SIDS, SIDS[:2]), strict=True):
        spelling = spell(tokenizer, sids)
        room = LIMIT - len(spelling.opening + spelling.write(range(len(sids))))
        if one.log_probs is None:
            assert len(one.tokens) == room and one.choices == []
        else:
            assert len(one.explanation.tokens) <= room and len(one.tokens) <= LIMIT
    assert any(one.log_probs is None for one in answers)


def test_tokens_that_are_forced_in_an_explanation_are_no_decisions(model_and_tokenizer):
    """Of `It is (like|unlike) this, so.` a model decides one word, in one token or more."""
    from gr2.samplers.structured_answers import pack_decisions

    model, tokenizer = model_and_tokenizer
    _, (one, *_) = answer(model, tokenizer, [schema(SIDS[:1], EXPLANATIONS[2])] * 2, "choices")
    places, masks = pack_decisions(one, -(-len(tokenizer) // 32))
    assert 0 < len(places) == len(masks) < len(one.tokens) and one.log_probs == [0.0]

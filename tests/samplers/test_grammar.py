import json
import random

import numpy as np
import pytest

from gr2.files.sid_tokens import sid_string, vocabulary
from gr2.language_model.scratch import train_tokenizer
from gr2.samplers.grammar import permutation_grammar


def schema(choices: list[str], explanation: dict) -> dict:
    lists = {"type": "array", "items": {"enum": choices}, "minItems": len(choices), "maxItems": len(choices)}
    properties = {"explanation": explanation, "recommendations": lists | {"uniqueItems": True}}
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


@pytest.mark.parametrize("size", [1, 2, 10, 64])
def test_the_grammar_admits_permutations_and_nothing_else(size):
    """A random walk under the grammar always ends in valid JSON with every choice once: no duplicates, no dead ends."""
    llguidance = pytest.importorskip("llguidance")
    masks = pytest.importorskip("llguidance.numpy")

    choices = [sid_string([number, number % 7, 3]) for number in range(size)]
    texts = [bytes([number]).decode("latin1") for number in range(128)]
    tokenizer = llguidance.LLTokenizer("byte")
    grammar = llguidance.grammar_from(
        "grammar", permutation_grammar(schema(choices, {"type": "string", "maxLength": 20}), {})
    )
    rng = random.Random(0)
    seen = set()
    for _ in range(4):
        matcher = llguidance.LLMatcher(tokenizer, grammar)
        mask = masks.allocate_token_bitmask(1, tokenizer.vocab_size)
        written = []
        while not matcher.is_stopped():
            masks.fill_next_token_bitmask(matcher, mask, 0)
            allowed = np.unpackbits(mask.view(np.uint8), bitorder="little").nonzero()[0]
            token = int(rng.choice([t for t in allowed if t < len(texts)] or list(allowed)))
            assert matcher.consume_token(token), matcher.get_error()
            written.append(token)
        answer = json.loads(tokenizer.decode_str([token for token in written if token < len(texts)]))
        assert sorted(answer["recommendations"]) == sorted(choices)
        seen.add(tuple(answer["recommendations"]))
    assert size < 3 or len(seen) == 4


@pytest.fixture(scope="module")
def tokenizer():
    made = train_tokenizer(["The history leans to Comedy, so it comes first."] * 3, 300)
    made.add_tokens(vocabulary(2, 8))
    return made


def admitted(tokenizer, text: str) -> bool:
    """Whether the grammar takes the text, token by token, as a whole answer for two slates' items."""
    llguidance = pytest.importorskip("llguidance")
    hf = pytest.importorskip("llguidance.hf")
    choices = [sid_string([1, 2]), sid_string([1, 3])]
    explanation = {"type": "string", "cites": [*choices, sid_string([7, 0])]}
    grammar = permutation_grammar(schema(choices, explanation), tokenizer.get_added_vocab())
    matcher = llguidance.LLMatcher(hf.from_tokenizer(tokenizer), llguidance.LLMatcher.grammar_from_lark(grammar))
    ids = tokenizer.encode(text, add_special_tokens=False)
    return matcher.try_consume_tokens(ids) == len(ids) and matcher.is_accepting()


def answer(explanation: str, *codes: tuple[int, int]) -> str:
    return json.dumps({"explanation": explanation, "recommendations": [sid_string(pair) for pair in codes]})


def test_ids_are_written_in_their_own_tokens(tokenizer):
    assert admitted(tokenizer, answer("Comedy.", (1, 2), (1, 3)))
    assert admitted(tokenizer, answer("Comedy.", (1, 3), (1, 2)))
    assert not admitted(tokenizer, answer("Comedy.", (1, 3), (1, 3)))
    assert not admitted(tokenizer, answer("Comedy.", (1, 3)))
    assert not admitted(tokenizer, answer("Comedy.", (1, 3), (1, 2), (1, 3)))
    assert not admitted(tokenizer, answer("Comedy.", (1, 2), (1, 4)))


def test_an_explanation_may_cite_what_was_shown_and_is_not_empty(tokenizer):
    assert admitted(tokenizer, answer(f'Like {sid_string([7, 0])}, a "Comedy".', (1, 2), (1, 3)))
    assert not admitted(tokenizer, answer("Like <|sid_begin|><s_b_1><s_a_7><|sid_end|>.", (1, 2), (1, 3)))
    assert not admitted(tokenizer, answer("Like <s_a_7>.", (1, 2), (1, 3)))
    assert not admitted(tokenizer, answer(f"Like {sid_string([7, 1])}.", (1, 2), (1, 3)))
    assert not admitted(tokenizer, answer("", (1, 2), (1, 3)))

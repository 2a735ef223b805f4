import json
import random
import time

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gr2.data.catalogue import Catalogue
from gr2.files.sid_tokens import sid_string
from gr2.prompts import answer as answers
from gr2.prompts.answer import REASONS, parse, reasoning_span, write_answer

IDS = [f"item{number}" for number in range(8)]
CATALOGUE = Catalogue(
    item_ids=pl.Series("item_id", IDS),
    title={item_id: f"Title {item_id}" for item_id in IDS},
    category={item_id: "Films > Drama" for item_id in IDS},
    description=dict.fromkeys(IDS, ""),
    sid={item_id: sid_string([number, 1, 2]) for number, item_id in enumerate(IDS)},
    codes={item_id: (number, 1, 2) for number, item_id in enumerate(IDS)},
)


def answer(explanation: object = "Because of its genre.", listed: object = tuple(IDS[3:])) -> str:
    sids = [CATALOGUE.sid.get(item_id, item_id) for item_id in listed] if isinstance(listed, list | tuple) else listed
    return json.dumps({"explanation": explanation, "recommendations": sids})


@given(st.permutations(IDS[3:]), st.text(min_size=1).filter(str.strip))
def test_the_gold_answer_parses_to_the_gold_ranking(ranking, reasoning):
    parsed = parse(write_answer(reasoning, ranking, CATALOGUE), IDS[3:], CATALOGUE.sid)
    assert (parsed.ranking, parsed.reason) == (ranking, None)
    assert parsed.reasoning == reasoning.strip()
    start, end = reasoning_span(write_answer(reasoning, ranking, CATALOGUE))
    assert json.loads(write_answer(reasoning, ranking, CATALOGUE)[start - 1 : end + 1]) == reasoning
    bare = parse(write_answer(None, ranking, CATALOGUE), IDS[3:], CATALOGUE.sid, has_trace=False)
    assert (bare.ranking, bare.reason) == (ranking, None)


def test_text_around_the_answer_is_ignored():
    for text in (f"<think>\n{{hm}}</think>{answer()}", f"{answer()}<|im_end|>", f"thinking</think> {answer()} done {{"):
        assert parse(text, IDS[3:], CATALOGUE.sid).ranking == IDS[3:]


def test_the_last_answer_counts():
    both = answer(listed=IDS[3:]) + answer(listed=IDS[:2:-1])
    assert parse(both, IDS[3:], CATALOGUE.sid).ranking == IDS[:2:-1]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no_json"),
        ("I would put item3 first.", "no_json"),
        ('{"explanation": "only"}', "no_json"),
        (answer()[:-1], "truncated"),
        (answer()[:40], "truncated"),
        (answer(explanation=3), "wrong_fields"),
        (answer(listed="item3"), "wrong_fields"),
        (answer(explanation="  "), "empty_explanation"),
        (answer(listed=["item0", *IDS[4:]]), "unknown_id"),  # of the history
        (answer(listed=[*IDS[3:7], "-1"]), "unknown_id"),
        (answer(listed=[*IDS[3:7], 0]), "unknown_id"),
        (answer(listed=[*IDS[3:7], None]), "unknown_id"),
        (answer(listed=[IDS[3], *IDS[3:7]]), "duplicate_id"),
        (answer(listed=[*IDS[3:], IDS[3]]), "duplicate_id"),
        (answer(listed=IDS[3:7]), "wrong_length"),
        (answer(listed=[]), "wrong_length"),
    ],
)
def test_every_kind_of_broken_answer_has_its_name(text, reason):
    parsed = parse(text, IDS[3:], CATALOGUE.sid)
    assert (parsed.ranking, parsed.reason) == (None, reason)
    assert reason in REASONS


def test_half_a_character_does_not_survive():
    parsed = parse(answer().replace("genre", "\\ud800"), IDS[3:], CATALOGUE.sid)
    assert (parsed.ranking, parsed.reasoning) == (IDS[3:], "Because of its ?.")


@given(st.text())
def test_no_text_raises(text):
    parsed = parse(text, IDS[3:], CATALOGUE.sid)
    assert (parsed.ranking is None) == (parsed.reason in REASONS)


ALPHABET = '{}[]",:\\ \n0159eE+-.tfnu<|>_sabc"{["\ud800é\u2028'


def damaged(rng: random.Random) -> str:
    """A valid answer with up to three changes: a character put in or taken out, or a piece of it doubled."""
    text = answer(listed=rng.sample(IDS[3:], 5))
    for _ in range(rng.randrange(4)):
        at, to = rng.randrange(len(text) + 1), rng.randrange(len(text) + 1)
        text = rng.choice(
            (text[:at] + rng.choice(ALPHABET) + text[at:], text[:at] + text[at + 1 :], text[at:to] + text)
        )
    return text


def truncated(rng: random.Random) -> str:
    text = damaged(rng)
    return text[: rng.randrange(len(text) + 1)]


def bytes_decoded(rng: random.Random) -> str:
    """Random bytes as a server may send them: replaced, or as lone surrogates where they are no UTF-8."""
    return rng.randbytes(rng.randrange(80)).decode("utf-8", rng.choice(("replace", "surrogateescape")))


def characters(rng: random.Random) -> str:
    """Of JSON's alphabet or of all Unicode, lone surrogates among them."""
    if rng.random() < 0.5:
        return "".join(rng.choices(ALPHABET, k=rng.randrange(60)))
    return "".join(chr(rng.randrange(0x110000)) for _ in range(rng.randrange(40)))


def value(rng: random.Random, depth: int = 0) -> object:
    """Any JSON value, with answers' keys and IDs in places that they have no business in, and huge numbers."""
    kind = rng.randrange(6 if depth < 5 else 4)
    if kind == 4:
        return [value(rng, depth + 1) for _ in range(rng.randrange(5))]
    if kind == 5:
        keys = rng.sample(("explanation", "recommendations", "", "\ud800", "a"), rng.randrange(5))
        return {key: value(rng, depth + 1) for key in keys}
    return rng.choice((
        None, True, 0, -1, 10 ** rng.randrange(400), 1e308, float("inf"), float("nan"), "", "\udfff", "x",
        CATALOGUE.sid[rng.choice(IDS)], [CATALOGUE.sid[item_id] for item_id in rng.sample(IDS[3:], 5)],
    ))  # fmt: skip


def nested(rng: random.Random) -> str:
    """JSON, or an answer whose fields are any JSON; integers may have more digits than Python reads."""
    if rng.random() < 0.3:
        return f'{{"recommendations": {rng.choice("[-")}{"7" * rng.randrange(1, 6000)}'
    if rng.random() < 0.5:
        return json.dumps(value(rng), ensure_ascii=rng.random() < 0.5)
    return json.dumps({"explanation": value(rng), "recommendations": value(rng)})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("write", "least", "most"),  # how many of 25,000 are rankings
    [(damaged, 10_000, 20_000), (truncated, 10, 1_000), (bytes_decoded, 0, 0), (characters, 0, 0), (nested, 10, 1_000)],
)
def test_a_hundred_thousand_arbitrary_texts_never_raise(write, least, most):
    rng = random.Random(0)
    rankings = 0
    for _ in range(25_000):
        parsed = parse(write(rng), IDS[3:], CATALOGUE.sid)
        parsed.reasoning.encode()
        if parsed.ranking is None:
            assert parsed.reason in REASONS
        else:
            assert parsed.reason is None and sorted(parsed.ranking) == IDS[3:]
            rankings += 1
    assert least <= rankings <= most


@pytest.mark.parametrize(
    "text", ['{"recommendations":' + "[" * 100_000, '{"a":' * 5_000, '{"recommendations": ' + "9" * 5_000]
)
def test_depth_and_huge_numbers_do_not_raise(text):
    assert parse(text, IDS[3:], CATALOGUE.sid).reason == "truncated"


def every_object(text: str) -> tuple[dict | None, bool]:
    """The definition, in quadratic time: every `{` is tried, from the first one on."""
    decoder = json.JSONDecoder()
    found, truncated, position = None, False, text.find("{")
    while position >= 0:
        try:
            value, end = decoder.raw_decode(text, position)
        except (ValueError, RecursionError):
            truncated, end = True, position + 1
        else:
            if isinstance(value, dict) and "recommendations" in value:
                found = value
        position = text.find("{", end)
    return found, truncated


PIECES = (
    "{",
    "}",
    "[",
    "]",
    '"',
    ":",
    ",",
    " ",
    "\n",
    "{}",
    "{ }",
    '{"',
    '{"a": ',
    '{"recommendations": ',
    '["x"]',
    '"}',
    "0",
    "\\",
    '{"explanation": "a {hm} b", "recommendations": ["x"]}',
    "<think>",
    "</think>",
    "{hm}",
    '{"a": {"b": [1]}}',
    answer(),
    answer()[:-1],
    answer()[:30],
)


@given(st.lists(st.sampled_from(PIECES), max_size=15).map("".join) | st.text(alphabet=ALPHABET, max_size=60))
def test_the_last_object_is_the_one_that_a_search_through_all_finds(text):
    assert answers._last_object(text) == every_object(text)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"<think>I could write {{'item': 1}} or {{\"item\": 1}}.</think>\n{answer()}", True),
        (f'{{"draft": {answer()}}}', False),  # an object inside another one is no answer
        (f'{{"draft": {answer()}', True),  # unless the outer one is never closed
        (f"{answer()} I hope that this helps {{:", True),
        (f"{answer(explanation='It has {} and {x: {y}} in it.')}", True),
        ("{}" * 30 + answer(), True),
        ('{"a": 1}' * 500 + answer(), True),
    ],
)
def test_braces_around_an_answer_do_not_hide_it(text, found):
    parsed = parse(text, IDS[3:], CATALOGUE.sid)
    assert parsed.ranking == (IDS[3:] if found else None)
    assert answers._last_object(text) == every_object(text)


@pytest.mark.parametrize(
    "text",
    [
        "{" * 400_000,
        '{"' * 200_000,
        '{"a' * 130_000,
        '{"a":' * 80_000,
        '{"a":"' * 66_000,
        '{"recommendations":' * 200 + "[" + "1," * 200_000,
        "{ " * 200_000,
        "{" + " " * 400_000,
        "{}" * 200_000,
    ],
)
def test_parsing_takes_linear_time(text):
    started = time.process_time()
    assert parse(text, IDS[3:], CATALOGUE.sid).ranking is None
    assert time.process_time() - started < 1, "the search through all takes minutes"


@pytest.mark.parametrize("finish_reason", ["content_filter", "refusal"])
def test_what_a_service_withheld_is_not_the_models_mistake(finish_reason):
    for text in ("", "I cannot help with that.", answer()):
        parsed = parse(text, IDS[3:], CATALOGUE.sid, finish_reason=finish_reason)
        assert (parsed.ranking, parsed.reason) == (None, answers.WITHHELD)
    assert answers.WITHHELD not in REASONS
    assert parse("", IDS[3:], CATALOGUE.sid, finish_reason="length").reason == "no_json"

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gr2.files.sid_tokens import sid_string
from gr2.files.slates import Slate
from gr2.prompts.answer import Answer
from gr2.traces.accept import LEAST_WORDS, REASONS, Rules, copies, in_script, judge, repeats

IDS = list("abcdef")
SIDS = {item_id: sid_string([number, 2, 3]) for number, item_id in enumerate(IDS)}
SLATE = Slate("slate", ["a", "b"], ["c", "d", "e"], labels=[0.0, 1.0, 1.0])
PROMPT = "Candidates: some films of some kind with a long enough description of what they are. History: more of them."
GOOD = f"The user likes drama, lately {SIDS['b']}, and {SIDS['d']} is another drama."


def judged(reasoning: str = GOOD, ranking: str = "dce") -> str | None:
    return judge(Answer(reasoning, list(ranking)), PROMPT, SLATE, SIDS)


def test_a_good_answer_is_accepted():
    assert judged() is None
    assert judged(GOOD.replace(SIDS["d"], "it")) is None, "citing no candidate is allowed"
    assert judged(GOOD.replace(SIDS["d"], SIDS["e"]), "edc") is None, "any relevant item may come first"


@pytest.mark.parametrize("ranking", ["cde", "ced"])
def test_a_relevant_item_must_come_first(ranking):
    assert judged(ranking=ranking) == "relevant_not_first"


def test_an_unusable_answer_keeps_its_reason():
    for reason in ("no_json", "truncated", "duplicate_id"):
        assert judge(Answer(reason=reason), PROMPT, SLATE, SIDS) == reason


@pytest.mark.parametrize(
    ("reasoning", "reason"),
    [
        ("It is a drama.", "short_explanation"),
        (f"Drama: {SIDS['a']} {SIDS['b']} {SIDS['c']} {SIDS['d']}", "short_explanation"),
        (GOOD + f" Unlike {SIDS['f']}.", "invented_id"),  # in the catalogue, not in the slate
        (GOOD + f" Unlike {sid_string([9, 9, 9])}.", "invented_id"),
        (GOOD + " Unlike <s_a_1>.", "stray_token"),
        (GOOD + "<|im_end|>", "stray_token"),
        (GOOD.replace(SIDS["d"], SIDS["e"]), "cites_another"),
        (GOOD + " " + GOOD, "repeats_itself"),
        ("The user likes drama. " + "The next item is the next item. " * 6, "repeats_itself"),
        (PROMPT[12:80], "copied_prompt"),
    ],
)
def test_every_poor_explanation_has_its_name(reasoning, reason):
    assert judged(reasoning) == reason
    assert reason in REASONS


@pytest.mark.parametrize(
    ("ranking", "rules", "reason"),
    [
        ("cde", Rules(top=2), None),
        ("cde", Rules(top=2, gain=1), "too_little_gain"),  # d stays second
        ("dce", Rules(top=2, gain=1), None),
        ("edc", Rules(gain=1), None),  # the first relevant item rises, whichever it is
        ("dce", Rules(gain=2), "too_little_gain"),
    ],
)
def test_rules_on_the_ranking(ranking, rules, reason):
    assert judge(Answer("", list(ranking)), PROMPT, SLATE, SIDS, rules, has_trace=False) == reason


def test_a_relevant_item_must_be_among_the_first():
    slate = replace(SLATE, labels=[0.0, 0.0, 1.0])
    assert judge(Answer(GOOD, list("dce")), PROMPT, slate, SIDS, Rules(top=2)) == "relevant_not_in_top"
    assert judge(Answer(GOOD, list("dec")), PROMPT, slate, SIDS, Rules(top=2)) is None


CHINESE = "这 用户 喜欢 剧情片 所以 下一部 是 它"


@pytest.mark.parametrize(
    ("text", "prompt", "script", "same"),
    [
        (GOOD, PROMPT, "prompt", True),
        (CHINESE, PROMPT, "prompt", False),
        (CHINESE, CHINESE, "prompt", True),
        (CHINESE, PROMPT, "any", True),
        (CHINESE, PROMPT, "cjk", True),
        ("彼女はこのマンガが好き", CHINESE, "prompt", True),  # Japanese: three scripts, counted as one
        ("The user likes drama, 所以下一部是它, and nothing else", PROMPT, "latin", True),
        ("The user likes drama, 所以下一部电影应该是这部剧情片而不是另一部", PROMPT, "latin", False),
        ("Пользователь любит драмы и ещё раз драмы", PROMPT, "latin", False),
        ("Пользователь любит драмы и ещё раз драмы", PROMPT, "cyrillic", True),
        (GOOD, "", "prompt", True),
    ],
)
def test_an_explanation_is_in_the_script_of_its_prompt(text, prompt, script, same):
    assert in_script(text, prompt, script) == same


def test_another_language_has_its_name():
    assert judged(f"{CHINESE} {SIDS['d']}") == "other_language"
    assert judge(Answer(CHINESE, list("dce")), PROMPT, SLATE, SIDS, Rules(script="any")) is None


def test_without_a_trace_only_the_ranking_counts():
    assert judge(Answer("", list("dce")), PROMPT, SLATE, SIDS, has_trace=False) is None
    assert judge(Answer("", list("cde")), PROMPT, SLATE, SIDS, has_trace=False) == "relevant_not_first"


WORDS = ["this", "viewer", "prefers", "quiet", "westerns", "after", "dark", "dramas", "of", "late"]


@st.composite
def acceptable(draw: st.DrawFn) -> Answer:
    """A relevant item is first and cited, and items of the history may be; unlike words, in any order."""
    order = draw(st.permutations(SLATE.candidates).filter(lambda order: order[0] in SLATE.relevant))
    words = draw(st.lists(st.sampled_from(WORDS), min_size=LEAST_WORDS, unique=True))
    cited = draw(st.lists(st.sampled_from(SLATE.history), unique=True))
    return Answer(" ".join(draw(st.permutations([*words, SIDS[order[0]], *map(SIDS.get, cited)]))), order)


@given(acceptable())
def test_every_explanation_without_a_flaw_is_accepted(answer):
    assert judge(answer, PROMPT, SLATE, SIDS) is None


def say(change: Callable[[str], str]) -> Callable[[Answer], Answer]:
    return lambda answer: replace(answer, reasoning=change(answer.reasoning))


def cite_another(answer: Answer) -> Answer:
    first, second = answer.ranking[:2]
    return replace(answer, reasoning=answer.reasoning.replace(SIDS[first], SIDS[second]))


FLAWS = {
    "relevant_not_first": lambda answer: replace(answer, ranking=["c", "d", "e"]),
    "short_explanation": say(lambda text: " ".join([*SIDS.values(), *text.split()[: LEAST_WORDS - 1]])),
    "other_language": say(lambda text: text + CHINESE * 10),
    "invented_id": say(lambda text: f"{text} {SIDS['f']}"),
    "stray_token": say(lambda text: f"<s_a_1> {text}"),
    "cites_another": cite_another,
    "repeats_itself": say(lambda text: " ".join([text] * 3)),
    "copied_prompt": say(lambda text: PROMPT[12:80]),
}


@pytest.mark.parametrize("flaw", FLAWS)
@given(answer=acceptable())
def test_an_explanation_with_one_flaw_is_refused_for_it(flaw, answer):
    assert judge(FLAWS[flaw](answer), PROMPT, SLATE, SIDS) == flaw


def test_copying_is_measured_in_runs_of_words():
    assert copies("some films of some kind with a long enough description", PROMPT)
    assert not copies("some films of a kind that has a long enough description here", PROMPT)
    assert not copies("their own words entirely, and many of them", PROMPT)
    assert not repeats("the same words, the same words, but never eight of them in a row") and not repeats("")


def test_reasons_are_distinct():
    assert len(set(REASONS)) == len(REASONS)

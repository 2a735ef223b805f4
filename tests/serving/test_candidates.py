import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gr2.files.rankings import Ranking
from gr2.serving.candidates import look_up
from gr2.serving.directory import Directory
from gr2.serving.messages import RankingJob

ITEMS = pl.DataFrame({"item_id": [f"i{at}" for at in range(6)], "title": ["One", "Two", "Two", "", "Fünf", "<b>6</b>"]})
EVENTS = pl.DataFrame({
    "user_id": ["u", "u", "u", "v"],
    "item_id": ["i2", "i0", "i1", "i5"],
    "position": [2, 0, 1, 0],
})  # fmt: skip
DIRECTORY = Directory(ITEMS, EVENTS, history=2)


@pytest.mark.parametrize(("word", "found"), [
    ("i3", "i3"), ("One", "i0"), ("  oNe ", "i0"), ("two", "i1"), ("fünf", "i4"), ("", None), ("   ", None),
    ("I3", None), ("Twoo", None), ("<i>One</i>", "i0"), ("O&#110;e", "i0"),
])  # fmt: skip
def test_an_id_comes_before_a_title(word, found):
    assert DIRECTORY.find(word) == found


def test_a_title_that_two_items_have_is_the_one_that_is_left():
    assert DIRECTORY.find("Two", {"i1"}) == "i2" and DIRECTORY.find("Two", {"i1", "i2"}) == "i1"


@pytest.mark.parametrize(("query", "past"), [
    ("u", ["i1", "i2"]), ("i0", ["i0"]), ("One", ["i0"]), ("i4\nOne\n\nzzz", ["i4", "i0"]),
    ("i1\ni2\ni3", ["i1", "i2", "i3"]),
    ('{"user": "u"}', ["i1", "i2"]), ('{"history": ["One", "i3"]}', ["i0", "i3"]), ('["i3"]', ["i3"]),
    ("nobody", []), ("{", []), ("[]", []), ('{"user": []}', []), ('{"history": 7}', []), ('{"history": "One"}', []),
    ("[" * 10_000, []), ('[{"a": 1}, null, 7]', []),
])  # fmt: skip
def test_a_query_is_a_user_an_item_json_or_lines(query, past):
    assert DIRECTORY.read_query(query) == past


def test_a_user_or_a_history_is_what_it_says():
    assert DIRECTORY.read_past(RankingJob("1", [], user="v")) == ["i5"]
    assert DIRECTORY.read_past(RankingJob("1", [], user="i0")) == []
    assert DIRECTORY.read_past(RankingJob("1", [], history=["i3", "x", "One"])) == ["i3", "i0"]


def test_a_history_is_not_cut_to_what_is_kept_of_a_user():
    assert DIRECTORY.read_past(RankingJob("1", [], history=["i3", "One", "i5", "i2"])) == ["i3", "i0", "i5", "i2"]


@given(
    st.lists(st.sampled_from(["i0", "i1", "i2", "One", "Two", "new", "", "i9"]), min_size=1), st.booleans(), st.data()
)
def test_every_order_is_of_all_candidates_and_what_was_not_ranked_keeps_its_place(words, by_text, data):
    texts = [word or None for word in words]
    lookup = look_up(
        RankingJob("1", words, history=["i0"], by_text=by_text, texts=texts),
        DIRECTORY,
        data.draw(st.booleans()),
        False,
    )
    assert len(set(lookup.ids)) == len(lookup.ids) and sorted([*lookup.kept, *lookup.marks]) == list(range(len(words)))
    if lookup.refuse():
        assert not lookup.ids and lookup.refuse().order == list(range(len(words)))
        return
    ranking = data.draw(st.permutations(lookup.ids))
    answer = lookup.arrange(Ranking("1", ranking, scores=[-float(at) for at in range(len(ranking))]))
    assert sorted(answer.order) == list(range(len(words)))
    assert all(answer.order[place] == place for place in lookup.marks)
    ranked = [at for at in answer.order if at not in lookup.marks]
    assert [lookup.ids[lookup.kept.index(at)] for at in ranked] == ranking
    assert [score is None for score in answer.scores] == [at in lookup.marks for at in answer.order]


def test_what_belongs_to_a_candidate_stays_with_it():
    job = RankingJob(
        "1", ["x", "i2", "i2", "i0"], user="u", scores=[9.0, 8.0, 7.0, 6.0], facts=[{"a": at} for at in range(4)]
    )
    slate = look_up(job, DIRECTORY, False, False).slate
    assert (slate.candidates, slate.scores, slate.facts) == (["i2", "i0"], [8.0, 6.0], [{"a": 1}, {"a": 3}])

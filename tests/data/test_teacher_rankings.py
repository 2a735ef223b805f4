import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gr2.data.teacher_rankings import first_choices, read_teacher_slates, read_whole_rankings
from gr2.errors import InputError
from gr2.files.rankings import Ranking, tabulate, write_rankings
from gr2.files.slates import Slate

SLATE = Slate("s", ["h"], ["a", "b", "c"], [0.0, 1.0, 1.0])
ORDER = ["c", "a", "b"]


def test_scores_teach_their_softmax():
    found = first_choices(SLATE, Ranking("s", ORDER, scores=[2.0, 1.0, -1.0]), 1.0)
    assert found == pytest.approx(np.exp([1, -1, 2]) / np.exp([1, -1, 2]).sum())
    even = first_choices(SLATE, Ranking("s", ORDER, scores=[2.0, 1.0, -1.0]), 1e6)
    assert even == pytest.approx([1 / 3] * 3, abs=1e-5)


@given(st.lists(st.floats(0.01, 10), min_size=1, max_size=9))
def test_choices_of_plackett_luce_teach_the_worths_that_they_were_made_of(worths):
    worths = np.array(worths)
    left = worths[::-1].cumsum()[::-1]
    names = [f"i{at}" for at in range(len(worths))]
    choices = Ranking("s", names, choice_log_probs=np.log(worths / left).tolist())
    assert first_choices(Slate("s", ["h"], names), choices, 1.0) == pytest.approx(worths / worths.sum(), abs=1e-6)


def test_an_order_teaches_halves():
    assert first_choices(SLATE, Ranking("s", ORDER), 1.0) == pytest.approx([1 / 4, 1 / 4, 1 / 2])
    alone = Slate("t", ["h"], ["a"])
    assert first_choices(alone, Ranking("t", ["a"]), 1.0).tolist() == [1.0]


def test_certain_choices_keep_their_order():
    """A log-probability of 0 leaves nothing for the others, whose order still counts."""
    found = first_choices(SLATE, Ranking("s", ORDER, choice_log_probs=[0.0, -0.1, 0.0]), 1.0)
    assert found[2] > 0.999 and found[0] > found[1] > 0


@pytest.fixture
def path(tmp_path) -> str:
    """A teacher's answers to two slates, one of them unusable, and to a slate that nobody asks about."""
    other = Ranking("other", ["x", "y"], scores=[1.0, 0.0])
    unusable = Ranking("u", ["a", "b"], valid=False, scores=[1.0, 0.0])
    write_rankings(
        tabulate([Ranking("s", ORDER, scores=[2.0, 1.0, -1.0]), unusable, other]), tmp_path / "rankings.parquet"
    )
    return str(tmp_path / "rankings.parquet")


SLATES = [Slate("no", ["h"], ["a"], [1.0]), SLATE, Slate("u", ["h"], ["a", "b"], [1.0, 0.0])]


def test_what_is_taught_stands_in_the_labels_of_the_slates_that_were_answered(path):
    (taught,) = read_teacher_slates(path, SLATES, 1.0, 1.0)
    own = first_choices(SLATE, Ranking("s", ORDER, scores=[2.0, 1.0, -1.0]), 1.0)
    assert (taught.slate_id, taught.candidates) == ("s", SLATE.candidates) and taught.labels == pytest.approx(own)
    (mixed,) = read_teacher_slates(path, SLATES, 1.0, 0.25)
    assert mixed.labels == pytest.approx(0.25 * own + 0.75 * np.array([0, 0.5, 0.5]))
    for labels in ([], [0.0, 0.0, 0.0]):
        (alone,) = read_teacher_slates(path, [Slate("s", ["h"], SLATE.candidates, labels)], 1.0, 0.25)
        assert alone.labels == pytest.approx(own)


def test_a_file_without_usable_answers_is_refused(path):
    with pytest.raises(InputError, match="expected usable rankings of train slates"):
        read_teacher_slates(path, [SLATES[0], SLATES[2]], 1.0, 1.0)


def test_scores_of_another_number_than_the_items_are_refused(path):
    frame = pl.read_parquet(path).filter(pl.col("slate_id") == "s")
    frame.with_columns(pl.Series("scores", [[1.0, 2.0]])).write_parquet(path)
    with pytest.raises(InputError, match=r"slate_id 's', column 'scores': expected one finite number per candidate"):
        read_whole_rankings(path, [SLATE])

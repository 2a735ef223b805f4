import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gr2.data.features import DEFINITIONS, NAMES, Features, check_names, find_names
from gr2.errors import InputError
from gr2.files.slates import Slate

ITEMS = pl.DataFrame(
    {
        "item_id": list("abcdef"),
        "title": ["OPI Nail Lacquer red", "opi nail polish", "Essie, polish", "", "", "OPI"],
        "categories": [["Beauty", "Nails"], ["Nails"], ["Beauty", "Hair"], [], [], ["Hair"]],
    }
)
VECTORS = np.random.default_rng(0).normal(size=(6, 4))


def log_of(*events, split="pretrain"):
    """Events of (user, items), one item after the other."""
    rows = [(user, item, at) for user, items in events for at, item in enumerate(items)]
    return pl.DataFrame(rows, schema=["user_id", "item_id", "position"], orient="row").with_columns(split=pl.lit(split))


PRETRAIN = log_of(("u", "abca"), ("v", "ab"), ("w", "cb"))
FEATURES = Features(ITEMS, PRETRAIN, VECTORS)


def columns(features, slate):
    (rows,) = features.compute([slate])
    return dict(zip(NAMES, rows.T.tolist(), strict=True))


def test_the_docs_have_every_feature_with_its_definition():
    section = Path("docs/features.md").read_text().split("\n## ")[0]
    table = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| `")]
    defined = {name.strip("`"): definition for name, definition in table}
    assert list(defined)[: len(NAMES)] == list(NAMES)
    assert {name: defined.pop(name) for name in NAMES} == DEFINITIONS
    assert list(defined) == ["rank_NAME", "score_NAME"]


def test_what_was_known_before_by_hand():
    events = pl.DataFrame(
        {"user_id": "u", "item_id": list("aabc"), "timestamp": [1, 3, 9, 2], "split": ["pretrain"] * 3 + ["test"]}
    )
    vectors = np.array([[2.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    found = columns(Features(ITEMS.head(3), events, vectors), Slate("s", ["b", "a"], list("cab"), scores=[3.0, 2, 1]))
    half = 0.5**0.5
    assert found["popularity"] == pytest.approx(np.log([1, 3, 2]).tolist())
    assert found["recency"] == pytest.approx([0, 1 / 3, 2 / 3])
    assert found["rank"] == pytest.approx([0, 1 / 3, 2 / 3]) and found["top"] == [1, 0, 0]
    assert found["score"] == pytest.approx([1.5**0.5, 0, -(1.5**0.5)])
    assert found["similarity_last"] == pytest.approx([half, 1, 0])
    assert found["similarity_max"] == pytest.approx([half, 1, 1])
    assert found["similarity_mean"] == pytest.approx([half, 0.5, 0.5])


def test_text_matches_by_hand():
    vectors = np.eye(6)[[0, 0, 1, 2, 3, 4]]  # the item most like b is a
    found = columns(Features(ITEMS, PRETRAIN, vectors), Slate("s", ["c", "a", "f"], ["b", "d"]))
    assert found["brand_last"] == [1, 0] and found["brand_share"] == pytest.approx([2 / 3, 0])
    assert found["start_last"] == [0, 0] and found["start_share"] == pytest.approx([1 / 3, 0])
    assert found["words_last"] == pytest.approx([1 / 3, 0])  # opi of opi nail polish
    assert found["words_max"] == found["words_nearest"] == pytest.approx([2 / 5, 0])
    assert found["leaf_last"] == [0, 0] and found["leaf_share"] == pytest.approx([1 / 3, 0])
    other = columns(Features(ITEMS, PRETRAIN, np.eye(6)[[0, 1, 1, 2, 3, 4]]), Slate("s", ["c", "a", "f"], ["b"]))
    assert other["words_nearest"] == pytest.approx([1 / 4]) and other["words_max"] == pytest.approx([2 / 5])


def test_counts_by_hand():
    found = columns(FEATURES, Slate("s", ["a", "c"], ["b", "a", "e"]))
    # a to b twice, c to b once; a to a three events later, c to a at once
    assert found["followed"] == pytest.approx(np.log1p([3, 1 / 3 + 1, 0]).tolist())
    assert found["followed_last"] == pytest.approx(np.log1p([1, 1, 0]).tolist())
    ab, cb, ac = 2 / 6**0.5, 2 / 6**0.5, 1 / 2  # users: a u v; b u v w; c u w
    assert found["together"] == pytest.approx([ab + cb, ac, 0])
    assert found["history_length"] == [2, 2, 2]


def test_items_without_text_match_nothing():
    """Neither two empty titles, nor two items without categories, nor two of one word by their first two."""
    found = columns(FEATURES, Slate("s", ["e", "d"], ["d", "f"]))
    text = NAMES[NAMES.index("brand_last") : NAMES.index("leaf_share") + 1]
    assert len(text) == 9 and all(found[name] == [0, 0] for name in text)
    alone = columns(Features(ITEMS.drop("categories"), PRETRAIN, VECTORS), Slate("s", ["f"], ["f"]))
    assert alone["brand_last"] == alone["words_last"] == [1] and alone["start_last"] == alone["leaf_last"] == [0]


@st.composite
def some_slates(draw):
    made = []
    for number in range(draw(st.integers(1, 4))):
        candidates = draw(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=6, unique=True))
        sources = [
            {name: draw(st.none() | st.just({"rank": at + 1, "score": 5.0 - at**2})) for name in ("bm25", "knn")}
            for at in range(len(candidates))
        ]
        scores = draw(st.lists(st.floats(-1e6, 1e6), min_size=len(candidates), max_size=len(candidates)))
        history = draw(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=8))
        made.append(Slate(f"s{number}", history, candidates, scores=scores, sources=sources))
    return made


@given(some_slates(), st.integers(0, 9))
def test_only_rank_and_top_depend_on_the_order_of_candidates(slates, seed):
    names = [name for name in find_names(slates) if name not in ("rank", "top")]
    assert {"rank_bm25", "score_knn"} < set(names)
    moved = [slate.shuffled(seed) for slate in slates]
    before, after = (FEATURES.compute(made, names) for made in (slates, moved))
    for slate, other, rows, moved_rows in zip(slates, moved, before, after, strict=True):
        order = [slate.candidates.index(item) for item in other.candidates]
        assert moved_rows == pytest.approx(rows[order], abs=1e-6)


@given(some_slates())
def test_a_slate_has_the_same_features_among_any_others(slates):
    names = find_names(slates)
    for slate, rows in zip(slates, FEATURES.compute(slates, names), strict=True):
        assert (rows == FEATURES.compute([slate], names)[0]).all()
        assert rows.shape == (len(slate.candidates), len(names)) and np.isfinite(rows).all()


@given(some_slates(), st.lists(st.tuples(st.sampled_from("uvx"), st.text("abcdef", max_size=6)), max_size=4))
def test_events_of_other_splits_change_nothing(slates, later):
    others = [log_of(*later, split=split).cast(PRETRAIN.schema) for split in ("train", "valid", "test")]
    leaky = Features(ITEMS, pl.concat([*others, PRETRAIN]), VECTORS)
    for found, expected in zip(leaky.compute(slates), FEATURES.compute(slates), strict=True):
        assert (found == expected).all()


def test_pretrain_events_in_any_order_of_rows_count_the_same():
    slate = Slate("s", ["a", "c"], ["b", "a", "e"])
    mixed = Features(ITEMS, PRETRAIN.sample(fraction=1, shuffle=True, seed=1), VECTORS)
    assert columns(mixed, slate) == columns(FEATURES, slate)


def test_what_retrievers_gave():
    given = [{"knn": {"rank": 4, "score": 3.0}}, {"knn": None}, {"knn": {"rank": 1, "score": 5.0}}]
    slate = Slate("s", ["a"], ["b", "c", "d"], sources=given)
    assert find_names([slate]) == (*NAMES, "rank_knn", "score_knn") and find_names([Slate("s", ["a"], ["b"])]) == NAMES
    (rows,) = FEATURES.compute([slate], ["rank_knn", "score_knn"])
    assert rows == pytest.approx(np.array([[1 / 4, -1], [0, -1], [1, 1]]))
    (nothing,) = FEATURES.compute([Slate("s", ["a"], ["b"], sources=[{"knn": None}])], ["rank_knn", "score_knn"])
    assert nothing.tolist() == [[0, 0]]
    with pytest.raises(InputError, match="slate_id 's': expected ranks and scores of bm25 in column 'sources'"):
        FEATURES.compute([slate], ["score_bm25"])


def test_names_that_are_no_features_are_refused():
    check_names((*NAMES, "rank_bm25"), "model.txt")
    with pytest.raises(InputError, match=r"model\.txt: expected features that gr2 knows, found Column_0; run"):
        check_names(("score", "Column_0"), "model.txt")


@pytest.mark.slow
def test_a_hundred_thousand_slates_take_less_than_a_minute():
    rng = np.random.default_rng(0)
    n_items, words = 12_000, np.array([f"word{number}" for number in range(3_000)])
    ids = [f"i{number}" for number in range(n_items)]
    titles = [" ".join(rng.choice(words, 9)) for _ in ids]
    items = pl.DataFrame(
        {"item_id": ids, "title": titles, "categories": [[word] for word in rng.choice(words, n_items)]}
    )
    bought = rng.integers(n_items, size=(10_000, 10))
    events = pl.DataFrame(
        {
            "user_id": np.repeat(np.arange(10_000), 10).astype(str),
            "item_id": [ids[row] for row in bought.ravel()],
            "position": np.tile(np.arange(10), 10_000),
            "split": "pretrain",
        }
    )
    features = Features(items, events, rng.normal(size=(n_items, 384)).astype(np.float32))
    rows = rng.integers(n_items, size=(10_000, 30))
    slates = [
        Slate(str(at), [ids[row] for row in own[:20]], [ids[row] for row in own[20:]]) for at, own in enumerate(rows)
    ]
    start = time.process_time()
    features.compute(slates)
    assert time.process_time() - start < 6  # of a tenth of them

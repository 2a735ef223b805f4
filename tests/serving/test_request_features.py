import numpy as np
import pytest

from gr2.data.features import NAMES, load_features
from gr2.data.text_matches import read_texts
from gr2.files.items import read_items
from gr2.serving.request_features import RequestFeatures


@pytest.fixture(scope="module")
def whole(world):
    return load_features(world.items, world.interactions, world.embeddings)


@pytest.fixture(scope="module")
def texts(world):
    items = read_items(world.items)
    return dict(zip(items["item_id"], read_texts(items), strict=True))


def test_what_is_known_has_the_same_features(whole, texts, asked):
    for slate in asked[:5]:
        features = RequestFeatures(whole, texts, slate, {}, {}, None)
        assert np.allclose(features.compute([slate])[0], whole.compute([slate])[0], atol=1e-6)


def test_a_new_item_with_the_text_and_the_vector_of_another_differs_in_what_was_chosen(whole, texts, asked):
    """The last candidate, as if nobody had ever seen it."""
    slate = asked[0]
    twin = slate.candidates[-1]
    title = texts[twin][0]
    slate_with_new = type(slate)("s", slate.history, [*slate.candidates[:-1], "new"], scores=slate.scores)
    features = RequestFeatures(
        whole, texts, slate_with_new, {"new": title}, {}, lambda texts: 3 * whole.vectors[[whole.row[twin]]]
    )
    expected, found = whole.compute([slate])[0], features.compute([slate_with_new])[0]
    assert np.allclose(found[:-1], expected[:-1], atol=1e-6)
    for name, old, new in zip(NAMES, expected[-1], found[-1], strict=True):
        if name in ("popularity", "recency", "followed", "followed_last", "together", "leaf_last", "leaf_share"):
            assert new == 0, name
        else:
            assert new == pytest.approx(old, abs=1e-6), name


def test_a_given_feature_takes_the_place_of_its_own(whole, texts, asked):
    slate = asked[0]
    features = RequestFeatures(whole, texts, slate, {}, {slate.candidates[1]: {"followed": 7.0, "mood": 3.0}}, None)
    changed = features.compute([slate])[0] - whole.compute([slate])[0]
    assert abs(changed[1, NAMES.index("followed")]) > 1
    changed[1, NAMES.index("followed")] = 0
    assert np.allclose(changed, 0, atol=1e-6)


def test_without_an_encoder_a_new_text_is_like_no_item(whole, texts, asked):
    slate = type(asked[0])("s", asked[0].history, ["new", asked[0].candidates[0]])
    found = RequestFeatures(whole, texts, slate, {"new": "Comedy number 4"}, {}, None).compute([slate])[0][0]
    row = dict(zip(NAMES, found, strict=True))
    assert row["similarity_last"] == row["similarity_max"] == row["popularity"] == 0 and np.isfinite(found).all()
    assert row["words_max"] > 0

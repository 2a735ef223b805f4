import re

import numpy as np
import pytest

from gr2.reports import semantic_id_pictures as pictures
from gr2.reports import semantic_ids as report

FACTS = {
    "items": 1248, "levels": 3, "codes": 8, "quantizer": "rkmeans", "assignment": "minimum",
    "uniqueness": 1.0, "collisions": 0, "collision_sizes": {},
    "uniqueness_before_assignment": 0.913, "collision_sizes_before_assignment": {"2": 31, "6": 1, "9": 3, "120": 1},
    "items_moved_by_assignment": 64, "added_distortion": 0.0011, "added_distortion_of_random": 0.0044,
    "usage": [1.0, 0.875, 0.5], "entropy": [2.91, 2.53, 1.87], "perplexity": [7.52, 5.78, 3.66],
    "reconstruction_error": 0.2403, "reconstruction_error_before_assignment": 0.2392,
    "category_purity": [{"prefix": n, "share": 0.611 + n / 10, "by_chance": 0.1} for n in (1, 2, 3)],
    "neighbour_preservation": [{"prefix": 1, "share": 0.523, "by_chance": 0.0123}],
}  # fmt: skip


def page(items=48, width=16, **changes):
    rng = np.random.default_rng(0)
    assigned = rng.integers(0, 8, (items, 3))
    vectors = (np.eye(8, width)[assigned[:, 0]] + 0.1 * rng.normal(size=(items, width))).astype(np.float32)
    return report.render(FACTS | changes, assigned, vectors)


@pytest.fixture(scope="module")
def usual():
    return page()


def text(html):
    return " ".join(re.sub(r"<[^>]*>", " ", html[html.index("<main>") :]).split())


def test_the_page_holds_the_numbers(usual):
    shown = text(usual)
    for expected in (
        "1,248 items, all with an ID of their own; squared error 0.240 of the vectors&#39; energy.",
        "2 87.5 % 2.53 5.8",  # level, usage, entropy, perplexity
        "own 91.3 % 100.0 %",
        "groups of 2 items with one ID 31 0 groups of 5–9 items with one ID 4 0 groups of 100 or more",
        "64 of 1,248 items were moved to other codes. This added 0.11 %",
        "would have added 0.44 %: 75 % less",
        "1 71.1 % 10.0 % 52.3 % 1.2 % 2 81.1 % 10.0 % – –",
        "the even share, 156.0 items",
    ):
        assert expected in shown, expected


def test_collisions_that_are_left_make_the_verdict_bad(usual):
    assert '<div class="headline good">' in usual
    left = page(assignment="none", uniqueness=0.9, collisions=1100, collision_sizes={"2": 550}, added_distortion=0.0)
    assert '<div class="headline bad">1,248 items, of which 1,100 share their ID with another item' in left
    assert "groups of 2 items with one ID 31 550" in text(left) and "left as they are" in left and "less" not in left


def test_a_catalogue_without_collisions_or_categories_has_no_such_parts(usual):
    plain = page(
        collision_sizes_before_assignment={},
        category_purity=None,
        items_moved_by_assignment=0,
        added_distortion=0.0,
        added_distortion_of_random=0.0,
    )
    assert plain.count("<svg") == 2 and usual.count("<svg") == 3
    assert "category</th>" not in plain and "category</th>" in usual
    assert "0 of 1,248 items were moved to other codes." in plain and "random unused" not in plain


def test_the_same_input_gives_the_same_bytes(usual):
    assert page() == usual


def test_one_item_has_a_page_which_is_escaped_and_loads_nothing():
    html = page(items=1, width=4, quantizer="<script>alert(1)</script>")
    assert "<script" not in html and "&lt;script&gt;" in html
    assert "http://" not in html.replace("http://www.w3.org/", "") and "https://" not in html


def test_axes_order_by_variance_and_do_not_flip_with_the_sign():
    vectors = np.random.default_rng(0).normal(size=(60, 5)) * [1, 5, 2, 1, 1]
    places = pictures.principal_axes(vectors)
    assert abs(np.corrcoef(places[:, 0], vectors[:, 1])[0, 1]) > 0.95 and places[:, 0].std() > places[:, 1].std()
    assert (places[np.abs(places).argmax(axis=0), [0, 1]] > 0).all()
    assert not pictures.principal_axes(np.ones((5, 3))).any()
    assert pictures.principal_axes(vectors[:, :1]).shape == (60, 2)


@pytest.mark.parametrize(
    "added, random, expected", [(0.0, 0.0, None), (0.1, 0.4, "75 % less"), (0.6, 0.4, "50 % more")]
)
def test_saving(added, random, expected):
    assert report.saving(added, random) == expected


def test_the_page_in_a_browser_of_390_pixels(usual, chromium, tmp_path):
    (tmp_path / "quality.html").write_text(usual)
    for scheme in ("light", "dark"):
        chromium.open((tmp_path / "quality.html").as_uri(), 390, scheme=scheme)
        assert chromium.cut_off() == [] and chromium.run("document.documentElement.scrollWidth") <= 390

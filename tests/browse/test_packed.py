"""What the page packs for its lists and for single slates, without a browser."""

from itertools import chain

import pytest

from gr2.browse import page
from gr2.browse.collect import collect
from gr2.browse.find import find_files


@pytest.fixture(scope="module")
def content(run):
    return collect(find_files(run, "test", []), "test", 5000)


def test_details_are_the_columns_in_parts(content):
    parts = list(page.details(content))
    assert len(parts) == 3 and len(content["slates"]["id"]) == 300
    for name in page.OF_SLATES:
        assert list(chain.from_iterable(part[name] for part in parts)) == content["slates"][name]
    for at, system in enumerate(content["systems"]):
        for name in page.OF_SYSTEMS:
            assert list(chain.from_iterable(part["systems"][at].get(name, []) for part in parts)) == system.get(
                name, []
            )


def test_the_summary_has_places_firsts_and_who_explains(content):
    summary = page.sum_up(content)
    good, bad, broken, part = summary["systems"]
    assert [system["place"][0] for system in (good, bad, broken, part)] == [2, 6, 3, 3]
    assert summary["slates"]["place"] == [3] * 300 and part["place"][1] == 0
    assert good["first"][:2] == [0, 0] and part["first"][:2] == [0, None]
    assert [at for at, explains in enumerate(good["explains"]) if explains] == [5] and bad["explains"] == []
    assert not {*page.OF_SLATES, *page.OF_SYSTEMS} & {*summary["slates"], *good}


def test_without_labels_nothing_is_relevant():
    assert page.find_place([2, 0, 1], []) == 0 and page.find_place(None, [1]) == 0
    assert page.find_place([2, 0, 1], [0, 0.5, 0]) == 3

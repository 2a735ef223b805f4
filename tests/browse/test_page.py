"""The page in a headless Chromium: a user's ways through it."""

import json
from urllib.parse import unquote

import pytest

from tests.browse.conftest import CATEGORY, HOSTILE, SLATES, slate

BROKEN = ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled")


@pytest.fixture
def browser(chromium, page):
    """The page at 1280 pixels; afterwards nothing had gone wrong, and nothing had been asked of a network."""
    show(chromium, page)
    yield chromium
    assert [event for event in chromium.seen if event.get("method") in BROKEN] == []
    asked = [
        event["params"]["request"]["url"]
        for event in chromium.seen
        if event.get("method") == "Network.requestWillBeSent"
    ]
    assert [url for url in asked if not url.startswith("file:")] == []


def show(browser, url, width=1280, **options):
    browser.open(url, width, **options)
    browser.wait("performance.getEntriesByName('drawn').length > 0")


def texts(browser, selector):
    return browser.run(f"[...document.querySelectorAll({json.dumps(selector)})].map(found => found.textContent)")


def count(browser):
    return int(texts(browser, "#count")[0].split(" of ")[0].replace(",", ""))


def choose(browser, choice, value):
    browser.run(f"(() => {{ const choice = document.getElementById('{choice}'); choice.value = {json.dumps(value)};"
                " choice.dispatchEvent(new Event('change')); })()")  # fmt: skip
    browser.settle()


def search(browser, text):
    """Replaces the text that is there."""
    browser.run("document.getElementById('q').select(); document.execCommand('delete')")
    browser.type(text)


def heading(browser):
    return texts(browser, "#slate h2")[0]


def address(browser):
    return unquote(browser.run("location.hash").replace("+", " "))


def test_it_opens_with_all_slates_and_few_elements(browser):
    assert count(browser) == SLATES and heading(browser) == "Slate s0"
    assert len(texts(browser, ".row")) < 40  # those in sight
    browser.run("document.getElementById('list').scrollTop = 58 * 250")
    browser.settle()
    rows = texts(browser, ".row")
    assert any(row.startswith("s250") for row in rows) and len(rows) < 40


def holding(item):
    """How many slates have an item among their candidates or in their history."""
    rows = [slate(number, "test") for number in range(SLATES)]
    return sum(item in row["candidates"] + row["history"] for row in rows)


def test_search_finds_titles_items_users_and_slates(browser):
    search(browser, "film 31")
    found = texts(browser, ".row")
    assert 0 < count(browser) < SLATES and "31" in texts(browser, "#slate .hit")[0] and found[0].startswith("s0")
    for query, number in (
        ("user:u7", 2), ("u7", 2), ("slate:s12", 1), ("s12", 1), ("user:u7 polish", 2), ("nothing like this", 0),
        ("item:i7", holding("i7")), ("café ångström", holding("i4")),
    ):  # fmt: skip
        search(browser, query)
        assert count(browser) == number, query
    search(browser, "item:i7 nothing")
    assert texts(browser, "#slate") == ["No slate matches."]
    search(browser, "")
    assert count(browser) == SLATES


def test_filters_are_about_the_chosen_system(browser):
    for system, shown, number in (
        ("fine <b>", "up", SLATES), ("fine <b>", "down", 0), ("bad", "down", SLATES), ("bad", "up", 0),
        ("broken", "same", SLATES), ("broken", "unusable", SLATES // 2), ("part", "same", 1), ("part", "traced", 1),
        ("part", "disagree", SLATES),
    ):  # fmt: skip
        choose(browser, "system", system)
        choose(browser, "show", shown)
        assert count(browser) == number, (system, shown)
    browser.run("document.querySelector('[name=column][value=bad]').click()")
    assert count(browser) == 0  # without it nobody drops the relevant item: nobody disagrees
    choose(browser, "show", "down")
    choose(browser, "system", "bad")
    choose(browser, "against", "fine <b>")
    assert texts(browser, ".row .move")[0] == "2 → 6 ▼4"


def test_sorts_put_gains_and_losses_first(browser):
    choose(browser, "system", "broken")
    choose(browser, "against", "part")  # only s0 was ranked by both
    for sort in ("gain", "loss"):
        choose(browser, "sort", sort)
        assert texts(browser, ".row")[0].startswith("s0"), sort


def test_keys_walk_search_and_help(browser):
    browser.press("j")
    browser.press("ArrowDown")
    assert heading(browser) == "Slate s2" and "slate=s2" in address(browser)
    browser.press("k")
    assert heading(browser) == "Slate s1"
    browser.press("?")
    assert browser.run("document.getElementById('help').open")
    browser.press("j")
    assert heading(browser) == "Slate s1"  # the help is read, not the list
    browser.press("Escape")
    assert not browser.run("document.getElementById('help').open")
    browser.press("/")
    browser.type("kj?")
    assert browser.run("document.getElementById('q').value") == "kj?" and count(browser) == 0
    browser.press("Escape")
    assert browser.run("[document.activeElement.id, document.getElementById('q').value]") == ["", "kj?"]
    search(browser, "")
    browser.press("Escape")
    browser.run("document.getElementById('list').scrollTop = 0")
    for _ in range(20):
        browser.press("j")
    row = browser.run("(row => [row.getBoundingClientRect().top, row.getBoundingClientRect().bottom])"
                      "(document.querySelector('.row[aria-current]'))")  # fmt: skip
    assert heading(browser) == "Slate s20" and 0 < row[0] < row[1] < 902
    browser.press("f")
    assert "show=up" in address(browser)
    browser.press("s")
    assert "system=" in address(browser)


def test_an_address_holds_a_view(browser, page):
    search(browser, "film 31")
    choose(browser, "show", "down")
    choose(browser, "system", "bad")
    browser.run("document.querySelector('[name=column][value=broken]').click()")
    browser.press("Escape")
    browser.press("j")
    before = address(browser), heading(browser), count(browser), texts(browser, ".orders th"), texts(browser, ".row")
    link = browser.run("location.href")
    show(browser, page)
    assert heading(browser) == "Slate s0"
    show(browser, link)
    after = address(browser), heading(browser), count(browser), texts(browser, ".orders th"), texts(browser, ".row")
    assert before == after and browser.run("document.getElementById('q').value") == "film 31"


def test_a_row_is_a_link_and_the_way_back_works(browser):
    browser.run("document.querySelectorAll('.row')[4].click()")
    browser.wait("document.querySelector('#slate h2').textContent === 'Slate s4'")
    browser.run("history.back()")
    browser.wait("document.querySelector('#slate h2').textContent === 'Slate s0'")


@pytest.mark.parametrize("hash", ["#slate=absent", "#system=%00&against=x&show=constructor&sort=__proto__&columns=a",
                                  "#q=%3Cscript%3E", "#%E0%A4%A"])  # fmt: skip
def test_an_address_that_says_nonsense_breaks_nothing(browser, page, hash):
    show(browser, page + hash)
    assert texts(browser, "#count")[0].endswith("300 slates. ")
    if "absent" in hash:
        assert texts(browser, "#slate") == ["No slate is called absent."]


def test_a_slate_shows_orders_labels_scores_facts_and_traces(browser, page):
    show(browser, page + "#slate=s5")
    heads = texts(browser, ".orders tr:first-child th")
    assert [head for head in heads if head.startswith("fine <b>")] == ["fine <b>3 → 2 ▲1"] and "bad3 → 6 ▼3" in heads
    assert "broken" + "unusable: truncated" in heads and "partnot ranked" in heads
    relevant = texts(browser, ".orders td.target .title")
    assert relevant == ["Film number 7"] * 4
    assert texts(browser, ".orders td.target small") == ["was 3", "0.75", "stays", "was 3 · nan"]
    assert texts(browser, "tr.target td")[1:3] == ["1", "0.75"]
    browser.click("#facts summary")
    browser.wait("document.querySelector('#facts tr') !== null")
    assert texts(browser, "#facts tr:nth-child(3) td.level") == ["1", "9"]
    assert texts(browser, ".reasoning") == ["<b>After</b> Film number 25 comes 3 Film number 7, not Film number 20."]
    marks = browser.run("[...document.querySelectorAll('.cited')].map(mark => mark.className)")
    assert marks == ["cited history", "cited candidate", "cited stranger"]
    paddings = browser.run("[...document.querySelectorAll('.cited')].map(mark => getComputedStyle(mark).paddingLeft)")
    assert len(set(paddings)) == 1
    assert len(texts(browser, "ol.history li")) == 14 and texts(browser, "details summary")[1] == "4 earlier"


def test_walking_keeps_the_facts_open_and_starts_at_the_top(browser):
    browser.run("document.querySelector('#facts').open = true; document.getElementById('slate').scrollTop = 300")
    browser.press("j")
    browser.wait("document.querySelector('#facts tr') !== null")
    assert browser.run("document.getElementById('slate').scrollTop") == 0
    browser.run("document.getElementById('slate').scrollTop = 300")
    browser.run("document.querySelector('[name=column][value=bad]').click()")
    browser.settle()
    assert browser.run("document.getElementById('slate').scrollTop") == 300  # the same slate


def test_hostile_texts_are_texts(browser, page):
    shown = texts(browser, ".orders td .title")
    for title in list(HOSTILE.values())[:4]:
        assert title in shown
    assert f"{CATEGORY} › Polish" in texts(browser, "td small") and "user <i>first</i>" in texts(browser, "#slate p")[0]
    assert "my <run>" in texts(browser, "h1")[0]
    elements = browser.run(
        "['script', 'img', 'b:not(.who b, #help b)', 'i', 'u'].map(name => document.querySelectorAll(name).length)"
    )
    assert elements == [2, 0, 0, 0, 0]  # the data and the page's own script
    assert browser.run("window.hacked") is None
    browser.run("void document.body.append(Object.assign(document.createElement('div'), "
                "{innerHTML: '<img src=x onerror=\"window.hacked = 1\">'}))")  # fmt: skip
    browser.settle()
    assert browser.run("window.hacked") is None  # the page's policy: even markup that got in would not run
    browser.seen.clear()  # the browser reports what its policy stopped
    search(browser, "</script><script>window.hacked")
    assert count(browser) > 0 and browser.run("window.hacked") is None


def test_a_teachers_traces_are_columns_of_their_own(browser, run, tmp_path):
    from tests.helpers import gr2

    gr2("browse", run, "--split", "train", "--output", tmp_path / "train.html")
    show(browser, (tmp_path / "train.html").as_uri() + "#slate=t1")
    assert texts(browser, ".orders tr:first-child th")[1:] == ["input_order3", "teacher3 → 3 ·", "traces 03 → 4 ▼1"]
    assert texts(browser, ".reasoning") == ["<u>Why</u>"] * 2
    assert "targeted, some/teacher, not accepted: copied_prompt" in texts(browser, "#slate p")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_390_pixels_show_the_list_or_the_slate_and_nothing_is_cut_off(browser, page, scheme):
    show(browser, page, 390, height=844, scheme=scheme)
    visible = "['aside', 'main'].map(name => document.querySelector(name).offsetParent !== null)"
    assert browser.run(visible) == [True, False]
    browser.run("document.getElementById('list').scrollTop = 58 * 100")
    browser.settle()
    browser.run("[...document.querySelectorAll('.row')].find(row => row.textContent.startsWith('s101 ')).click()")
    browser.wait("document.querySelector('#slate h2').textContent === 'Slate s101'")
    assert browser.run(visible) == [False, True]
    assert browser.run("document.documentElement.scrollWidth") == 390
    assert browser.cut_off() == []
    box = "document.querySelector('.scroll:has(.orders)')"
    assert browser.run(f"[{box}.scrollWidth > {box}.clientWidth, getComputedStyle({box}).overflowX]") == [True, "auto"]
    browser.click(".steps a:last-child")
    browser.wait("document.querySelector('#slate h2').textContent === 'Slate s102'")
    browser.click(".back")
    browser.wait("!document.body.classList.contains('open')")
    assert browser.run("document.getElementById('list').scrollTop") == 58 * 100  # the list is where it was left

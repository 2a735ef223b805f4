import re

from hypothesis import given, settings
from hypothesis import strategies as st
from markupsafe import Markup, escape

from gr2.reports.render import add_contents


def page(titles):
    sections = "".join(f"<section>\n<h2>{escape(title)}</h2>\n<p>{escape(title)}</p></section>\n" for title in titles)
    return Markup("<h1>Report</h1>\n" + sections)


@given(st.lists(st.text(max_size=20), max_size=6))
@settings(max_examples=40)
def test_every_section_has_an_entry_that_leads_to_it(titles):
    shown = add_contents(page(titles))
    links, anchors = re.findall('href="#([^"]*)"', shown), re.findall('section id="([^"]*)"', shown)
    assert (
        links == anchors and len(set(links)) == len(titles) and all(re.fullmatch("[a-z0-9-]+", link) for link in links)
    )
    without = re.sub(' id="[^"]*"|<nav.*</nav>\n', "", shown, flags=re.DOTALL)
    assert without == page(titles)


def test_the_contents_stand_before_the_first_section():
    shown = add_contents(page(["Quality and cost", "A <b> & c"]))
    assert shown.index("<h1>") < shown.index("<nav") < shown.index('<section id="quality-and-cost">')
    assert '<a href="#a-b-c">A &lt;b&gt; &amp; c</a>' in shown

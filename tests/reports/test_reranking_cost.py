from gr2.evaluation.cost import SHARED
from gr2.reports.render import FOLDER


def test_the_page_names_every_stage_whose_seconds_are_not_counted():
    text = (FOLDER / "reranking_cost.html.j2").read_text()
    named = text.partition("except those that all systems share:")[2].partition(".")[0]
    assert [stage for stage in SHARED if stage not in named] == []

import pytest

from gr2.files.artifacts import read_json
from gr2.files.slates import PROTOCOLS
from gr2.reports.slate_counts import ABOUT, HEADS, tabulate_counts
from gr2.stages import slates


@pytest.mark.parametrize("protocol", ["next", "later", "impressions"])
def test_the_table_has_every_count_that_the_stage_wrote_and_a_ceiling_where_something_was_retrieved(
    world, tmp_path, protocol
):
    options = {"items": world.items, "interactions": world.interactions, "output_dir": str(tmp_path)}
    relevant = {"next": {}, "later": {"relevant": 2}, "impressions": {"liked": 1.0}}[protocol]
    if protocol == "impressions":  # the world has no ratings
        import polars as pl

        rated = pl.read_parquet(world.interactions).with_columns(rating=(pl.int_range(pl.len()) % 3).cast(pl.Float64))
        rated.write_parquet(tmp_path / "rated.parquet")
        options["interactions"] = str(tmp_path / "rated.parquet")
    slates.run(slates.Config(**options, **relevant, pre_ranker=["popularity"], exclude_seen=False, protocol=protocol))
    report = read_json(tmp_path / "slates_report.json")
    table = tabulate_counts(report)
    assert report["protocol"] == protocol and (table["ceilings"] is not None) == (protocol == "next")
    for split, row in table["rows"].items():
        counts = report["splits"][split]
        positions, *left_out, made = row
        assert positions == counts["positions"] and made == counts["slates"] and positions == sum(left_out) + made
        if protocol == "next":
            assert table["ceilings"][split] == made / positions
    assert sum(row[-1] for row in table["rows"].values()) > 0


def test_every_protocol_has_a_table_and_without_a_report_there_is_none():
    assert HEADS.keys() == ABOUT.keys() == set(PROTOCOLS)
    assert tabulate_counts(None) is None

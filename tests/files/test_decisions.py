import os

from gr2.files.decisions import find_latest_decision, point_current, read_decisions, write_decision


def line(day, decision="promoted", **more):
    return {"day": day, "decision": decision, **more}


def test_a_day_has_one_line_and_days_are_in_order(tmp_path):
    for day, decision in (("2026-03-02", "kept"), ("2026-03-01", "promoted"), ("2026-03-02", "promoted")):
        write_decision(tmp_path, line(day, decision))
    assert read_decisions(tmp_path) == [line("2026-03-01"), line("2026-03-02")]


def test_a_day_that_was_refused_is_not_decided(tmp_path):
    assert find_latest_decision(tmp_path) is None
    write_decision(tmp_path, line("2026-03-01", "refused", reason="a row"))
    assert find_latest_decision(tmp_path) is None
    write_decision(tmp_path, line("2026-02-28", "kept"))
    assert find_latest_decision(tmp_path) == line("2026-02-28", "kept")


def test_the_link_moves_on_and_never_back(tmp_path):
    for day in ("2026-03-01", "2026-03-02", "2026-03-01"):
        point_current(tmp_path, day)
        write_decision(tmp_path, line(day))
    assert os.readlink(tmp_path / "current") == "2026-03-02"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["current", "decisions.jsonl"]

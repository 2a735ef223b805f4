"""What a run says while it works."""

import re

import pytest

from gr2 import terminal
from gr2.terminal import Progress, describe_duration, show_progress, warn


@pytest.fixture
def clock(monkeypatch):
    """The seconds that have passed; a test sets them."""
    passed = {"now": 0.0}
    monkeypatch.setattr(terminal.time, "monotonic", lambda: passed["now"])
    return passed


def lines(capsys) -> list[str]:
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()


def test_work_that_is_soon_done_says_nothing(clock, capsys):
    assert list(show_progress(range(1000), "packing", 1000, "documents")) == list(range(1000))
    assert lines(capsys) == []


def test_long_work_says_how_far_it_is_and_how_long_it_takes(clock, capsys):
    progress = Progress("packing", 4000, "documents", done=1000)
    clock["now"] = 60.0
    progress.advance(1000, "loss 0.5")
    (line,) = lines(capsys)
    assert re.fullmatch(r"\d\d:\d\d:\d\d packing: 2,000 of 4,000 documents, 2 min left; loss 0\.5", line)


def test_without_a_total_it_says_how_much_is_done(clock, capsys):
    for _ in show_progress(range(3), "reading", unit="MiB"):
        clock["now"] += 10
    assert [line.partition(" ")[2] for line in lines(capsys)] == ["reading: 1 MiB", "reading: 2 MiB", "reading: 3 MiB"]


def test_a_day_of_work_says_something_at_most_every_two_minutes(clock, capsys):
    progress = Progress("training", 86_400, "steps")
    for _ in range(86_400):
        clock["now"] += 1
        progress.advance()
    said = lines(capsys)
    assert 86_400 / 120 <= len(said) < 86_400 / 120 + 40
    assert said[0].endswith("10 of 86,400 steps, 24 h 0 min left")


def test_of_several_processes_only_the_first_speaks(monkeypatch, capsys):
    monkeypatch.setenv("RANK", "1")
    warn("nothing is validated")
    assert lines(capsys) == []
    monkeypatch.setenv("RANK", "0")
    warn("nothing is validated")
    assert lines(capsys) == ["gr2: warning: nothing is validated"]


@pytest.mark.parametrize(("seconds", "text"), [
    (0.4, "0 s"), (75, "75 s"), (400, "7 min"), (5400, "90 min"), (9000, "2 h 30 min"), (86_400, "24 h 0 min"),
])  # fmt: skip
def test_durations(seconds, text):
    assert describe_duration(seconds) == text

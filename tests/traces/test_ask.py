"""Asking a teacher, and going on where an interrupted run stopped."""

import json
from pathlib import Path

import pytest

from gr2.errors import InputError
from gr2.prompts.prompt import prompt_file
from gr2.stages import traces
from gr2.traces.store import PARTIAL
from tests.traces.fake_teacher import interrupt, run


def test_a_second_try_waits_for_no_slate(tables, tmp_path, fake):
    """All slates are in one pool: the engine's four places are full while any slate waits."""
    rows = run(tables, tmp_path)
    first_retry = next(n for n, request in enumerate(fake.asked) if request.temperature > 0.7)
    assert first_retry < 10 and fake.most_in_flight == 4
    assert [row["slate_id"] for row in rows] == sorted(
        (row["slate_id"] for row in rows), key=lambda name: int(name[5:])
    )


def test_an_interrupted_run_resumes_to_the_same_bytes(tables, tmp_path, fake):
    """Killed after every number of answers, with the last line torn: nothing is lost, doubled or different."""
    run(tables, tmp_path / "whole")
    files = ("traces.jsonl", "summary.json")
    expected = [(tmp_path / "whole" / name).read_bytes() for name in files]
    assert not (tmp_path / "whole" / PARTIAL).exists()
    answers = len(fake.asked)
    for done in range(1, answers):
        folder = tmp_path / f"killed{done}"
        fake.answers_left = done
        with pytest.raises(KeyboardInterrupt):
            run(tables, folder)
        partial = folder / PARTIAL
        content = partial.read_bytes()
        partial.write_bytes(content[: -len(content.splitlines()[-1]) // 2])
        fake.answers_left, already = 1_000, len(fake.asked)
        run(tables, folder)
        assert [(folder / name).read_bytes() for name in files] == expected
        assert len(fake.asked) - already == answers - done + 1, "only the torn answer is asked for again"


def test_a_finished_run_resumes_without_its_model(tables, tmp_path, fake, monkeypatch):
    """Killed after the last answer, before traces.jsonl was written."""
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(traces, "summarise", raise_interrupt)
        run(tables, tmp_path)
    monkeypatch.setattr(traces, "open_sampler", None)  # calling it would fail
    rows = run(tables, tmp_path)
    assert len(rows) == len(fake.asked)
    assert json.loads((tmp_path / "timing.json").read_text())["samples"] == 0


def raise_interrupt(*_) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    "changes",
    [
        {"temperature": 0.3},
        {"accept_top": 2},
        {"prompt": "student"},
        {"priming": False},
        {"domain": "movies"},
        {"model_name_or_path": "another"},
    ],
)
def test_a_partial_file_of_another_run_is_refused(tables, tmp_path, fake, changes):
    interrupt(tables, tmp_path, fake)
    with pytest.raises(InputError, match=rf"traces\.partial: holds rows of a run with other {next(iter(changes))};"):
        run(tables, tmp_path, **changes)


def test_a_partial_file_of_other_files_under_the_same_names_is_refused(tables, tmp_path, fake):
    """The teacher's folder and the prompt's domain hold something else now."""
    model, domain = tmp_path / "model", tmp_path / "domain.yaml"
    model.mkdir()
    changes = {"model_name_or_path": str(model), "domain": str(domain)}
    for name, file, texts in (
        ("model_name_or_path", model / "config.json", ["{}", '{"layers": 2}']),
        ("domain", domain, [Path(prompt_file(about)).read_text() for about in ("movies", "games")]),
    ):
        (model / "config.json").write_text("{}")
        domain.write_text(Path(prompt_file("movies")).read_text())
        file.write_text(texts[0])
        interrupt(tables, tmp_path / name, fake, **changes)
        file.write_text(texts[1])
        with pytest.raises(InputError, match=rf"traces\.partial: holds rows of a run with other {name};"):
            run(tables, tmp_path / name, **changes)


def damaged(content: str) -> dict[str, str]:
    """What two runs at once, and kills, can make of a partial file with a head and eight lines of one row each."""
    head, *rows = content.splitlines(keepends=True)
    return {
        "two heads": head + content,
        "all of it twice": content + content,
        "a head in the middle": head + "".join(rows[:3]) + head + "".join(rows[2:]),
        "a line too many": content + rows[-1],
        "a torn head": head[:40],
        "a torn head and a whole one": head[:40] + "\n" + content,
        "a line torn in the middle": head + "".join(rows[:3]) + rows[3][:50] + "".join(rows[4:]),
        "a line that is no row": content + "[]\n3\n{}\n\n",
        "no more than an end of a line": "\n",
    }


@pytest.mark.parametrize("damage", list(damaged("head\n" + "row\n" * 8)))
def test_a_damaged_partial_file_resumes_to_the_same_bytes(tables, tmp_path, fake, damage):
    run(tables, tmp_path / "whole")
    partial = interrupt(tables, tmp_path / "killed", fake, answers=8)
    partial.write_text(damaged(partial.read_text())[damage])
    run(tables, tmp_path / "killed")
    for name in ("traces.jsonl", "summary.json"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_two_runs_at_once_that_are_both_killed_leave_work_that_resumes(tables, tmp_path, fake):
    """The second begins while the first is under way; both append to one file."""
    run(tables, tmp_path / "whole")
    expected = (tmp_path / "whole/traces.jsonl").read_bytes()
    first = interrupt(tables, tmp_path / "first", fake, answers=5).read_text()
    second = interrupt(tables, tmp_path / "second", fake, answers=9).read_text()
    lines = [line for pair in zip(first.splitlines(), second.splitlines(), strict=False) for line in pair]
    (tmp_path / "first" / PARTIAL).write_text("\n".join(lines) + "\n")
    run(tables, tmp_path / "first")
    assert (tmp_path / "first/traces.jsonl").read_bytes() == expected


def test_a_partial_file_that_does_not_say_of_what_run_it_is_is_refused(tables, tmp_path, fake):
    partial = interrupt(tables, tmp_path, fake)
    head, *rows = partial.read_text().splitlines(keepends=True)
    partial.write_text("".join(rows))
    with pytest.raises(InputError, match=r"traces\.partial: expected a line that says what its rows depend on"):
        run(tables, tmp_path)
    partial.write_text(head + head.replace('"tries": 3', '"tries": 5') + "".join(rows))
    with pytest.raises(InputError, match=r"traces\.partial: holds rows of a run with other tries;"):
        run(tables, tmp_path)
    partial.write_text(head + rows[0].replace('"slate_id": "slate', '"slate_id": "plate'))
    with pytest.raises(InputError, match=r"traces\.partial: slate 'plate\d' is none that this run asks about"):
        run(tables, tmp_path)

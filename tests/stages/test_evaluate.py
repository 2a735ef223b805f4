import json
import subprocess
import sys
from html import unescape
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from gr2.arrays import pad
from gr2.errors import InputError
from gr2.evaluation.significance import number
from gr2.stages.evaluate import Config, run
from tests.helpers import refused

TRACE = '{"slate_id": %s, "mode": "m", "accepted": true, "reason": null, "completion_tokens": %s, "teacher": null}\n'
INJECTION = "<script>alert(1)</script> & a very long title " * 8


def ranking(slates, positions, **columns):
    """A rankings frame: `positions` of each slate's candidates."""
    ranked = [
        [candidates[at] for at in order] for candidates, order in zip(slates["candidates"], positions, strict=True)
    ]
    return pl.DataFrame({"slate_id": slates["slate_id"], "ranking": ranked, "valid": [True] * len(slates)} | columns)


@pytest.fixture
def folder(tmp_path):
    """60 test slates of 30 users, 4 to 6 candidates; `good` lifts the target by one place, `copy` changes nothing."""
    rng = np.random.default_rng(0)
    rows = []
    for number_ in range(64):
        size = int(rng.integers(4, 7))
        candidates = [f"i{item}" for item in rng.choice(30, size, replace=False)]
        labels = [0.0] * size
        labels[int(rng.integers(1, size))] = 1.0
        split = "test" if number_ < 60 else "valid"
        rows.append(
            {
                "slate_id": f"s{number_}",
                "user_id": f"u{number_ // 2}",
                "history": ["i1", "i2"] * 7,
                "candidates": candidates,
                "labels": labels,
                "split": split,
            }
        )
    slates = pl.DataFrame(rows)
    lifted, copied = [], []
    for labels in slates["labels"].to_list():
        order, target = list(range(len(labels))), labels.index(1)
        copied.append(list(order))
        order[target - 1], order[target] = target, target - 1
        lifted.append(order)
    slates.write_parquet(tmp_path / "slates.parquet")
    traced = {"reasoning": ["Because <b>shampoo</b> precedes conditioner."] * 64, "completion_tokens": [20] * 64}
    ranking(slates, lifted, **traced).write_parquet(tmp_path / "good.parquet")
    ranking(slates, copied, valid=[False] * 16 + [True] * 48).write_parquet(tmp_path / "copy.parquet")
    names = [f"i{n}" for n in range(30)]
    pl.DataFrame({"item_id": names, "title": [INJECTION + name for name in names]}).write_parquet(
        tmp_path / "items.parquet"
    )
    return tmp_path


def config(folder, **changes):
    defaults = {
        "slates": str(folder / "slates.parquet"),
        "rankings": [f"good={folder / 'good.parquet'}", f"copy={folder / 'copy.parquet'}"],
        "output_dir": str(folder / "out"),
        "resamples": 500,
    }
    return Config(**defaults | changes)


def results(folder, **changes):
    run(config(folder, **changes))
    return json.loads((folder / "out" / "metrics.json").read_text())


def gr2_evaluate(folder, *words):
    command = [sys.executable, "-m", "gr2", "evaluate", "--slates", "slates.parquet", *words, "--output_dir", "out"]
    root = str(Path(__file__).parents[2])
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env={"PYTHONPATH": root, "PATH": ""})


def test_command_line(folder):
    done = gr2_evaluate(folder, "--rankings", "good=good.parquet", "copy=copy.parquet", "--resamples", "200")
    assert done.returncode == 0, done.stderr
    assert {"metrics.json", "report.html", "manifest.json"} == {file.name for file in (folder / "out").iterdir()}
    assert "good beats the input order" in " ".join(done.stdout.split())


def test_bad_arguments_exit_with_2_and_write_nothing(folder):
    done = gr2_evaluate(folder, "--rankings", "good.parquet")
    assert done.returncode == 2 and "expected NAME=FILE" in done.stderr and "Traceback" not in done.stderr
    assert not (folder / "out").exists()


def test_bad_input_exits_with_2_and_writes_no_result(folder):
    done = gr2_evaluate(folder, "--rankings", "mine=absent.parquet")
    assert done.returncode == 2 and "absent.parquet: no such file" in done.stderr and "Traceback" not in done.stderr
    written = {file.name for file in (folder / "out").iterdir()} if (folder / "out").exists() else set()
    assert written <= {"stage.json"}  # the stage runner's note of what was begun


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"rankings": []}, "--rankings: expected one or more NAME=FILE"),
        ({"rankings": ["=r.parquet"]}, "expected NAME=FILE"),
        ({"rankings": ["a="]}, "expected NAME=FILE"),
        ({"rankings": ["a=r.parquet", "b=s.parquet", "a=r.parquet"]}, "'a' has this file twice"),
        (
            {"rankings": ["a=r.parquet"], "against": ["b"]},
            "--against b: expected names of --rankings, each once; they are a",
        ),
        ({"rankings": ["a=r.parquet"], "against": ["a", "a"]}, "--against a: expected names of --rankings, each once"),
        ({"training_log": ["a.jsonl", "b.jsonl"]}, "--training_log a.jsonl: expected NAME=FILE"),
        ({"training_log": ["a=a.jsonl", "a=b.jsonl"]}, "the name 'a' is given twice"),
        ({"rankings": ["oracle=r.parquet"]}, "always computed"),
        ({"rankings": ["a\x1b[31m=r.parquet"]}, r"--rankings 'a\\x1b\[31m': expected a name of printable characters"),
        ({"evaluator": "e", "list_size": 2}, "--evaluator: expected --list_size, --items and --semantic_ids beside it"),
    ],
)
def test_bad_arguments_are_refused_before_the_stage_begins(folder, changes, message):
    with pytest.raises(InputError, match=message):
        config(folder, **changes)


@pytest.mark.parametrize(("option", "value", "complaint"), [
    ("split", "dev", "--split dev: expected one of"), ("resamples", 0, "a number from 100 to 1,000,000"),
    ("resamples", 10**9, "a number from 100 to 1,000,000"), ("list_size", 0, "a number of at least 1"),
    ("seed", -1, "a number of at least 0"),
])  # fmt: skip
def test_numbers_out_of_range_are_refused_before_anything_is_read(tmp_path, option, value, complaint):
    words = ["--slates", "s", "--rankings", "a=r", "--output_dir", tmp_path / "out", f"--{option}", value]
    assert complaint in refused("evaluate", *words) and not (tmp_path / "out").exists()


def test_a_list_longer_than_every_slate_is_refused(folder):
    with pytest.raises(InputError, match="--list_size 7: expected at most 6, the size of the largest slate"):
        run(config(folder, list_size=7))
    assert not (folder / "out").exists()


def test_a_split_without_slates_is_refused(folder):
    with pytest.raises(InputError, match="expected slates of 'train', found none"):
        run(config(folder, split="train"))
    assert not (folder / "out").exists()


def test_figures_are_those_of_the_metric_functions(folder):
    found = results(folder)
    slates = pl.read_parquet(folder / "slates.parquet").head(60)
    labels = pad(slates["labels"].to_list(), np.nan)
    target = (labels > 0).argmax(1)
    assert found["slates"] == 60 and found["users"] == 30
    assert list(found["systems"]) == ["input_order", "good", "copy", "random", "oracle"]
    assert found["systems"]["input_order"]["recall@3"] == number((target < 3).mean())
    assert found["systems"]["good"]["recall@1"] == number((target == 1).mean())
    assert found["systems"]["good"]["ndcg@5"] == number((1 / np.log2(target + 1)).mean())
    assert found["systems"]["good"]["rank_change"] == 1 and found["systems"]["good"]["identity_rate"] == 0
    assert found["systems"]["good"]["mean_completion_tokens"] == 20
    assert found["systems"]["oracle"]["ndcg@5"] == found["systems"]["oracle"]["auc"] == 1
    copy = found["systems"]["copy"]
    assert (copy["identity_rate"], copy["kendall_tau"], copy["invalid_rate"]) == (1, 1, number(16 / 60))


def test_comparisons(folder):
    found = results(
        folder,
        rankings=[f"{name}={folder / file}" for name, file in (("good", "good.parquet"), ("blend", "copy.parquet"))],
    )
    rows = {(row["system"], row["baseline"], row["metric"]): row for row in found["comparisons"]}
    assert len(rows) == len(found["comparisons"]) == 6 * (4 + 3)
    row = rows["good", "input_order", "ndcg@5"]
    systems = found["systems"]
    assert row["delta"] == pytest.approx(systems["good"]["ndcg@5"] - systems["input_order"]["ndcg@5"], abs=2e-6)
    assert 0 < row["ci_low"] < row["delta"] < row["ci_high"] and row["p_value"] < 0.01
    nothing = rows["blend", "input_order", "ndcg@5"]
    assert (nothing["delta"], nothing["ci_low"], nothing["ci_high"], nothing["p_value"]) == (0, 0, 0, 1)
    assert rows["good", "blend", "recall@3"] == rows["good", "input_order", "recall@3"] | {"baseline": "blend"}
    low, high = found["intervals"]["good"]["ndcg@5"]
    assert low < systems["good"]["ndcg@5"] < high


def test_headline_tells_what_was_found(folder):
    slates = pl.read_parquet(folder / "slates.parquet")
    worst = [np.argsort(row, kind="stable").tolist() for row in slates["labels"].to_list()]
    ranking(slates, worst).write_parquet(folder / "worst.parquet")
    expected = {
        "good": "good beats the input order",
        "worst": "worst is worse than the input order",
        "copy": "copy does not beat the input order: the difference is not significant",
    }
    for name, sentence in expected.items():
        run(config(folder, rankings=[f"{name}={folder / name}.parquet"]))
        assert sentence in (folder / "out" / "report.html").read_text()
    run(config(folder, rankings=[f"good={folder}/good.parquet", f"blend={folder}/good.parquet"]))
    page = (folder / "out" / "report.html").read_text()
    assert (
        "good beats the input order by " in page and "; it is not significantly different from blend, +0.000 (" in page
    )


def made_by(folder, name, reranker):
    """The manifest that `gr2 rerank` would have written beside a ranking in a folder of its own; NAME=FILE."""
    (folder / name).mkdir()
    (folder / f"{name}.parquet").rename(folder / name / "rankings.parquet")
    manifest = {"stage": "rerank", "config": {"reranker": reranker}, "inputs": {}, "outputs": {}}
    (folder / name / "manifest.json").write_text(json.dumps(manifest))
    return f"{name}={folder / name}/rankings.parquet"


def test_the_verdict_speaks_of_every_learned_system_also_of_the_worse(folder):
    """A reranker on features that gains does not hide a language model that loses; rules are not spoken of."""
    slates = pl.read_parquet(folder / "slates.parquet")
    worst = [np.argsort(row, kind="stable").tolist() for row in slates["labels"].to_list()]
    best = [row[::-1] for row in worst]
    pl.read_parquet(folder / "good.parquet").drop("completion_tokens", "reasoning").write_parquet(
        folder / "prm-x.parquet"
    )
    ranking(slates, worst, completion_tokens=[9] * 64, valid=[False] * 2 + [True] * 62).write_parquet(
        folder / "rl.parquet"
    )
    ranking(slates, best).write_parquet(folder / "unpopular.parquet")
    entries = [
        made_by(folder, "prm-x", str(folder / "prm-x")),  # a folder, of no language model
        f"rl={folder}/rl.parquet",
        f"copy={folder}/copy.parquet",
        made_by(folder, "unpopular", "rarest"),
    ]
    found = results(folder, rankings=entries)
    assert found["kinds"] == {"prm-x": "reranker", "rl": "language model", "copy": "reranker", "unpopular": "reference"}
    rows = {
        row["system"]: row
        for row in found["comparisons"]
        if (row["metric"], row["baseline"]) == ("ndcg@5", "input_order")
    }
    page = unescape((folder / "out" / "report.html").read_text())
    text = page[page.index('<div class="headline bad">') :].split("</div>")[0]
    assert f"rl is worse than the input order by {-rows['rl']['delta']:.3f} NDCG@5" in text
    assert "3 % of its answers were unusable" in text
    assert f"prm-x is better, +{rows['prm-x']['delta']:.3f} (+" in text
    assert "copy is not significantly different, +0.000 (" in text and "27 % of its answers unusable)" in text
    assert "unpopular" not in text


def test_one_system_that_is_worse_is_named_beside_a_better_one_of_its_kind(folder):
    slates = pl.read_parquet(folder / "slates.parquet")
    worst = [np.argsort(row, kind="stable").tolist() for row in slates["labels"].to_list()]
    ranking(slates, worst, completion_tokens=[9] * 64).write_parquet(folder / "rl.parquet")
    results(folder, rankings=[f"sft={folder}/good.parquet", f"rl={folder}/rl.parquet"])
    page = unescape((folder / "out" / "report.html").read_text())
    text = page[page.index('<div class="headline open">') :].split("</div>")[0]
    assert "sft beats the input order by" in text and "It is the best of 2 language models on these very slates" in text
    assert "; rl is worse" in text or "NDCG@5: rl is worse, −" in text


def test_an_unusable_answer_is_no_copy_of_the_input(folder):
    """Half of the answers are unusable, so the input order stands; of the others three in four are copies."""
    slates = pl.read_parquet(folder / "slates.parquet")
    orders = [list(range(len(row))) for row in slates["candidates"]]
    for row in range(0, 64, 8):
        orders[row] = orders[row][::-1]
    ranking(slates, orders, valid=[row % 2 == 0 for row in range(64)]).write_parquet(folder / "half.parquet")
    ranking(slates, [sorted(row) for row in orders], valid=[False] * 64).write_parquet(folder / "none.parquet")
    found = results(folder, rankings=[f"half={folder}/half.parquet", f"none={folder}/none.parquet"])["systems"]
    assert found["half"]["invalid_rate"] == 0.5
    assert found["half"]["identity_rate"] == number(22 / 30) and found["half"]["kendall_tau"] == number((22 - 8) / 30)
    assert found["none"]["identity_rate"] is None and found["none"]["ndcg@5"] == found["input_order"]["ndcg@5"]
    found = results(folder, rankings=[f"two={folder}/half.parquet", f"two={folder}/none.parquet"])
    assert found["seeds"]["two"]["identity_rate"] == [number(22 / 30), None]


def test_rankings_of_a_part_of_the_slates_are_refused_or_judged_on_what_all_have(folder, capsys):
    for name, rows in (("good", slice(0, 40)), ("copy", slice(10, 64))):
        pl.read_parquet(folder / f"{name}.parquet")[rows].write_parquet(folder / f"{name}.parquet")
    with pytest.raises(
        InputError,
        match=r"good\.parquet: .*; 20 are missing, 's40' among them; --allow_missing true judges",
    ):
        run(config(folder))
    assert not (folder / "out").exists()
    found = results(folder, allow_missing=True)
    assert (found["slates"], found["slates_left_out"], found["missing"]) == (30, 30, {"good": 20, "copy": 10})
    slates = pl.read_parquet(folder / "slates.parquet")[10:40]
    target = np.array([row.index(1) for row in slates["labels"].to_list()])
    assert found["systems"]["good"]["recall@1"] == number((target == 1).mean())
    sentence = "30 more slates are left out, as some rankings have no answer to them (20 by good, 10 by copy)"
    assert (
        sentence in " ".join(capsys.readouterr().out.split()) and sentence in (folder / "out/report.html").read_text()
    )
    pl.read_parquet(folder / "copy.parquet")[30:].write_parquet(folder / "copy.parquet")
    with pytest.raises(InputError, match="--allow_missing true: expected a slate that all rankings have, found none"):
        run(config(folder, allow_missing=True))


def test_the_report_says_what_share_of_pretrain_is_later_than_the_first_test_event(folder):
    events = [
        ("u0", "i0", "pretrain", 1),
        ("u0", "i1", "train", 5),
        ("u0", "i2", "valid", 6),
        ("u0", "i3", "test", 7),
        ("u1", "i0", "pretrain", 6),
        ("u1", "i1", "pretrain", 7),
        ("u1", "i4", "pretrain", 8),
        ("u1", "i2", "train", 9),
        ("u1", "i3", "test", 9),
    ]
    frame = pl.DataFrame(events, schema=["user_id", "item_id", "split", "timestamp"], orient="row")
    frame.write_parquet(folder / "events.parquet")
    found = results(folder, interactions=str(folder / "events.parquet"))
    assert found["pretrain_later_than_first_test"] == 0.25  # an event at the same time is not later
    page = (folder / "out/report.html").read_text()
    assert "25.0 % of the pretrain events are later than the first test event." in page
    assert "What is learned from them was not known at that time" in page
    frame.drop("timestamp").with_columns(position=pl.int_range(pl.len())).write_parquet(folder / "events.parquet")
    assert results(folder, interactions=str(folder / "events.parquet"))["pretrain_later_than_first_test"] is None


def test_same_inputs_same_bytes_and_the_seed_matters(folder):
    outputs = []
    for seed in (0, 0, 1):
        run(config(folder, seed=seed))
        outputs.append([(folder / "out" / name).read_bytes() for name in ("metrics.json", "report.html")])
    assert outputs[0] == outputs[1] and outputs[0][0] != outputs[2][0]


def test_report_shows_the_background_and_escapes_item_text(folder):
    (folder / "report.json").write_text(
        json.dumps(
            {
                "protocol": "next",
                "pre_ranker": "sasrec",
                "splits": {"test": {"positions": 298, "missed": 151, "short": 87, "slates": 60}},
            }
        )
    )
    log = [{"step": step, "reward": 0.1 * step, "identity_rate": 0.5} for step in range(1, 9)]
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log))
    trace = {"slate_id": "s1", "mode": "rejection", "teacher": "some/teacher", "completion_tokens": 10}
    core = {"users": 0, "items": 7, "events": 9}
    left_out = {"wrong_items": 0, "wrong_events": 2, "reasons": {"e.csv": {"column 'user_id': expected an id": 2}}}
    left_out |= {"events_of_other_types": 0, "repeated_events": 500, "k_core": core, "items_without_events": None}
    kept = {"events_read": 18835, "events": 18324, "users": 800, "items": 600, "items_without_events": 2}
    (folder / "summary.json").write_text(json.dumps(kept | {"splits": {"train": 18324}, "left_out": left_out}))
    files = {"inputs": {}, "outputs": {}, "input_paths": []}
    (folder / "manifest.json").write_text(json.dumps({
        "stage": "prepare", "options": {"min_item_events": ["7"]}, "git_commit": "b78013102f0710b5-dirty",
        "finished": "2026-11-29T03:04:05+00:00", "seconds": 1.5, **files,
    }))  # fmt: skip
    events = pl.DataFrame({"user_id": ["u"], "item_id": ["i1"], "position": [0], "split": ["pretrain"]})
    events.write_parquet(folder / "interactions.parquet")
    traces = [trace | {"accepted": True, "reason": None}] + [trace | {"accepted": False, "reason": "wrong_length"}] * 3
    (folder / "traces.jsonl").write_text("".join(json.dumps(line) + "\n" for line in traces))
    run(
        config(
            folder,
            items=str(folder / "items.parquet"),
            interactions=str(folder / "interactions.parquet"),
            slates_report=str(folder / "report.json"),
            training_log=[str(folder / "log.jsonl")],
            traces=[str(folder / "traces.jsonl")],
        )
    )
    page = (folder / "out" / "report.html").read_text()
    for shown in (
        "<td>151</td><td>87</td><td>60</td>",
        "left out: list too short",
        "0.201",
        "mean reward",
        "some/teacher",
        "wrong_length: 3",
        "1 (25.0 %)",
        "by the places that good, the system of the first sentence, moves the relevant item",
        "<b>Typical</b>, slate s",
        "<b>Best gain</b>, slate s",
        "Of 18,835 events, 18,324 are kept, of 800 users and 600 items",
        "repeated events (same user, item and time)</td><td>500</td>",
        "items below the k-core</td><td>7</td>",
        "e.csv: column &#39;user_id&#39;: expected an id</td>",
        "1 stage, with gr2 at commit <code>b78013102f07-dirty</code>; the first ended on 2026-11-29",
        "<code>min_item_events: 7</code>",
        "2026-11-29 03:04</td>",
        "Reasoning of good",
    ):
        assert shown in page, shown
    assert "<script" not in page and "&lt;script&gt;" in page and "<b>shampoo" not in page
    assert "http://" not in page.replace("http://www.w3.org/", "") and "https://" not in page


@pytest.mark.parametrize("width", [1280, 390])
def test_the_report_in_a_browser(folder, chromium, width):
    """Wide tables scroll in their own boxes, contents lead to their sections, and a dark page has light pictures."""
    run(config(folder, items=str(folder / "items.parquet")))
    backgrounds, inks = [], []
    for scheme in ("light", "dark"):
        chromium.open((folder / "out/report.html").as_uri(), width, scheme=scheme)
        assert chromium.cut_off() == [] and chromium.run("document.documentElement.scrollWidth") <= width
        backgrounds.append(chromium.run("getComputedStyle(document.body).backgroundColor"))
        inks.append(chromium.run("getComputedStyle(document.querySelector('svg text')).fill"))
    assert len(set(backgrounds)) == len(set(inks)) == 2
    named = "document.getElementById(link.hash.slice(1))?.tagName"
    links = f"[...document.querySelectorAll('.contents a')].map(link => {named})"
    sections = chromium.run("document.querySelectorAll('section').length")
    assert chromium.run(links) == ["SECTION"] * sections and sections > 5


def test_slates_without_a_relevant_item_are_counted_and_left_out(folder):
    slates = pl.read_parquet(folder / "slates.parquet")
    nothing = pl.col("labels").list.eval(pl.element() * 0)
    slates = slates.with_columns(pl.when(pl.col("slate_id") == "s3").then(nothing).otherwise("labels").alias("labels"))
    slates.write_parquet(folder / "slates.parquet")
    found = results(folder)
    assert (found["slates"], found["slates_without_relevant_item"]) == (59, 1)


@pytest.mark.parametrize(
    "labels, message",
    [
        ([], "row 2, column 'labels': expected labels"),
        ([float("nan"), 1.0, 0.0, 0.0], "row 2, column 'labels': expected finite"),
        ([-1.0, 1.0, 0.0, 0.0], "row 2, column 'labels': expected finite"),
        ([1e308, 1e308, 0.0, 0.0], "row 2, column 'labels': expected finite numbers from 0 to 1e"),
    ],
)
def test_unlabelled_or_broken_slates_are_refused(folder, labels, message):
    rows = pl.read_parquet(folder / "slates.parquet").to_dicts()
    rows[2] |= {"labels": labels, "candidates": ["i1", "i2", "i3", "i4"]}
    pl.DataFrame(rows, schema_overrides={"labels": pl.List(pl.Float64)}).write_parquet(folder / "slates.parquet")
    with pytest.raises(InputError, match=message):
        run(config(folder))
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    "field, text, message",
    [
        ("training_log", '{"step": 1}\n{"reward": 2}\n', "row 1, column 'step'"),
        ("training_log", "nonsense\n", "row 0: expected a JSON object"),
        ("traces", '{"slate_id": "s1"}\n', "row 0, column 'mode'"),
        ("traces", TRACE % ('["s1"]', "10"), "row 0, column 'slate_id': expected text, found"),
        ("traces", TRACE % ('"s1"', '"ten"'), "row 0, column 'completion_tokens': expected a whole number or null"),
        ("slates_report", '{"splits": {"test": {"positions": 9, "missed": -1, "slates": 3}}}', "splits.test.missed"),
        ("slates_report", '{"splits": {"test": {"positions": 1}}}', "splits.test.missed"),
        (
            "slates_report",
            '{"splits": {}}',
            "protocol: expected one of next, later, .* found None; .* make the slates again",
        ),
        ("slates_report", "[]", "expected a JSON object, found \\[\\]"),
    ],
)
def test_broken_background_is_refused_before_anything_is_written(folder, field, text, message):
    (folder / "broken").write_text(text)
    path = str(folder / "broken")
    with pytest.raises(InputError, match=message):
        run(config(folder, **{field: path if field == "slates_report" else [path]}))
    assert not (folder / "out").exists()


REPORT = '{"protocol": "%s", "splits": {"test": {"positions": 90, "missed": %d, "slates": %d, "unclicked": %d}}}'


def test_the_report_of_other_slates_is_refused(folder):
    path = folder / "slates_report.json"
    path.write_text(REPORT % ("next", 31, 59, 0))
    message = (
        r"slates_report\.json: expected the report of the same slates; it counts 59 test slates .* the file has 60"
    )
    with pytest.raises(InputError, match=message):
        run(config(folder, slates_report=str(path)))
    assert not (folder / "out").exists()
    path.write_text(REPORT % ("log", 0, 67, 7))  # a request without a click is a slate, too, that is not measured
    assert results(folder, slates_report=str(path))["end_to_end"] is None


def test_nothing_is_measured_end_to_end_where_slates_are_left_out(folder):
    path = folder / "slates_report.json"
    path.write_text(REPORT % ("next", 30, 60, 0))
    assert results(folder, slates_report=str(path))["end_to_end"]["recall_ceiling"] == number(60 / 90)
    pl.read_parquet(folder / "good.parquet")[1:].write_parquet(folder / "good.parquet")
    assert results(folder, slates_report=str(path), allow_missing=True)["end_to_end"] is None


def test_one_user_has_figures_but_no_interval(folder):
    slates = pl.read_parquet(folder / "slates.parquet").with_columns(user_id=pl.lit("u"))
    slates.write_parquet(folder / "slates.parquet")
    found = results(folder)
    assert found["comparisons"][0]["ci_low"] is None and found["intervals"]["good"]["ndcg@5"] == [None, None]
    assert "cannot be judged" in (folder / "out" / "report.html").read_text()


def test_one_name_several_times_means_seeds_of_one_system(folder):
    """Their mean lies between; two seeds that are the same give what one gives."""
    alone = results(folder)
    good, copied = (str(folder / f"{name}.parquet") for name in ("good", "copy"))
    found = results(folder, rankings=[f"rl={good}", f"rl={copied}", f"copy={copied}"])
    assert list(found["systems"]) == ["input_order", "rl", "copy", "random", "oracle"]
    for metric, value in found["systems"]["rl"].items():
        own = [alone["systems"][name].get(metric) for name in ("good", "copy")]
        assert found["seeds"]["rl"][metric] == own
        assert value == pytest.approx(np.mean([number_ for number_ in own if number_ is not None]), abs=2e-6)
    assert list(found["seeds"]) == ["rl"] and alone["seeds"] == {}
    rows = [{(row["system"], row["metric"]): row for row in made["comparisons"]} for made in (found, alone)]
    for bound in ("delta", "ci_low", "ci_high"):  # half of every slate's gain, on the same resamples
        assert rows[0]["rl", "ndcg@5"][bound] == pytest.approx(rows[1]["good", "ndcg@5"][bound] / 2, abs=2e-6)
    page = (folder / "out" / "report.html").read_text()
    mean, sd = np.mean(found["seeds"]["rl"]["ndcg@5"]), np.std(found["seeds"]["rl"]["ndcg@5"], ddof=1)
    assert "rl, the mean of 2 seeds, beats the input order by" in page
    assert f"{mean:.3f}<small>± {sd:.3f}<br>" in page
    pl.read_parquet(good).write_parquet(folder / "again.parquet")
    twice = results(folder, rankings=[f"good={good}", f"good={folder}/again.parquet", f"copy={copied}"])
    assert {name: twice[name] for name in alone if name != "seeds"} == {
        name: alone[name] for name in alone if name != "seeds"
    }


def test_systems_are_compared_with_the_baselines_asked_for(folder):
    slates = pl.read_parquet(folder / "slates.parquet")
    ranking(slates, [np.argsort(row, kind="stable").tolist() for row in slates["labels"]]).write_parquet(
        folder / "worst.parquet"
    )
    names = {"rl": "good", "blend": "copy", "mine": "worst"}
    found = results(
        folder, rankings=[f"{name}={folder}/{file}.parquet" for name, file in names.items()], against=["mine", "blend"]
    )
    rows = {(row["system"], row["baseline"], row["metric"]): row for row in found["comparisons"]}
    assert list(dict.fromkeys(baseline for _, baseline, _ in rows)) == ["input_order", "mine", "blend"]
    assert len(rows) == 6 * (5 + 4 + 4)
    back = rows["mine", "blend", "ndcg@5"], rows["blend", "mine", "ndcg@5"]
    assert back[0]["delta"] == -back[1]["delta"] < 0
    page = (folder / "out" / "report.html").read_text()
    assert "rl beats the input order by " in page and "Against mine" in page and "Against blend" in page
    above = rows["rl", "mine", "ndcg@5"]["delta"]
    assert f"; it is {above:.3f} above mine (+" in page
    assert f"; it is {rows['rl', 'blend', 'ndcg@5']['delta']:.3f} above blend" in page


def test_lists_are_judged_by_their_own_metrics(folder, capsys):
    rankings = [f"rl={folder}/good.parquet", f"rl={folder}/copy.parquet", f"blend={folder}/good.parquet"]
    found = results(folder, rankings=rankings, list_size=3)
    slates = pl.read_parquet(folder / "slates.parquet").head(60)
    rank = np.array([row.index(1) for row in slates["labels"].to_list()])  # of the target after `good`, from 1
    hit, main = rank <= 3, ("precision@3", "ndcg@3", "map@3", "f1@3")
    by_hand = {"precision@3": hit / 3, "ndcg@3": hit / np.log2(rank + 1), "map@3": hit / rank, "f1@3": hit / 2}
    assert [found["systems"]["blend"][metric] for metric in main] == [number(by_hand[metric].mean()) for metric in main]
    assert [found["seeds"]["rl"][metric][0] for metric in main] == [number(by_hand[metric].mean()) for metric in main]
    assert (
        tuple(found["intervals"]["rl"]) == main == tuple(dict.fromkeys(row["metric"] for row in found["comparisons"]))
    )
    assert {name for name in found["systems"]["rl"] if "@" in name} == {*main, "recall@3"}
    page, terminal = (folder / "out" / "report.html").read_text(), capsys.readouterr().out
    assert "rl, the mean of 2 seeds, beats the input order by " in page and " NDCG@3, " in page
    assert all(page.count(f">{metric}</text>") == 1 for metric in main)  # one panel each
    assert page.count("<th>map@3</th>") == 4 and "<th>recall@3</th><th>auc</th>" in page
    assert "@1" not in page and "@5" not in page
    assert terminal.split("\n")[1].split() == [
        "system",
        "P@3",
        "MAP@3",
        "F1@3",
        "N@3",
        "copied",
        "invalid",
        "N@3",
        "gain",
        "[95",
        "%]",
    ]
    assert "rl: N@3 " in terminal


def test_buckets_are_by_the_length_of_the_history(folder):
    alone = results(folder)
    assert list(alone["buckets"]["history"]) == ["6-20"]  # all histories have 14 items
    whole = alone["buckets"]["history"]["6-20"]
    assert whole["count"] == 60
    assert whole["systems"]["good"] == {
        "ndcg@5": {"value": alone["systems"]["good"]["ndcg@5"], "interval": alone["intervals"]["good"]["ndcg@5"]}
    }
    rows = pl.read_parquet(folder / "slates.parquet").to_dicts()
    for row, length in zip(rows, [1, 5, 5, 51], strict=False):
        row["history"] = ["i1"] * length
    pl.DataFrame(rows).write_parquet(folder / "slates.parquet")
    found = results(folder, list_size=3)["buckets"]["history"]
    assert {name: bucket["count"] for name, bucket in found.items()} == {"1-5": 3, "6-20": 56, "over 50": 1}
    rank = np.array([row["labels"].index(1) for row in rows[:3]])
    assert found["1-5"]["systems"]["good"]["ndcg@3"]["value"] == number(((rank <= 3) / np.log2(rank + 1)).mean())
    assert found["over 50"]["systems"]["good"]["ndcg@3"]["interval"] == [None, None]  # one user's
    page = (folder / "out" / "report.html").read_text()
    assert "<th>1-5 items<br>3 slates</th>" in page and "<th>21-50 items" not in page
    assert f"{found['6-20']['systems']['oracle']['ndcg@3']['value']:.3f}<small>1.000 – 1.000</small>" in page


def test_rare_and_unseen_items_have_buckets_of_their_own(folder):
    events = [("u0", f"i{item}", "pretrain") for item in range(15) for _ in range(2 * item)] + [("u0", "i0", "test")]
    pl.DataFrame(events, schema=["user_id", "item_id", "split"], orient="row").with_columns(
        timestamp=pl.int_range(pl.len())
    ).write_parquet(folder / "events.parquet")
    found = results(folder, interactions=str(folder / "events.parquet"))
    slates = pl.read_parquet(folder / "slates.parquet").head(60)
    targets = [row["candidates"][row["labels"].index(1)] for row in slates.iter_rows(named=True)]
    unseen = [target == "i0" or int(target[1:]) >= 15 for target in targets]
    assert found["buckets"]["events"]["0"]["count"] == sum(unseen)
    assert sum(bucket["count"] for bucket in found["buckets"]["events"].values()) == 60
    hits = sum(
        bucket["count"] * bucket["systems"]["good"]["found@5"]["value"]
        for bucket in found["buckets"]["events"].values()
    )
    assert hits / 60 == pytest.approx(found["systems"]["good"]["recall@5"])
    page = (folder / "out" / "report.html").read_text()
    assert "<h2>Rare and unseen items</h2>" in page and f"<th>0 events<br>{sum(unseen)} items</th>" in page
    results(folder)
    assert "Rare and unseen items" not in (folder / "out" / "report.html").read_text()
    pl.read_parquet(folder / "events.parquet").drop("split").write_parquet(folder / "raw.parquet")
    with pytest.raises(InputError, match=r"raw\.parquet: .*split"):
        run(config(folder, interactions=str(folder / "raw.parquet")))


def test_several_training_logs_share_one_picture(folder):
    for name, copied in (("naive", 0.1), ("conditional", 0.0)):
        log = [{"step": step, "reward": 0.1 * step, "identity_rate": copied * step} for step in range(1, 9)]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log))
    run(config(folder, training_log=[f"{name}={folder}/{name}.jsonl" for name in ("naive", "conditional")]))
    page = (folder / "out" / "report.html").read_text()
    assert ">naive</text>" in page and ">conditional</text>" in page and page.count(">mean reward</text>") == 1
    run(config(folder, training_log=[str(folder / "naive.jsonl")]))
    page = (folder / "out" / "report.html").read_text()
    assert ">naive</text>" not in page and ">input order copied, share</text>" in page


def test_the_best_small_reranker_is_a_baseline_and_each_language_model_is_compared_with_it(folder):
    slates = pl.read_parquet(folder / "slates.parquet")
    best = [np.argsort([-label for label in row], kind="stable").tolist() for row in slates["labels"].to_list()]
    ranking(slates, best, completion_tokens=[9] * 64).write_parquet(folder / "rl.parquet")
    lifted = pl.read_parquet(folder / "good.parquet").drop("completion_tokens", "reasoning")
    lifted.write_parquet(folder / "prm.parquet")
    files = {"rl": "rl", "sft": "good", "prm": "prm", "blend": "copy"}
    entries = [f"{name}={folder}/{file}.parquet" for name, file in files.items()]
    found = results(folder, rankings=entries)
    assert found["strongest_reranker"] == "prm"
    assert list(dict.fromkeys(row["baseline"] for row in found["comparisons"])) == ["input_order", "prm"]
    page = unescape((folder / "out" / "report.html").read_text())
    (text,) = [part.split("</div>")[0] for part in page.split('class="headline good">') if "What a language" in part]
    assert "the best small reranker, prm (NDCG@5 0.634, the best of 2 on these very slates): rl +0.366 (+57" in text
    assert "; sft +0.000 (+0.0 %, 95 % interval +0.000 to +0.000, p = 1.000), not significant." in text
    asked = results(folder, rankings=entries, against=["blend"])
    assert list(dict.fromkeys(row["baseline"] for row in asked["comparisons"])) == ["input_order", "blend", "prm"]


def test_the_baselines_are_not_counted_among_those_that_the_best_was_chosen_from(folder):
    for name in ("prm", "lambdamart", "blend"):
        lifted = pl.read_parquet(folder / "good.parquet").drop("completion_tokens", "reasoning")
        lifted.write_parquet(folder / f"{name}.parquet")
    results(folder, rankings=[f"{name}={folder}/{name}.parquet" for name in ("prm", "lambdamart", "blend")])
    page = unescape((folder / "out" / "report.html").read_text())
    assert "It is the best of 2 rerankers beside blend on these very slates" in page


def test_the_best_small_reranker_is_a_baseline_also_without_a_language_model(folder):
    lifted = pl.read_parquet(folder / "good.parquet").drop("completion_tokens", "reasoning")
    lifted.write_parquet(folder / "prm.parquet")
    found = results(folder, rankings=[f"mine={folder}/copy.parquet", f"prm={folder}/prm.parquet"])
    assert found["strongest_reranker"] == "prm" and found["against"] == []
    assert list(dict.fromkeys(row["baseline"] for row in found["comparisons"])) == ["input_order", "prm"]
    page = unescape((folder / "out" / "report.html").read_text())
    assert "prm beats the input order by" in page and "Against prm, the strongest small reranker" in page
    assert "What a language model adds" not in page
    only = results(folder, rankings=[f"mine={folder}/copy.parquet"])  # there is nothing to compare it with
    assert only["strongest_reranker"] is None


def test_the_report_shows_what_it_could_be_accused_of_hiding(folder):
    """End to end, ties, coverage, cost and the order of candidates; each only where its facts are known."""
    run(config(folder))
    page = (folder / "out" / "report.html").read_text()
    hidden = "End to end", "<h2>Ties", "Does the order of the candidates matter?", "against milliseconds a slate"
    assert not [text for text in hidden if text in page] and "their files hold no time: good, copy." in page
    slates = pl.read_parquet(folder / "slates.parquet")
    counts = {"positions": 240, "missed": 180, "slates": 60}
    (folder / "slates_report.json").write_text(json.dumps({"protocol": "next", "splits": {"test": counts}}))
    entry = made_by(folder, "copy", "popularity")
    orders = [list(range(len(row))) for row in slates["candidates"]]
    tied = [[1.0] * len(row) for row in orders]
    ranking(slates, orders, scores=tied).write_parquet(folder / "copy" / "rankings.parquet")
    (folder / "copy" / "timing.json").write_text('{"slates": 64, "ms_a_slate": 0.5}')
    shuffled = ranking(slates, [row[::-1] for row in orders]).with_columns(shuffle=0)
    shuffled.write_parquet(folder / "copy" / "shuffled.parquet")
    found = results(
        folder, rankings=[entry], slates_report=str(folder / "slates_report.json"), items=str(folder / "items.parquet")
    )
    whole = found["systems"]["copy"]["ndcg@5"]
    assert found["end_to_end"]["systems"]["copy"]["ndcg@5"]["value"] == pytest.approx(whole / 4, abs=1e-6)
    assert found["ties"]["copy"]["tied"] == found["ties"]["copy"]["input_order"] == 1
    assert found["ties"]["copy"]["worst"] < whole < found["ties"]["copy"]["best"] == 1
    assert found["robustness"]["copy"]["kendall_tau"]["value"] == -1
    assert (found["costs"]["copy"]["ms"], found["costs"]["copy"]["parameters"], found["frontier"]) == (0.5, 0, [])
    assert found["coverage"]["catalogue"] == 30 and 0 < found["coverage"]["systems"]["copy"] <= 30
    page = (folder / "out" / "report.html").read_text()
    assert all(text in page for text in hidden)

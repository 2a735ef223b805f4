"""Full-catalogue evaluation: `gr2 evaluate-retrieval --top_k NAME=FILE ...`."""

import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gr2 import metrics
from gr2.errors import InputError
from gr2.evaluation import retrieval
from gr2.evaluation.buckets import measure_buckets
from gr2.evaluation.retrieval import HISTORY, METRICS, POPULARITY, measure
from gr2.evaluation.significance import Resampling, compare, mean_interval
from gr2.reports.drawing import space_out
from gr2.retrieval.positions import read_events
from gr2.stages.evaluate_retrieval import Config, run
from tests.helpers import gr2

ITEMS = 60
# Targets of the users' one test position, item by item, and where the lists by hand have them (None: nowhere).
RANKS = {"u0": 0, "u1": 3, "u2": 9, "u3": 10, "u4": 49, "u5": None, "u6": "empty", "u7": "no list"}
COLD = "i59"  # nobody's pretrain event, the target of u1


def events():
    """Each user has n + 2 pretrain events, a train, a valid and a test event; u1's target is a cold item."""
    rows = []
    for number, user in enumerate(RANKS):
        pretrain = [f"i{(number * 7 + at) % 50}" for at in range(number + 2)]
        later = [f"i{number}", f"i{number + 10}", COLD if user == "u1" else f"i{number + 20}"]
        splits = ["pretrain"] * len(pretrain) + ["train", "valid", "test"]
        for at, (item, split) in enumerate(zip(pretrain + later, splits, strict=True)):
            rows.append({"user_id": user, "item_id": item, "position": at, "split": split})
    return pl.DataFrame(rows)


def by_hand():
    """One list a user, of 50 items with the target at its rank; short where nothing is behind it."""
    rows = []
    for row in events().filter(pl.col("split") == "test").iter_rows(named=True):
        rank = RANKS[row["user_id"]]
        others = [f"i{item}" for item in range(ITEMS) if f"i{item}" != row["item_id"]]
        candidates = [] if rank == "empty" else others[:50]
        if isinstance(rank, int):
            candidates = [*others[:rank], row["item_id"]]  # a short list, but for the last
        if rank != "no list":
            rows.append({"user_id": row["user_id"], "position": row["position"], "candidates": candidates})
    return pl.DataFrame(rows)


@pytest.fixture
def folder(tmp_path):
    ids = [f"i{item}" for item in range(ITEMS)]
    pl.DataFrame({"item_id": ids, "title": [f"<b>{name}" for name in ids]}).write_parquet(tmp_path / "items.parquet")
    events().write_parquet(tmp_path / "events.parquet")
    lists = by_hand()
    lists.write_parquet(tmp_path / "hand.parquet")
    better = lists.with_columns(pl.col("candidates").list.reverse())
    better.write_parquet(tmp_path / "better.parquet")  # the target of each short list comes first
    return tmp_path


def config(folder, *names, **changed):
    options = {
        "interactions": str(folder / "events.parquet"),
        "items": str(folder / "items.parquet"),
        "top_k": [f"{name}={folder / name}.parquet" for name in names or ("hand",)],
        "output_dir": str(folder / "out"),
        "resamples": 200,
    }
    return Config(**options | changed)


def results(folder, *names, **changed):
    run(config(folder, *names, **changed))
    return json.loads((folder / "out/metrics.json").read_text())


def test_figures_by_hand(folder):
    """Ranks 0, 3, 9, 10 and 49 of eight positions; no list, an empty one and one without the target are misses."""
    found = results(folder)
    assert (found["split"], found["positions"], found["users"], found["items"]) == ("test", 8, 8, 60)
    gain = {rank: 1 / np.log2(rank + 2) for rank in (0, 3, 9, 10, 49)}
    assert found["systems"]["hand"] == pytest.approx(
        {
            "recall@1": 1 / 8,
            "ndcg@1": 1 / 8,
            "recall@5": 2 / 8,
            "ndcg@5": (gain[0] + gain[3]) / 8,
            "recall@10": 3 / 8,
            "ndcg@10": (gain[0] + gain[3] + gain[9]) / 8,
            "recall@50": 5 / 8,
            "ndcg@50": sum(gain.values()) / 8,
        },
        abs=1e-6,
    )


def test_curves_are_recall_at_every_depth(folder):
    log = read_events(str(folder / "items.parquet"), str(folder / "events.parquet"))
    _, curves = retrieval.evaluate(log, "test", {"hand": str(folder / "hand.parquet")}, 100, 0)
    expected = [sum(isinstance(rank, int) and rank < k for rank in RANKS.values()) / 8 for k in range(1, 51)]
    assert curves["hand"].tolist() == expected


@pytest.mark.parametrize("split", ["train", "valid"])
def test_other_splits_are_measured_at_their_own_positions(folder, split):
    asked = events().filter(pl.col("split") == split)
    asked.select("user_id", "position", pl.concat_list(pl.lit("i58"), "item_id").alias("candidates")).write_parquet(
        folder / "second.parquet"
    )
    found = results(folder, "second", split=split)
    assert found["split"] == split and found["positions"] == 8
    assert (found["systems"]["second"]["recall@1"], found["systems"]["second"]["recall@5"]) == (0, 1)


@settings(max_examples=50)
@given(
    st.lists(
        st.tuples(st.lists(st.integers(0, 79), max_size=60, unique=True), st.integers(0, 79)), min_size=1, max_size=8
    )
)
def test_figures_are_those_of_the_reranking_metrics(made):
    """Which are held against ranx; an item that no list has stands far behind every K there."""
    ranks = np.array([items.index(target) if target in items else np.inf for items, target in made])
    labels = np.arange(100) == np.minimum(ranks, 99)[:, None]
    for name, values in measure(ranks).items():
        metric, k = name.split("@")
        expected = {"recall": metrics.recall, "ndcg": metrics.ndcg}[metric](labels.astype(float), int(k))
        np.testing.assert_allclose(values, expected, err_msg=name)
    assert set(METRICS) == set(measure(ranks))


@pytest.mark.parametrize("bounds", [POPULARITY, HISTORY])
def test_every_value_is_in_the_bucket_that_says_so(bounds):
    sizes = np.arange(bounds is HISTORY, 120)
    means = {"a": {"size": sizes.astype(float)}}
    found = measure_buckets(sizes, bounds, means, ["size"], Resampling(sizes, 100, 0))
    assert sum(part["count"] for part in found.values()) == len(sizes)
    for name, part in found.items():
        low, _, high = name.replace(" (cold start)", "-0").replace(" and more", "-119").partition("-")
        assert part["count"] == int(high) - int(low) + 1
        assert part["systems"]["a"]["size"]["value"] == (int(low) + int(high)) / 2


def test_buckets_hold_every_position_once_and_their_own_figures(folder):
    found = results(folder)["buckets"]
    learned = events().filter(pl.col("split") == "pretrain")["item_id"].to_list()
    asked = events().filter(pl.col("split") == "test").select("user_id", "item_id", "position").rows()
    expected = {"popularity": {}, "history": {}}
    for user, item, at in asked:
        count, hit = learned.count(item), isinstance(RANKS[user], int) and RANKS[user] < 10
        name = "0 (cold start)" if count == 0 else "1-4" if count < 5 else "5-9"
        expected["popularity"].setdefault(name, []).append(hit)
        expected["history"].setdefault("1-4" if at < 5 else "5-9" if at < 10 else "10-19", []).append(hit)
    for kind, parts in found.items():
        assert {name: part["positions"] for name, part in parts.items()} == {
            n: len(h) for n, h in expected[kind].items()
        }
        for name, hits in expected[kind].items():
            figures = parts[name]["systems"]["hand"]["recall@10"]
            assert figures["value"] == pytest.approx(np.mean(hits), abs=1e-6)
            assert len(hits) == 1 or figures["interval"][0] <= figures["value"] <= figures["interval"][1]
    assert learned.count(COLD) == 0 and len(found["popularity"]) > 1 and len(found["history"]) > 1
    lows = [int(name.split()[0].split("-")[0]) for name in found["history"]]
    assert lows == sorted(lows)


def test_an_item_first_seen_after_pretraining_is_cold(folder):
    """u1's target has train and test events of others from now on, and no pretrain event."""
    changed = events().with_columns(
        pl.when((pl.col("split") == "train") & (pl.col("user_id") != "u1"))
        .then(pl.lit(COLD))
        .otherwise("item_id")
        .alias("item_id")
    )
    changed.write_parquet(folder / "events.parquet")
    before = events().filter(pl.col("split") == "pretrain")["item_id"]
    cold = [item for item in events().filter(pl.col("split") == "test")["item_id"] if item not in set(before)]
    assert COLD in cold
    assert results(folder)["buckets"]["popularity"]["0 (cold start)"]["positions"] == len(cold)


def test_each_system_is_compared_with_the_first(folder):
    found = results(folder, "hand", "better")
    assert [(row["system"], row["baseline"], row["metric"]) for row in found["comparisons"]] == [
        ("better", "hand", "recall@10"), ("better", "hand", "ndcg@10")
    ]  # fmt: skip
    for row in found["comparisons"]:
        metric = row["metric"]
        delta = found["systems"]["better"][metric] - found["systems"]["hand"][metric]
        assert row["delta"] == pytest.approx(delta, abs=2e-6)
        assert row["ci_low"] <= row["delta"] <= row["ci_high"] and 0 < row["p_value"] <= 1
    assert found["comparisons"][1]["delta"] > 0
    same = results(folder, "hand", "copy", top_k=[f"hand={folder}/hand.parquet", f"copy={folder}/hand.parquet"])
    for row in same["comparisons"]:
        assert (row["delta"], row["ci_low"], row["ci_high"], row["p_value"]) == (0, 0, 0, 1)


def test_intervals_and_tests_are_those_of_users(tmp_path):
    """40 users with two test positions each; figures recomputed from the ranks."""
    rng = np.random.default_rng(0)
    rows, lists = [], {"a": [], "b": []}
    for user in range(40):
        for at in range(4):
            rows.append((f"u{user}", f"i{rng.integers(20)}", at, "pretrain" if at < 2 else "test"))
    ranks = {name: rng.integers(0, 20, 80) for name in lists}
    tests = [row for row in rows if row[3] == "test"]
    tests.sort()
    for name, made in lists.items():
        for (user, item, at, _), rank in zip(sorted(tests, key=lambda row: (row[0], row[2])), ranks[name], strict=True):
            others = [f"i{other}" for other in range(20) if f"i{other}" != item]
            made.append({"user_id": user, "position": at, "candidates": [*others[:rank], item, *others[rank:]]})
        pl.DataFrame(made).write_parquet(tmp_path / f"{name}.parquet")
    schema = ["user_id", "item_id", "position", "split"]
    pl.DataFrame(rows, schema=schema, orient="row").write_parquet(tmp_path / "events.parquet")
    ids = [f"i{item}" for item in range(20)]
    pl.DataFrame({"item_id": ids, "title": ids}).write_parquet(tmp_path / "items.parquet")
    found = results(tmp_path, "a", "b")
    users = np.repeat(sorted(f"u{user}" for user in range(40)), 2)
    hits = {name: (rank < 10).astype(float) for name, rank in ranks.items()}
    for name in lists:
        interval = [float(bound) for bound in mean_interval(hits[name], users, 200, 0)]
        assert found["intervals"][name]["recall@10"] == pytest.approx(interval, abs=1e-6)
    expected = compare(hits["b"], hits["a"], users, 200, 0)
    row = found["comparisons"][0]
    assert [row[key] for key in ("delta", "ci_low", "ci_high", "p_value")] == pytest.approx(
        [float(value) for value in (expected.delta, expected.ci_low, expected.ci_high, expected.p_value)], abs=1e-6
    )


def test_same_inputs_same_bytes_and_the_seed_matters(folder):
    outputs = []
    for seed in (0, 0, 1):
        run(config(folder, "hand", "better", seed=seed))
        outputs.append([(folder / "out" / name).read_bytes() for name in ("metrics.json", "report.html")])
    assert outputs[0] == outputs[1] and outputs[0][0] != outputs[2][0]


def test_the_page_names_every_system_and_fetches_nothing(folder):
    (folder / "better.parquet").rename(folder / "a<b>$x$.parquet")
    run(config(folder, "a<b>$x$", "hand"))
    page = (folder / "out/report.html").read_text()
    assert "a&lt;b&gt;$x$ finds the next item best" in page and "Against a&lt;b&gt;$x$" in page
    assert "<b>$x$" not in page and "<script" not in page
    assert "http://" not in page.replace("http://www.w3.org/", "") and "https://" not in page


def test_a_page_of_one_system_has_no_comparison(folder):
    assert results(folder)["comparisons"] == []
    page = (folder / "out/report.html").read_text()
    assert "Against" not in page and "hand finds the next item best" in page and page.count("<svg") == 2


@pytest.mark.parametrize(("report", "said"), [
    ({"pre_ranker": "item_knn + bm25", "exclude_seen": True}, "never listed"),
    ({"pre_ranker": "beam", "exclude_seen": False}, "may be listed"),
    ({"pre_ranker": "file", "exclude_seen": None}, "not recorded"),
    (None, "not recorded"),
])  # fmt: skip
def test_the_page_says_whether_seen_items_may_be_listed(folder, report, said):
    if report:
        (folder / "slates_report.json").write_text(json.dumps(report))
    run(config(folder))
    page = (folder / "out/report.html").read_text()
    assert "items of the user's past" in page.replace("&#39;", "'")
    shown = {text for text in ("never listed", "may be listed") if text in page}
    assert shown == {said} - {"not recorded"} and (said in page)
    assert (report or {"pre_ranker": "not recorded"})["pre_ranker"] in page


def test_names_of_lines_do_not_overlap():
    heights = np.array([0.5, 0.1, 0.52, 0.51, 0.9])
    moved = space_out(heights, 0.05)
    assert moved == pytest.approx([0.5, 0.1, 0.6, 0.55, 0.9])
    assert space_out(np.zeros(3), 0.1) == pytest.approx([0, 0.1, 0.2])


def test_one_user_has_figures_but_no_interval(folder):
    events().filter(pl.col("user_id") == "u1").write_parquet(folder / "events.parquet")
    found = results(folder, "hand", "better")
    assert found["systems"]["hand"]["recall@5"] == 1 and found["intervals"]["hand"]["recall@5"] == [None, None]
    assert found["comparisons"][0]["ci_low"] is None and found["comparisons"][0]["p_value"] == 1


@pytest.mark.parametrize(("entries", "message"), [
    ([], "--top_k: expected one or more NAME=FILE"),
    (["hand.parquet"], "--top_k hand.parquet: expected NAME=FILE"),
    (["a=x.parquet", "a=y.parquet"], "--top_k a=y.parquet: the name 'a' is given twice"),
])  # fmt: skip
def test_bad_names_are_refused(folder, entries, message):
    with pytest.raises(InputError, match=message):
        config(folder, top_k=entries)


def test_a_pre_ranker_may_be_called_random(folder):
    assert "random" in results(folder, top_k=[f"random={folder}/hand.parquet"])["systems"]


def test_lists_for_no_position_of_the_split_are_refused(folder):
    with pytest.raises(InputError, match=r"hand\.parquet: expected lists for positions of the split, found none"):
        run(config(folder, split="valid"))
    assert not (folder / "out").exists()


def test_a_split_without_positions_is_refused(folder):
    events().filter(pl.col("split") != "test").write_parquet(folder / "events.parquet")
    with pytest.raises(InputError, match="expected positions of 'test' with a past, found none"):
        run(config(folder))
    assert not (folder / "out").exists()


def test_positions_without_a_list_are_counted_and_named(folder, capsys):
    found = results(folder)
    assert found["without_list"] == {"hand": 2}  # u6 has an empty one, u7 none
    assert "hand: no list for 2 of 8 positions; each of these is a miss" in capsys.readouterr().out
    assert "hand has no list for 2 positions." in (folder / "out/report.html").read_text()


def test_an_unknown_item_in_a_list_is_named(folder):
    by_hand().with_columns(pl.lit(["i1", "zz"]).alias("candidates")).write_parquet(folder / "hand.parquet")
    with pytest.raises(InputError, match=r"hand\.parquet: row 0, column 'candidates': expected distinct items"):
        run(config(folder))


def test_command_line_measures_what_the_slates_stage_wrote(world, tmp_path):
    """The share of test slates among the test positions is recall@10."""
    words = "--items", world.items, "--interactions", world.interactions
    gr2("slates", *words, "--pre_ranker", "item_knn", "--depth", "48", "--output_dir", tmp_path / "knn",
        "--exclude_seen", "false")  # fmt: skip
    done = gr2("evaluate-retrieval", *words, "--top_k", f"knn={tmp_path / 'knn/top_k.parquet'}",
               "--output_dir", tmp_path / "out", "--resamples", "200")  # fmt: skip
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"metrics.json", "report.html", "manifest.json"}
    counts = json.loads((tmp_path / "knn/slates_report.json").read_text())["splits"]["test"]
    found = json.loads((tmp_path / "out/metrics.json").read_text())
    assert found["positions"] == counts["positions"] == 160
    assert found["systems"]["knn"]["recall@10"] == pytest.approx(counts["slates"] / counts["positions"], abs=1e-6)
    assert "160 test positions of 40 users, 48 items" in " ".join(done.stdout.split())
    page = (tmp_path / "out/report.html").read_text()
    assert "may be listed" in page and "item_knn" in page and "gr2 slates" in page


def test_bad_input_exits_with_2_and_writes_no_result(world, tmp_path):
    done = gr2("evaluate-retrieval", "--items", world.items, "--interactions", world.interactions,
               "--top_k", "mine=absent.parquet", "--output_dir", tmp_path / "out", expect=2)  # fmt: skip
    assert "absent.parquet: no such file" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "out/metrics.json").exists()

"""From a log to slates and to a report, on the tests' films and in a small synthetic world."""

import numpy as np
import polars as pl
import pytest

from gr2.files.artifacts import read_json
from gr2.files.slates import read_slate_table
from gr2.stages import evaluate, impressions, prepare, rerank, simulate_clicks
from gr2.stages import slates as slates_stage
from tests.helpers import gr2, refused

NAMES = {"request_id": "session", "click": "bought", "propensity": "seen", "timestamp": "at"}
COLUMNS = [f"{ours}={theirs}" for ours, theirs in NAMES.items()]


@pytest.fixture(scope="module")
def log(world, tmp_path_factory):
    """Ten films shown before each of a user's last eleven events, in a shop's own names; the next film is bought if the
    user looks at it.
    """
    rng, rows = np.random.default_rng(0), []
    events = pl.read_parquet(world.interactions).sort("user_id", "position")
    for (user,), own in events.group_by("user_id", maintain_order=True):
        for number, (item, at) in enumerate(own.select("item_id", "timestamp").tail(11).iter_rows()):
            shown = rng.permutation([item, *(f"film{row:02d}" for row in rng.choice(48, 12, replace=False))])
            for place, film in enumerate(list(dict.fromkeys(shown.tolist()))[:10], start=1):
                bought = film == item and rng.random() < 1 / place
                rows.append((f"{user}/{number}", user, film, place, bought, at, 1 / place))
    path = tmp_path_factory.mktemp("log") / "log.csv"
    names = [NAMES.get(name, name) for name in ("request_id", "user_id", "item_id", "position", "click", "timestamp")]
    pl.DataFrame(rows, [*names, NAMES["propensity"]], orient="row").write_csv(path)
    return str(path)


def words(world, log, folder, *more):
    tables = ["--items", world.items, "--interactions", world.interactions, "--impressions", log]
    return [*tables, "--output_dir", folder, *more]


@pytest.fixture(scope="module")
def made(world, log, tmp_path_factory):
    """The folder of the slates, and what the command said."""
    folder = tmp_path_factory.mktemp("slates")
    done = gr2("impressions", *words(world, log, folder, "--columns", *COLUMNS))
    return folder, done.stdout


def test_a_log_becomes_slates(world, log, made):
    folder, said = made
    frame, raw = read_slate_table(folder / "slates.parquet"), pl.read_csv(log)
    counts = read_json(folder / "slates_report.json")["splits"]
    assert len(frame) == raw["session"].n_unique() == sum(own["slates"] for own in counts.values()) == 440
    assert counts["test"]["slates"] / 440 == pytest.approx(0.2, abs=0.1)
    assert f"test: {counts['test']['slates']} slates, {counts['test']['unclicked']} of them without a click" in said
    shown = raw.group_by("session").agg(pl.col("item_id", "bought", "seen").sort_by("position"))
    joined = frame.join(shown, left_on="slate_id", right_on="session")
    assert joined["candidates"].to_list() == joined["item_id"].to_list()
    assert joined["labels"].to_list() == joined["bought"].cast(pl.List(pl.Float64)).to_list()
    assert joined["propensities"].to_list() == joined["seen"].to_list()
    assert set(frame["positions"].list.eval(pl.element().cast(pl.String)).list.join(" ")) == {"1 2 3 4 5 6 7 8 9 10"}
    assert "% of the slates are not later than the last pretrain event" in said


def test_positions_can_be_left_out(world, log, tmp_path):
    options = {"items": world.items, "interactions": world.interactions, "columns": COLUMNS}
    impressions.run(
        impressions.Config(impressions=log, output_dir=str(tmp_path), positions=False, test_share=0.5, **options)
    )
    frame = read_slate_table(tmp_path / "slates.parquet")
    assert "positions" not in frame.columns and "propensities" in frame.columns
    assert (frame["split"] == "test").mean() == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(("changed", "message"), [
    (["--columns", *COLUMNS, "score=points"], "--columns score=points: expected a column of"),
    (["--columns", *COLUMNS, "rank=place"], "--columns rank=...: expected one of the names user_id, item_id,"),
    (["--columns", *COLUMNS[:1], *COLUMNS[2:]], "column 'click' is missing; it has"),
    (["--columns", *COLUMNS, "position=seen"], "; --columns reads 'position' from 'seen'"),
    (["--columns", *COLUMNS, "--valid_share", "0.6", "--test_share", "0.4"], "--valid_share 0.6: expected a sum below"),
])  # fmt: skip
def test_bad_options_and_logs_are_refused_and_nothing_is_written(world, log, tmp_path, changed, message):
    assert message in refused("impressions", *words(world, log, tmp_path / "out", *changed))
    assert not any(tmp_path.iterdir())


def test_a_log_of_another_catalogue_is_refused(world, log, tmp_path):
    raw = pl.read_csv(log)
    raw.with_columns(item_id="dvd" + pl.col("item_id")).write_csv(tmp_path / "log.csv")
    said = refused("impressions", *words(world, str(tmp_path / "log.csv"), tmp_path / "out", "--columns", *COLUMNS))
    assert "expected requests of users with an earlier event in" in said
    assert "of 440 requests 0 have no earlier event, and 4400 of 4400 impressions are of other items" in said


def test_interactions_without_times_are_refused(world, log, tmp_path):
    pl.read_parquet(world.interactions).drop("timestamp").write_parquet(tmp_path / "events.parquet")
    options = ["--columns", *COLUMNS, "--interactions", str(tmp_path / "events.parquet")]
    assert "column 'timestamp' is missing" in refused("impressions", *words(world, log, tmp_path / "out", *options))


def test_odd_logs_are_warned_of(world, log, tmp_path, capsys):
    raw = pl.read_csv(log)
    odd = raw.filter(pl.col("position") != 4).with_columns(
        item_id=pl.when(pl.col("position") == 9).then(pl.lit("gone")).otherwise("item_id"),
        user_id=pl.when(pl.col("user_id") == "user00").then(pl.lit("nobody")).otherwise("user_id"),
    )
    lost = raw.head(2).with_columns(position=pl.lit(None, pl.Int64), bought=True, session=pl.lit("lost"))
    pl.concat([odd, lost]).write_parquet(tmp_path / "log.parquet")
    options = {"items": world.items, "interactions": world.interactions, "columns": COLUMNS}
    folder = tmp_path / "out"
    impressions.run(impressions.Config(impressions=str(tmp_path / "log.parquet"), output_dir=str(folder), **options))
    said = capsys.readouterr().out
    for warning in (
        "warning: 440 of 3960 impressions, with ",
        "clicks, are of items that the items file lacks",
        "warning: 2 clicks have no position; they are left out",
        "warning: 440 of 440 requests have positions at which the log shows nothing",
    ):
        assert warning in said
    splits = read_json(folder / "slates_report.json")["splits"]
    assert sum(own["cold"] for own in splits.values()) == 11 and sum(own["slates"] for own in splits.values()) == 429
    assert read_slate_table(folder / "slates.parquet")["positions"][0].to_list() == [1, 2, 3, 5, 6, 7, 8, 10]


def test_the_report_has_ips_and_snips_with_the_effective_sample_size(world, made, tmp_path, capsys):
    slates = str(made[0] / "slates.parquet")
    options = {"items": world.items, "slates": slates}
    rerank.run(rerank.Config(reranker="reversed", output_dir=str(tmp_path / "reversed"), **options))
    evaluate.run(
        evaluate.Config(
            rankings=[f"reversed={tmp_path / 'reversed/rankings.parquet'}"],
            output_dir=str(tmp_path / "out"),
            slates_report=str(made[0] / "slates_report.json"),
            resamples=200,
            **options,
        )
    )
    said, page = capsys.readouterr().out, (tmp_path / "out/report.html").read_text()
    metrics = read_json(tmp_path / "out/metrics.json")
    found, counts = metrics["counterfactual"], read_json(made[0] / "slates_report.json")["splits"]["test"]
    assert metrics["end_to_end"] is None and "End to end" not in page, "a log retrieves nothing"
    assert f"<td>{counts['slates']}</td><td>{counts['unclicked']}</td>" in page and "<th>recall ceiling" not in page
    assert found["requests"] == counts["slates"] and found["clicks"] == counts["slates"] - counts["unclicked"]
    assert 0 < found["effective_clicks"] < found["clicks"] < 100
    for text in (said, page):
        assert "dcg@5" in text and "The effective sample size is" in " ".join(text.split())
    assert "IPS and SNIPS: what the clicks say of other orders" in page
    plain, snips = ({name: own[kind]["dcg@5"]["value"] for name, own in found["systems"].items()}
                    for kind in ("plain", "snips"))  # fmt: skip
    assert plain["input_order"] - plain["reversed"] > 0.4 > abs(snips["input_order"] - snips["reversed"])


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory):
    """Folders of a world, the lists that are shown in it, and the log."""
    root = tmp_path_factory.mktemp("synthetic")
    sizes = {"users": 200, "synthetic_items": 60, "events": 25, "split": "time", "train_share": 0.4}
    prepare.run(prepare.Config(source="synthetic", output_dir=str(root / "world"), **sizes))
    tables = {name: str(root / f"world/{name}.parquet") for name in ("items", "interactions")}
    lists = {"pre_ranker": ["item_knn"], "depth": 6, "candidates": 6, "output_dir": str(root / "lists")}
    slates_stage.run(slates_stage.Config(**tables, **lists))
    given = {"world": str(root / "world"), "lists": str(root / "lists/top_k.parquet"), "shown": 5}
    simulate_clicks.run(simulate_clicks.Config(output_dir=str(root / "log"), eta=0.7, **given, **tables))
    return root, tables


def test_simulated_clicks_are_those_of_the_position_based_model(synthetic):
    log = pl.read_parquet(synthetic[0] / "log/impressions.parquet")
    assert log["propensity"].to_list() == pytest.approx((log["position"].cast(pl.Float64) ** -0.7).to_list())
    assert log["relevance"].min() >= 0.05 and log.group_by("request_id").agg(pl.col("relevance").max())[
        "relevance"
    ].to_list() == pytest.approx([0.6] * log["request_id"].n_unique())
    odds = log["propensity"] * log["relevance"]
    for (_,), own in log.with_columns(odds=odds).group_by("position"):
        assert own["click"].mean() == pytest.approx(own["odds"].mean(), abs=4 * (0.25 / len(own)) ** 0.5)


def test_snips_of_the_log_agrees_with_the_truth_of_the_world(synthetic, tmp_path):
    """The report of the log, and that of the same slates labelled by P(click | looked at)."""
    root, tables = synthetic
    found = {}
    for name, columns in (("log", []), ("truth", ["click=relevance", "propensity=certain"])):
        folder = tmp_path / name
        given = {"impressions": str(root / "log/impressions.parquet"), "columns": columns, "test_share": 0.6}
        impressions.run(impressions.Config(output_dir=str(folder), **tables, **given))
        slates = str(folder / "slates.parquet")
        own = {"items": tables["items"], "slates": slates}
        rerank.run(rerank.Config(reranker=str(root / "world"), output_dir=str(folder / "latent"), **own))
        rankings = [f"latent={folder / 'latent/rankings.parquet'}"]
        evaluate.run(evaluate.Config(rankings=rankings, output_dir=str(folder / "out"), resamples=300, **own))
        found[name] = read_json(folder / "out/metrics.json")["counterfactual"]
    assert found["log"]["warning"] is None and found["log"]["clicks"] > 500
    for kind in ("ips", "snips"):
        for system in ("input_order", "latent", "random"):
            known = found["truth"]["systems"][system][kind]["dcg@5"]["value"]
            low, high = found["log"]["systems"][system][kind]["dcg@5"]["interval"]
            assert low <= known <= high, (kind, system)
    true, log = (found[name]["systems"]["latent"]["gain"]["dcg@5"]["value"] for name in ("truth", "log"))
    shown = {system: found["log"]["systems"][system]["plain"]["dcg@5"]["value"] for system in ("latent", "input_order")}
    assert abs(log - true) < abs(shown["latent"] - shown["input_order"] - true)


def test_more_noise_than_liking_is_refused(synthetic, tmp_path):
    root, tables = synthetic
    words = [word for name, value in tables.items() for word in (f"--{name}", value)]
    words += ["--world", root / "world", "--lists", root / "lists/top_k.parquet", "--output_dir", tmp_path / "out"]
    assert "--noise 0.7: expected at most --liked, 0.6" in refused("simulate-clicks", *words, "--noise", "0.7")

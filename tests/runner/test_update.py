"""`gr2 update` on a shop of three days."""

import json
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
import yaml

from gr2.api import find_inputs, open_reranker, read_slates
from gr2.errors import InputError
from gr2.files.artifacts import read_json
from gr2.files.decisions import read_decisions
from gr2.files.embeddings import read_embeddings
from gr2.rerankers.record import version_of
from gr2.runner.update import find_new_days, is_date
from tests.days import DAYS, NEW, language_model_recipe, make_shop, start_of, write_day
from tests.forking import forked, run_recipe
from tests.helpers import gr2, once

KILLS = 10
STAGES = ("prepare", "embed", "sids", "slates", "candidate", "rerank_new", "rerank_old", "promote")


@pytest.fixture(scope="module")
def first(tmp_path_factory, worker_id) -> Path:
    """The shop after its first day."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "shop"
    with once(folder) as missing:
        if missing:
            make_shop(folder)
            gr2("update", "shop.yaml", cwd=folder)
    return folder


@pytest.fixture(scope="module")
def second(first, tmp_path_factory) -> Path:
    """Another shop, after its second day, by the recipe alone: `gr2 update` itself ends there in a test of kills."""
    folder = tmp_path_factory.mktemp("second") / "shop"
    shutil.copytree(first, folder, symlinks=True)
    write_day(folder, 1)
    serving = f"runs/{decisions(folder)[-1]['serving']}"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        sets = [f"day={DAYS[1]}", f"yesterday=runs/{DAYS[0]}", f"old={serving}"]
        run_recipe("shop.yaml", "--set", *sets)
    return folder


def decisions(folder: Path) -> list[dict]:
    return read_decisions(folder / "runs")


def test_the_first_reranker_has_to_hold_its_own_against_the_input_order(first):
    (line,) = decisions(first)
    assert line["day"] == DAYS[0] and line["old"] == "input_order" and line["decision"] == "promoted"
    assert line["old_value"] == line["input_order_value"] < line["new_value"]
    assert line["interval"][0] <= line["difference"] <= line["interval"][1]


def test_a_day_adds_events_and_items_and_ends_with_a_decision_and_a_link(second):
    before, line = decisions(second)
    assert line["day"] == DAYS[1] and line["old"] == before["new"] and line["new"] != line["old"]
    assert json.loads((second / "runs" / DAYS[1] / "promote/decision.json").read_text()) == line
    assert os.readlink(second / "runs/current") == DAYS[1]
    run = second / "runs/current"
    slates = read_slates(run / "slates/slates.parquet", split="test")
    served = open_reranker(str(run / "promote/reranker"), find_inputs(run)).rank(slates)
    chosen = "rerank_new" if line["decision"] == "promoted" else "rerank_old"
    expected = pl.read_parquet(run / chosen / "rankings.parquet")["ranking"].to_list()
    assert [answer.ranking for answer in served] == expected


def test_ids_and_vectors_stay_and_new_items_get_their_own(second):
    ids, vectors = [], []
    for day in DAYS[:2]:
        run = second / "runs" / day
        items = pl.read_parquet(run / "prepare/items.parquet")["item_id"]
        vectors.append(dict(zip(items, read_embeddings(run / "embed/embeddings.safetensors", items), strict=True)))
        ids.append(dict(pl.read_parquet(run / "sids/semantic_ids.parquet").select("item_id", "sid").iter_rows()))
    assert ids[1].keys() - ids[0].keys() == set(NEW) and len(set(ids[1].values())) == 48
    assert all(ids[1][item_id] == sid for item_id, sid in ids[0].items())
    assert all((vectors[1][item_id] == vector).all() for item_id, vector in vectors[0].items())


def test_neither_reranker_has_learned_what_it_is_judged_by(second):
    for number, day in enumerate(DAYS[:2]):
        events = pl.read_parquet(second / "runs" / day / "prepare/interactions.parquet")
        later = events["timestamp"] >= start_of(number)
        assert later.any() and ((events["split"] == "test") == later).all()


def test_the_same_command_again_does_nothing(second):
    before = decisions(second)
    assert "no folder for a new day" in gr2("update", "shop.yaml", cwd=second).stdout
    assert decisions(second) == before


def test_a_broken_day_is_refused_until_it_is_whole_and_what_serves_stays(second, tmp_path):
    """The whole one has ten events and lacks an item."""
    shop = tmp_path / "shop"
    shutil.copytree(second, shop, symlinks=True)
    day = write_day(shop, 2, gone=("film03",), most_events=10)
    events = (day / "events.csv").read_text()
    (day / "events.csv").write_text(events + "user01,no such film,1772500000\n")
    refused = gr2("update", "shop.yaml", cwd=shop, expect=2)
    assert f"{DAYS[2]} refused; the reranker that served before still serves" in refused.stderr
    line = decisions(shop)[-1]
    assert line["decision"] == "refused" and "events.csv: line 12, column 'item_id'" in line["reason"]
    assert os.readlink(shop / "runs/current") == DAYS[1]
    assert find_new_days(shop / "days", shop / "runs") == [DAYS[2]]
    (day / "events.csv").write_text(events)
    gr2("run", "shop.yaml", "--set", f"day={DAYS[2]}", f"yesterday=runs/{DAYS[1]}", "--until", "prepare", cwd=shop)
    run = shop / "runs" / DAYS[2]
    assert (pl.read_parquet(run / "prepare/interactions.parquet")["split"] == "test").sum() <= 10
    assert set(pl.read_parquet(run / "prepare/gone_interactions.parquet")["item_id"]) == {"film03"}


@pytest.mark.slow
def test_killed_at_ten_random_moments_it_ends_with_the_same_decision(first, second, tmp_path):
    shop, rng = tmp_path / "shop", random.Random(0)
    shutil.copytree(first, shop, symlinks=True)
    write_day(shop, 1)
    stages = sorted([*STAGES, *rng.choices(STAGES, k=KILLS - len(STAGES))], key=STAGES.index)
    killed = [kill(shop, stage, rng.uniform(0, 1)) for stage in stages]
    assert sum(killed) >= KILLS - 2  # the last stage may end before its moment comes
    gr2("update", "shop.yaml", cwd=shop)
    assert (shop / "runs/decisions.jsonl").read_text() == (second / "runs/decisions.jsonl").read_text()
    assert os.readlink(shop / "runs/current") == DAYS[1]
    served = [folder / "runs/current/promote/reranker/model.txt" for folder in (shop, second)]
    assert served[0].read_bytes() == served[1].read_bytes()


def kill(shop: Path, stage: str, delay: float) -> bool:
    """Whether `gr2 update` was killed, with all that it had started, `delay` seconds after it began a stage of day two,
    or itself where that stage was over.
    """
    words = [sys.executable, "-m", "gr2", "update", "shop.yaml"]
    nowhere = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(words, cwd=shop, start_new_session=True, **nowhere)
    begun = [shop / "runs" / DAYS[1] / stage / name for name in ("stage.json", "manifest.json")]
    while process.poll() is None and not any(file.exists() for file in begun):
        time.sleep(0.01)
    try:
        process.wait(delay)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


@pytest.mark.slow
def test_a_language_model_learns_on_from_the_one_that_serves(second, tmp_path, monkeypatch):
    shop, served = tmp_path / "shop", tmp_path / "shop/runs/base"
    shutil.copytree(second, shop, symlinks=True)
    (shop / "learned.yaml").write_text(yaml.safe_dump(language_model_recipe(), sort_keys=False))
    names = {"items": "prepare/items", "interactions": "prepare/interactions", "semantic_ids": "sids/semantic_ids"}
    words = [word for name, file in names.items() for word in (f"--{name}", f"runs/{DAYS[0]}/{file}.parquet")]
    words += shlex.split(
        "--prompt student_no_trace --hidden_size 16 --layers 1 --heads 2 --vocab_size 300 --max_steps 2"
    )
    forked("midtrain", "--output_dir", served, *words, "--context", "1024", "--bf16", "false", cwd=shop)
    sets = [f"day={DAYS[1]}", f"yesterday=runs/{DAYS[0]}", "old=runs/base"]
    monkeypatch.chdir(shop)
    lines = run_recipe("learned.yaml", "--set", *sets)
    assert sum(line.endswith("unchanged, skipped") for line in lines) == 4
    line, run = decisions(shop)[-1], shop / "runs" / DAYS[1]
    assert line["old"] == version_of(str(served)) and line["new"] == version_of(str(run / "candidate"))
    known = [read_json(folder / "semantic_ids.json")["codes"] for folder in (served, run / "promote/reranker")]
    assert all(set(before) <= set(now) for before, now in zip(*known, strict=True))


def test_days_are_folders_with_a_date_as_their_name(tmp_path):
    for name in ("2026-03-02", "2026-03-01", "2026-02-30", "notes", ".2026-03-03"):
        (tmp_path / "days" / name).mkdir(parents=True)
    (tmp_path / "days/2026-03-09").write_text("a file")
    assert find_new_days(tmp_path / "days", tmp_path / "runs") == ["2026-03-01", "2026-03-02"]
    assert not is_date("20260301")
    with pytest.raises(InputError, match="expected a folder with one folder for each day"):
        find_new_days(tmp_path / "none", tmp_path / "runs")


def test_variables_that_are_given_hold_beside_those_of_the_day(second, tmp_path):
    """A folder of days that is given is read, and the recipe is given it with the day."""
    runs = f"runs={tmp_path / 'runs'}"
    (tmp_path / "data").mkdir()
    words = ("shop.yaml", "--set", f"data={tmp_path / 'data'}", "--set", runs)
    assert f"no folder for a new day in {tmp_path / 'data'}" in gr2("update", *words, cwd=second).stdout
    shutil.copytree(second / "days" / DAYS[0], tmp_path / "data" / DAYS[0])
    (tmp_path / "data" / DAYS[0] / "events.csv").write_text("user_id\n")
    gr2("update", *words, cwd=second, expect=2)
    decision = read_decisions(tmp_path / "runs")[-1]
    assert (decision["day"], decision["decision"]) == (DAYS[0], "refused")
    assert str(tmp_path / "data" / DAYS[0]) in decision["reason"]
    assert (
        "--set old: expected none of day, yesterday, old"
        in gr2("update", "shop.yaml", "--set", "old=popularity", cwd=second, expect=2).stderr
    )


def test_a_recipe_without_the_variables_is_refused():
    assert "variables: expected data, runs, day, yesterday, old" in gr2("update", "demo", expect=2).stderr

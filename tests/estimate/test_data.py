import json

import polars as pl
import pytest
import yaml

from gr2.cli import main
from gr2.estimate.data import flag
from gr2.runner.plan import Stage


@pytest.mark.parametrize(
    "words, value",
    [([], True), (["yes"], True), (["1"], True), (["True"], True), (["no"], False), (["0"], False), (None, False)],
)
def test_a_truth_value_is_read_as_gr2_run_reads_it(words, value):
    options = {} if words is None else {"structured": words}
    assert flag(Stage("rl", "rl", options, {}, "rl"), "structured", False) is value
    assert flag(Stage("rl", "rl", options, {}, "rl"), "structured", True) is (True if words is None else value)


def test_a_value_of_another_kind_is_refused(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["estimate", "movielens", "--rl_0.structured", "perhaps"])
    complaint = "stage rl_0: --structured perhaps: expected true or false"
    assert stop.value.code == 2 and complaint in capsys.readouterr().err


@pytest.mark.parametrize("name", ["events.parquet", "events.csv"])
def test_raw_files_of_a_prepare_that_has_not_run_are_not_counted(tmp_path, capsys, monkeypatch, name):
    """They have other columns, and rows that the k-core takes away."""
    monkeypatch.chdir(tmp_path)
    events = pl.DataFrame({"customer": ["1"], "sku": ["a"], "bought_at": [1]})
    events.write_parquet(name) if name.endswith("parquet") else events.write_csv(name)
    pl.DataFrame({"sku": ["a"], "name": ["A film"]}).write_csv("items.csv")
    columns = ["item_id=sku", "title=name", "user_id=customer", "timestamp=bought_at"]
    stages = {
        "prepare": {"items": "items.csv", "interactions": name, "columns": columns},
        "embed": {},
        "sids": {},
        "midtrain": {},
        "slates": {"pre_ranker": "beam", "model_name_or_path": "midtrain"},
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump({"folder": "run", "stages": stages}, sort_keys=False))
    main(["estimate", "./recipe.yaml", "--events", "7000", "--json", "cost.json"])
    text = capsys.readouterr().out
    assert "assumed: 7,000 events" in text and "tokens of a title" in text and "\ncounted" not in text
    assert [row["stage"] for row in json.loads((tmp_path / "cost.json").read_text())["stages"]] == [
        "midtrain",
        "slates",
    ]

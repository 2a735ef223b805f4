import json
from pathlib import Path

import pytest

from gr2.errors import InputError
from gr2.files.artifacts import write_json
from gr2.serving import command
from tests.helpers import gr2


def refused(*words: str) -> str:
    with pytest.raises(InputError) as error:
        command.main([*words])
    return str(error.value)


@pytest.mark.parametrize("name", [*command.NUMBERS, "history", "threads", "max_prompt_tokens"])
@pytest.mark.parametrize("value", ["nan", "inf", "-1", "1e30"])
def test_a_number_out_of_range_is_refused(name, value):
    kind = type(command.NUMBERS[name][0]) if name in command.NUMBERS else int
    if kind is float:
        assert refused("popularity", "--items", "i", f"--{name}", value).startswith(
            f"--{name} {float(value)}: expected"
        )
    elif value == "-1":
        assert f"--{name} -1: expected a number from" in refused("popularity", "--items", "i", f"--{name}=-1")
    else:
        with pytest.raises(SystemExit):
            command.main(["popularity", "--items", "i", f"--{name}", value])


def test_an_open_door_is_refused(monkeypatch):
    monkeypatch.delenv("GR2_TOKEN", raising=False)
    assert "expected a bearer token in GR2_TOKEN" in refused("popularity", "--items", "i", "--host", "0.0.0.0")


def test_what_is_missing_is_named(tmp_path):
    assert "expected --items FILE, or --run FOLDER" in refused("popularity")
    missing = "expected one file of items in its stages' folders, found none; name it: --items FILE"
    assert missing in refused("popularity", "--run", str(tmp_path))
    assert refused("popularity", "--run", "nope").startswith("nope: no such folder; expected a run's")
    assert refused("nope", "--items", "i").startswith("--reranker nope: expected input_order, ")
    assert "expected --base_url" in refused("popularity", "--items", "i", "--engine", "openai")


def test_a_reranker_that_cannot_be_opened_ends_the_server_at_once(world):
    complaint = gr2("serve", "blend_of_nobody", "--items", world.items, "--port", "0", expect=2).stderr
    assert complaint.startswith("gr2: --reranker blend_of_nobody: expected input_order, reversed")


def test_a_run_tells_its_files_and_options_win(world):
    options = command.parser().parse_args(["x", "--run", str(world.root), "--items", "mine.parquet"])
    inputs = command.find_files(options)
    assert inputs.items == "mine.parquet" and inputs.interactions == world.interactions


def test_levels_are_looked_for_in_the_run_of_a_language_model(tmp_path):
    model, blend = str(tmp_path / "sft"), str(tmp_path / "blend")
    write_json(tmp_path / "sft/config.json", {"model_type": "qwen3"})
    write_json(tmp_path / "blend/reranker.json", {"kind": "blend"})

    def found(*words: str) -> str | None:
        return command.find_level_file(command.parser().parse_args([*words]))

    assert found(model, "--run", str(tmp_path)) is None
    write_json(tmp_path / "facts/levels.json", {})
    assert found(model, "--run", str(tmp_path)) == str(tmp_path / "facts/levels.json")
    assert found(blend, "--run", str(tmp_path)) is None and found(blend, "--levels", "mine.json") == "mine.json"
    write_json(tmp_path / "more/levels.json", {})
    with pytest.raises(InputError, match=r"expected one levels\.json in its stages' folders, .*; name it: --levels"):
        found(model, "--run", str(tmp_path))
    assert found(model, "--run", str(tmp_path), "--levels", "mine.json") == "mine.json"


def test_a_language_model_ranks_by_first_choices_but_for_a_chat_server():
    options = command.parser().parse_args(["x", "--items", "i"])
    assert command.read_sampling(options).order == "first"
    options = command.parser().parse_args(["x", "--items", "i", "--engine", "openai", "--base_url", "http://a/v1"])
    assert command.read_sampling(options).order == "choices"


def test_a_user_has_as_long_a_history_as_the_runs_slates(tmp_path):
    assert command.read_history(None) == 20
    for folder, stage, history in (
        ("slates", "slates", 50),
        ("slates_beam", "slates", 30),
        ("slates.old-1", "slates", 70),
        ("sasrec", "sasrec", 90),
        ("log", "impressions", 6),
    ):
        (tmp_path / folder).mkdir()
        manifest = {"stage": stage, "config": {"history": history}, "outputs": {}}
        (tmp_path / folder / "manifest.json").write_text(json.dumps(manifest))
    assert command.read_history(tmp_path) == 50
    for folder in ("slates", "slates_beam"):
        (tmp_path / folder / "manifest.json").unlink()
    assert command.read_history(tmp_path) == 6, "slates of a log have a history too"


def test_what_was_moved_aside_is_no_file_of_the_run(world, tmp_path):
    for folder in ("prepare", "prepare.old-1"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "items.parquet").write_bytes(Path(world.items).read_bytes())
    options = command.parser().parse_args(["x", "--run", str(tmp_path)])
    assert command.find_files(options).items == str(tmp_path / "prepare/items.parquet")

from dataclasses import dataclass, field
from typing import Literal

import pytest
import yaml

from gr2.cli import main
from gr2.config import arg, describe_options, mapping_options, parse, read_options
from gr2.errors import InputError


@dataclass
class Config:
    items: str = arg(help="a file")
    output_dir: str = arg(help="a folder")
    kind: Literal["small", "large"] = arg("small", "one of two")
    learning_rate: float = arg(0.5, "a number")
    steps: int = arg(10, "a whole number")
    names: list[str] = arg(["a", "b"], "several")
    limit: int | None = arg(None, "none: no limit")
    shuffle: bool = arg(True, "yes or no")
    made: int = field(default=7, init=False)


def parsed(tmp_path, text, *words):
    (tmp_path / "stage.yaml").write_text(text)
    return parse("demo", Config, read_options(["--config", str(tmp_path / "stage.yaml"), *words]))


NEEDED = "items: i.parquet\noutput_dir: out\n"


def test_yaml_alone(tmp_path):
    config = parsed(
        tmp_path, NEEDED + "kind: large\nlearning_rate: 5e-7\nsteps: 3\nnames: [x]\nlimit: 4\nshuffle: false\n"
    )
    assert config == Config("i.parquet", "out", "large", 5e-7, 3, ["x"], 4, False)


def test_defaults_stand_where_nothing_is_said(tmp_path):
    assert parsed(tmp_path, NEEDED) == Config("i.parquet", "out")
    assert parsed(tmp_path, NEEDED + "limit: null\nsteps: null\n") == Config("i.parquet", "out")
    assert parsed(tmp_path, NEEDED).names is not parsed(tmp_path, NEEDED).names


@pytest.mark.parametrize("place", ["before", "after"])
def test_the_command_line_wins(tmp_path, place):
    (tmp_path / "stage.yaml").write_text(NEEDED + "steps: 3\nnames: [x, y]\nshuffle: false\n")
    file, words = ["--config", str(tmp_path / "stage.yaml")], ["--steps", "-4", "--names", "z", "--shuffle", "true"]
    config = parse("demo", Config, read_options(words + file if place == "before" else file + words))
    assert (config.items, config.steps, config.names, config.shuffle) == ("i.parquet", -4, ["z"], True)


def test_no_file_is_needed():
    words = [
        "--items",
        "a b.parquet",
        "--output-dir=out",
        "--names",
        "p",
        "q",
        "r",
        "--learning_rate=1e-3",
        "--limit",
        "5",
    ]
    assert parse("demo", Config, read_options(words)) == Config(
        "a b.parquet", "out", "small", 1e-3, 10, ["p", "q", "r"], 5
    )


def test_a_value_may_look_like_an_assignment():
    options = read_options(["--names=a=b/c", "d=e"])
    assert options == {"names": ["a=b/c", "d=e"]}
    assert mapping_options({"a": {"b": 1}, "c": [1, "x"], "d": None}) == {"a": ['{"b": 1}'], "c": ["1", "x"]}


@pytest.mark.parametrize(("text", "words", "complaint"), [
    ("itmes: x\n", [], "unknown key 'itmes'; did you mean 'items'?"),
    (NEEDED, ["--lerning_rate", "1"], "unknown key 'lerning_rate'; did you mean 'learning_rate'?"),
    (NEEDED + "zzzzzz: 1\n", [], "unknown key 'zzzzzz'"),
    (NEEDED + "made: 1\n", [], "unknown key 'made'"),
    (NEEDED + "steps: many\n", [], "^demo: --steps many: expected a whole number$"),
    (NEEDED + "steps: 1.5\n", [], "^demo: --steps 1.5: expected a whole number$"),
    (NEEDED, ["--learning_rate", "fast"], "^demo: --learning_rate fast: expected a number$"),
    (NEEDED + "kind: medium\n", [], "^demo: --kind medium: expected one of small, large$"),
    (NEEDED + "shuffle: maybe\n", [], "^demo: --shuffle maybe: expected true or false$"),
    (NEEDED + "limit: all\n", [], "^demo: --limit all: expected a whole number$"),
    (NEEDED + "names: []\n", [], "^demo: --names: expected at least one value$"),
    (NEEDED, ["--items"], "^demo: --items: expected one value$"),
    (NEEDED + "items: [a, b]\n", [], "b"),
    ("output_dir: out\n", [], "--items is required"),
    ("items: a\n", [], "--output_dir is required"),
    (NEEDED, ["stray"], "'stray': expected options"),
    ("- a\n- b\n", [], r"stage\.yaml: expected a YAML mapping"),
    ("a: [1\n", [], r"stage\.yaml: expected YAML"),
    ("", [], r"stage\.yaml: expected a YAML mapping"),
])  # fmt: skip
def test_what_is_wrong_is_said(tmp_path, text, words, complaint):
    with pytest.raises(InputError, match=complaint):
        parsed(tmp_path, text, *words)


def test_a_file_that_is_not_there():
    with pytest.raises(InputError, match=r"absent\.yaml: no such file"):
        read_options(["--config", "absent.yaml"])
    with pytest.raises(InputError, match="expected a file name"):
        read_options(["--steps", "1", "--config"])


@pytest.mark.parametrize(("changed", "complaint"), [
    ({"codes": "many"}, "sids: --codes many: expected a whole number"),
    ({"level": 3}, "sids: unknown key 'level'; did you mean 'levels'?"),
    ({"items": None}, "sids: --items is required"),
])  # fmt: skip
def test_the_command_line_ends_with_2(tmp_path, world, capsys, changed, complaint):
    options = {"items": world.items, "embeddings": world.embeddings, "output_dir": str(tmp_path / "out")} | changed
    (tmp_path / "sids.yaml").write_text(yaml.safe_dump(options))
    with pytest.raises(SystemExit) as stop:
        main(["sids", "--config", str(tmp_path / "sids.yaml")])
    assert stop.value.code == 2
    assert complaint in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_help_names_every_option_its_default_and_what_is_required():
    text = describe_options("demo", Config, "Makes something.\n")
    assert "usage: gr2 demo" in text and "Makes something." in text
    lines = {line.split()[0]: line for line in text.splitlines() if line.startswith("  --")}
    assert set(lines) == {f"--{name}" for name in Config.__annotations__}
    assert "a file (required)" in lines["--items"] and "(default 0.5)" in lines["--learning_rate"]
    assert "(optional)" in lines["--limit"] and "(default ['a', 'b'])" in lines["--names"]

import math
from dataclasses import dataclass, field
from typing import Literal

import pytest
import yaml

from gr2.cli import main
from gr2.errors import InputError
from gr2.options.declare import arg
from gr2.options.help import describe_options
from gr2.options.parse import parse
from gr2.options.words import mapping_options, read_options
from gr2.runner.plan import stage_options


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


@dataclass
class Ranged:
    output_dir: str = arg(help="a folder")
    share: float = arg(0.5, "a share", above=0, below=1)
    counts: list[int] = arg([1, 2], "several", least=1, most=9)
    limit: float | None = arg(None, "or none", least=0, most=math.inf)
    seed: int = arg(0, "a seed")
    shuffle: bool = arg(False, "no number")


@pytest.mark.parametrize(("words", "complaint"), [
    (["--share", "0"], "--share 0.0: expected a number above 0 and below 1"),
    (["--share", "1"], "--share 1.0: expected a number above 0 and below 1"),
    (["--share", "nan"], "--share nan: expected a number above 0 and below 1"),
    (["--counts", "3", "0"], "--counts 0: expected a number from 1 to 9"),
    (["--counts", "10"], "--counts 10: expected a number from 1 to 9"),
    (["--limit", "-1"], "--limit -1.0: expected a number of at least 0"),
    (["--limit", "nan"], "--limit nan: expected a number of at least 0"),
    (["--seed", "-1"], "--seed -1: expected a number from 0 to 4,294,967,295"),
    (["--seed", "4294967296"], "--seed 4294967296: expected a number from 0 to 4,294,967,295"),
])  # fmt: skip
def test_a_number_outside_its_range_is_refused(words, complaint):
    with pytest.raises(InputError) as refusal:
        parse("demo", Ranged, read_options(["--output_dir", "out", *words]))
    assert str(refusal.value) == complaint


def test_numbers_at_the_ends_of_their_ranges_are_taken():
    words = ["--output_dir", "out", "--counts", "1", "9", "--limit", "inf", "--seed", "4294967295", "--shuffle", "true"]
    assert parse("demo", Ranged, read_options(words)) == Ranged("out", 0.5, [1, 9], math.inf, 4294967295, True)


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


def test_an_option_that_is_given_twice_has_its_last_value_and_a_list_is_refused_rather_than_its_first_values_lost():
    assert stage_options("evaluate", ["--seed", "1", "--split", "test", "--seed=2"])["seed"] == ["2"]
    with pytest.raises(InputError, match="--rankings: given twice; expected it once, with all its values after it"):
        stage_options("evaluate", ["--rankings", "a=a.parquet", "--seed", "1", "--rankings", "b=b.parquet"])


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
    expected = Config("a b.parquet", "out", "small", 1e-3, 10, ["p", "q", "r"], 5)
    assert parse("demo", Config, read_options(words)) == expected


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
    ("steps: 1\n", [], "--items, --output_dir are required"),
    ("items: a\n", [], "--output_dir is required"),
    (NEEDED, ["stray"], "'stray': expected options"),
    ("- a\n- b\n", [], r"stage\.yaml: expected a YAML mapping"),
    ("a: [1\n", [], r"stage\.yaml: expected YAML"),
    ("", [], r"stage\.yaml: expected a YAML mapping"),
    (NEEDED + "kind: 2024-05-01\n", [],
     r"stage\.yaml: the value of 'kind': expected a text.*found the date 2024-05-01"),
    (NEEDED + "names: [2024-05-01 10:00:00]\n", [], r"the value of 'names': expected a text.*found the time"),
    (NEEDED + "names: !!set {a, b}\n", [], r"the value of 'names': expected a text.*found the set"),
    (NEEDED + "names: !!binary aGk=\n", [], r"the value of 'names': expected a text.*found the bytes"),
    (NEEDED + "names: [[a], [b]]\n", [], r"stage\.yaml: 'names': expected a value or a list of values, found"),
    (NEEDED + "names: [{a: 1}]\n", [], r"stage\.yaml: 'names': expected a value or a list of values, found"),
    (NEEDED + "names: [a, null]\n", [], r"stage\.yaml: 'names': expected a value or a list of values, found"),
    (NEEDED + "names: &x [*x]\n", [], "none inside of itself"),
    (NEEDED + "names: &x {a: *x}\n", [], "none inside of itself"),
    (NEEDED + "a: &a [1,1,1,1,1,1,1,1,1]\n" + "".join(
        f"{n}: &{n} [*{m},*{m},*{m},*{m},*{m},*{m},*{m},*{m},*{m}]\n"
        for m, n in zip("abcdefg", "bcdefgh", strict=True)), [],
     "expected at most 100,000 values"),
    (NEEDED + "1: x\n", [], r"stage\.yaml: key 1: expected a text"),
    (NEEDED + "names: {2: x}\n", [], r"stage\.yaml: key 2 of 'names': expected a text"),
    (NEEDED + "steps: 3\nsteps: 4\n", [], r"stage\.yaml: expected YAML, but the key 'steps' stands twice"),
    (NEEDED + "names:\n\t- a\n", [], r"expected YAML, but line \d, column 1: found character '\\t' .*with spaces, not"),
    ("[" * 5000 + "]" * 5000, [], r"stage\.yaml: expected YAML"),
    ("a: \x00\n", [], r"stage\.yaml: expected YAML"),
    (NEEDED + "steps: " + "9" * 30 + "\n", [], "--steps 9+: expected a number of at most 9,223,372,036,854,775,807"),
    (NEEDED + "steps: 1.0e+30\n", [], r"--steps 1e\+30: expected a whole number"),
    (NEEDED + "learning_rate: .nan\n", [], "--learning_rate nan: expected a number"),
    (NEEDED + "learning_rate: 1e400\n", [], "--learning_rate inf: expected a number"),
])  # fmt: skip
def test_what_is_wrong_is_said(tmp_path, text, words, complaint):
    with pytest.raises(InputError, match=complaint):
        parsed(tmp_path, text, *words)


def test_a_mapping_that_is_merged_into_another_may_be_changed_there(tmp_path):
    config = parsed(tmp_path, "<<: {items: a, output_dir: out, steps: 3}\nitems: b\n")
    assert (config.items, config.steps) == ("b", 3)


def test_a_file_that_is_a_folder(tmp_path):
    with pytest.raises(InputError, match=f"{tmp_path}: expected a YAML file, found a folder"):
        read_options(["--config", str(tmp_path)])


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

"""The scripts of docs/cluster.md: bash reads them, and gr2 knows every option of their commands."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from gr2.files.yaml import read_yaml
from gr2.options.words import read_words
from gr2.runner.declarations import read_command
from gr2.runner.plan import stage_options

REPOSITORY = Path(__file__).parents[1]
TEXT = (REPOSITORY / "docs/cluster.md").read_text()
SCRIPTS = re.findall(r"```bash\n(.*?)```", TEXT, re.DOTALL)
INDENTED = re.findall(r"(?:^    \S.*\n(?:^    .*\n)*)", TEXT, re.MULTILINE)


def commands() -> list[list[str]]:
    """The words of every command of the page that is gr2's or accelerate's, lines that end in a backslash joined."""
    lines = "".join([*SCRIPTS, *INDENTED]).replace("\\\n", " ").replace("'", "").splitlines()
    found = [re.search(r"(gr2|accelerate launch) .*", line) for line in lines if not line.startswith("#")]
    return [shlex.split(match[0]) for match in found if match]


@pytest.mark.parametrize("script", SCRIPTS)
def test_bash_reads_every_script(script):
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)


def test_every_gr2_command_has_options_that_it_knows_and_all_that_it_requires():
    stages = [words[1:] for words in commands() if words[0] == "gr2" and words[1] != "run"]
    assert {words[0] for words in stages} == {"prepare", "slates", "traces", "rerank"}
    for stage, *words in stages:
        options, known = read_words(words), read_command(stage).options
        assert options.keys() <= known.keys(), stage
        assert {name for name, option in known.items() if option.required} <= options.keys(), stage
        for name in {"engine", "ray_engine"} & options.keys():
            assert options[name][0] in ("ray", "vllm")


def test_what_accelerate_starts_is_a_stage_of_a_recipe():
    launched = [words for words in commands() if words[0] == "accelerate"]
    assert len(launched) == 2
    for words in launched:
        at = next(index for index, word in enumerate(words) if word.startswith("scripts/"))
        config = read_yaml(REPOSITORY / words[words.index("--config_file") + 1])
        assert config["distributed_type"] == "FSDP" and (REPOSITORY / words[at]).exists()
        assert config["same_network"] and config["rdzv_backend"] == "static"
        own = {"$RECIPE": "smollm2-135m", "$STAGE": "sft"}
        options = stage_options(Path(words[at]).stem, [own.get(word, word) for word in words[at + 1 :]])
        assert "model_name_or_path" in options
    assert "RECIPE=smollm2-135m\nSTAGE=sft\n" in TEXT

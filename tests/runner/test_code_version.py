import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import gr2 as package
from gr2.runner.code_version import code_version
from gr2.stages import STAGES
from tests.helpers import gr2

GR2 = Path(package.__file__).parent

ASK = """
import json, sys
from gr2.stages import STAGES, module_of
from gr2.runner.code_version import code_version
print(json.dumps({stage: code_version(module_of(stage)) for stage in STAGES}))
"""

# What runs a stage and writes its manifest and card, and is no part of what the stage itself writes.
AROUND = {"cli", "runner", "hub", "options", "stages", "processes", "packaged", "files"}


def versions(folder):
    """{stage: its code version} of a copy of the package, in a process of its own."""
    done = subprocess.run([sys.executable, "-c", ASK], cwd=folder, capture_output=True, text=True)  # cwd comes first
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("copy")
    shutil.copytree(GR2, folder / "gr2", ignore=shutil.ignore_patterns("__pycache__"))
    return folder, versions(folder)


@pytest.mark.parametrize(("file", "stages"), [
    ("reports/reranking.html.j2", {"evaluate"}),
    ("reports/verdict.py", {"evaluate"}),
    ("reports/base.html.j2", {"evaluate", "evaluate-retrieval", "sids"}),
    ("midtrain/packing.py", {"midtrain"}),
    ("errors.py", set(STAGES)),
    ("runner/pipeline.py", set()),
    ("stages/__init__.py", set()),
    ("cli.py", set()),
])  # fmt: skip
def test_a_changed_file_concerns_the_stages_that_import_it(copy, file, stages):
    folder, before = copy
    path = folder / "gr2" / file
    whole = path.read_text()
    path.write_text(whole + "\n# changed\n")
    after = versions(folder)
    path.write_text(whole)
    assert {stage for stage in STAGES if after[stage] != before[stage]} == stages
    assert all(file in after[stage] for stage in stages)


def test_what_a_stage_imported_is_what_its_code_version_covers(world, tmp_path):
    """Asked of the process itself, after it ran; the runner around the stage is left out."""
    program = """
import json, sys
from gr2.cli import main
main(sys.argv[1:])
print(json.dumps([name for name in sys.modules if name.split(".")[0] == "gr2"]))
"""
    words = ["evaluate", "--slates", world.slates, "--items", world.items,
             "--rankings", f"best={tmp_path}/r/rankings.parquet",
             "--resamples", "100", "--output_dir", str(tmp_path / "out")]  # fmt: skip
    slates = ["--items", world.items, "--slates", world.slates]
    gr2("rerank", *slates, "--reranker", "oracle", "--output_dir", tmp_path / "r")
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    modules = set(json.loads(done.stdout.splitlines()[-1])) - {"gr2", "gr2.stages"}
    imported = {name.removeprefix("gr2.").replace(".", "/") for name in modules}
    covered, runner = code_version("gr2.stages.evaluate"), code_version("gr2.cli")
    beyond = {file for file in imported if not {f"{file}.py", f"{file}/__init__.py"} & covered.keys()}
    assert {file for file in beyond if not {f"{file}.py", f"{file}/__init__.py"} & runner.keys()} == set()
    assert {file.partition("/")[0] for file in beyond} <= AROUND
    assert "reports/reranking.html.j2" in covered
    assert json.loads((tmp_path / "out/manifest.json").read_text())["code"] == covered

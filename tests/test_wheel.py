"""An installed gr2 needs no checkout: its recipes, prompts and templates come along, and it runs in an empty folder."""

import os
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest
import yaml

from gr2.runner.recipe import shipped_recipes
from tests.helpers import raw_tables

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Installed:
    folder: Path  # of the environment

    def run(self, name: str, *words: str | Path, cwd: Path) -> str:
        """What a program of the environment prints, started in `cwd` and without a path to the checkout."""
        env = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        command = [self.folder / "bin" / name, *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=env)
        assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Installed:
    """gr2's wheel in an environment of its own; every other package is the one that the tests run with. No network."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet"]
    offline = ["--no-deps", "--no-index"]
    subprocess.run([*pip, "wheel", *offline, "--no-build-isolation", "--wheel-dir", folder, ROOT], check=True)
    venv.create(folder / "venv", with_pip=False)
    packages = sysconfig.get_path("purelib", "venv", {"base": str(folder / "venv")})
    (Path(packages) / "packages_of_the_tests.pth").write_text(sysconfig.get_path("purelib"))
    (wheel,) = folder.glob("gr2-*.whl")
    subprocess.run([*pip, "--python", folder / "venv/bin/python", "install", *offline, wheel], check=True)
    return Installed(folder / "venv")


def test_the_package_is_the_wheels_and_holds_every_recipe(installed, tmp_path):
    text = installed.run("python", "-c", "import gr2; print(gr2.__file__)", cwd=tmp_path)
    assert Path(text.strip()).is_relative_to(installed.folder)
    listed = installed.run("gr2", "recipes", cwd=tmp_path)
    for name, file in shipped_recipes().items():
        first_line = file.read_text().splitlines()[0].removeprefix("# ")
        assert any(line.split()[0] == name and line.endswith(first_line) for line in listed.splitlines() if line)
    plan = installed.run("gr2", "run", "demo", "--dry_run", cwd=tmp_path)
    assert "rerank_sft_trace" in plan and not list(tmp_path.iterdir())


def test_every_file_of_the_package_the_prompts_and_the_recipes_is_in_the_wheel(installed, tmp_path):
    package = Path(installed.run("python", "-c", "import gr2; print(gr2.__file__)", cwd=tmp_path).strip()).parent
    kinds = set()
    for folder, inside in (("gr2", "."), ("prompts", "shipped/prompts"), ("recipes", "shipped/recipes")):
        files = [file for file in (ROOT / folder).rglob("*") if file.is_file() and "__pycache__" not in file.parts]
        for file in files:
            assert (package / inside / file.relative_to(ROOT / folder)).read_bytes() == file.read_bytes()
        kinds |= {file.suffix for file in files}
    assert kinds == {".py", ".j2", ".css", ".js", ".yaml"}
    assert not [path for path in package.parent.iterdir() if path.name in ("tests", "docs", "scripts", "prompts")]


def test_evaluate_needs_slates_and_rankings_alone(installed, tmp_path):
    slates = {
        "slate_id": ["a", "b"],
        "user_id": ["u", "v"],
        "position": [3, 3],
        "split": ["test"] * 2,
        "history": [["x"], ["y"]],
        "candidates": [["x", "y", "z"], ["z", "x", "y"]],
        "labels": [[0, 1, 0], [1, 0, 0]],
    }
    pl.DataFrame(slates).write_parquet(tmp_path / "slates.parquet")
    rankings = {"slate_id": ["a", "b"], "ranking": [["y", "x", "z"], ["x", "z", "y"]], "valid": [True, True]}
    pl.DataFrame(rankings).write_parquet(tmp_path / "rankings.parquet")
    installed.run("gr2", "evaluate", "--slates", "slates.parquet", "--rankings", "mine=rankings.parquet",
                  "--resamples", "100", "--output_dir", "report", cwd=tmp_path)  # fmt: skip
    metrics = yaml.safe_load((tmp_path / "report/metrics.json").read_text())
    assert metrics["systems"]["mine"]["recall@1"] == 0.5
    assert "mine" in (tmp_path / "report/report.html").read_text()


def test_a_recipe_runs_in_a_folder_that_holds_only_its_data(installed, tmp_path):
    items, interactions = raw_tables()
    items.write_csv(tmp_path / "items.csv")
    interactions.write_csv(tmp_path / "interactions.csv")
    (tmp_path / "tiny.yaml").write_text("""\
# Popularity as pre-ranker, and the reverse of its lists.
folder: out
stages:
  prepare: {items: items.csv, interactions: interactions.csv}
  slates: {pre_ranker: [popularity], exclude_seen: false}
  rerank_{name}:
    for: {name: [popularity, reversed]}
    reranker: "{name}"
  evaluate: {rankings: ["rerank_*"], resamples: 100}
""")
    installed.run("gr2", "run", "tiny.yaml", cwd=tmp_path)
    systems = yaml.safe_load((tmp_path / "out/evaluate/metrics.json").read_text())["systems"]
    assert systems["popularity"]["ndcg@5"] == systems["input_order"]["ndcg@5"] > 0
    assert systems["reversed"]["kendall_tau"] == -1
    manifest = yaml.safe_load((tmp_path / "out/rerank_popularity/manifest.json").read_text())
    prompt = next(file for file in manifest["inputs"] if file.endswith("student.yaml"))  # --prompt's default
    assert Path(prompt).is_relative_to(installed.folder)
    assert "unchanged" in installed.run("gr2", "run", "tiny.yaml", cwd=tmp_path)

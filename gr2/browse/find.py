"""Which files of a run's folder belong on the page: the stages' manifests tell, without them the names."""

from dataclasses import dataclass
from pathlib import Path

from gr2.errors import InputError
from gr2.evaluation.inputs import name_files, ranking_files
from gr2.evaluation.systems import COMPUTED
from gr2.files.artifacts import MANIFEST, find_in_stages, read_json


@dataclass(frozen=True)
class Files:
    slates: Path
    items: Path | None
    semantic_ids: Path | None
    rankings: dict[str, Path]  # by system; also of other splits, where no manifest says which
    traces: dict[str, Path]  # by stage


def find_files(run: Path, split: str, given: list[str]) -> Files:
    """`given`: rankings as NAME=FILE, in place of those that are found. InputError for a folder without slates."""
    if not run.is_dir():
        raise InputError(f"{run}: expected a run's folder, with a folder for each stage")
    configs = {file.parent: read_config(file) for file in find_in_stages(run, MANIFEST)}
    evaluations = [config for folder, config in configs.items() if (folder / "report.html").exists()]
    evaluation = next((config for config in evaluations if "slates" in config and "rankings" in config), {})
    return Files(
        slates=find_slates(run, evaluation, configs),
        items=find_table(run, "items.parquet", evaluation),
        semantic_ids=find_table(run, "semantic_ids.parquet", evaluation),
        rankings=find_named(given) if given else find_rankings(run, split, evaluation, configs),
        traces={
            file.parent.name: file
            for file in find_in_stages(run, "traces.jsonl")
            if configs.get(file.parent, {}).get("split", split) == split
        },
    )


def read_config(manifest: Path) -> dict:
    """A stage's options; empty for a manifest without any."""
    config = read_json(manifest).get("config")
    return config if isinstance(config, dict) else {}


def find_slates(run: Path, evaluation: dict, configs: dict[Path, dict]) -> Path:
    """What the evaluation judged, else what a reranker of the run ranked, else the newest slates.parquet."""
    ranked = [config["slates"] for folder, config in configs.items() if "reranker" in config and "slates" in config]
    for path in [*([evaluation["slates"]] if evaluation else []), *ranked]:
        if (file := within(run, path)).exists():
            return file
    found = sorted(find_in_stages(run, "slates.parquet"), key=lambda file: file.stat().st_mtime)
    if not found:
        raise InputError(f"{run}: expected a folder in it with a slates.parquet, as `gr2 slates` writes it")
    return found[-1]


def find_table(run: Path, name: str, evaluation: dict) -> Path | None:
    """The file of this name that the evaluation read, else one in the run's folder, else None."""
    read = evaluation.get(Path(name).stem)
    found = [within(run, read)] if read else []
    return next((file for file in [*found, *find_in_stages(run, name)] if file.exists()), None)


def find_rankings(run: Path, split: str, evaluation: dict, configs: dict[Path, dict]) -> dict[str, Path]:
    """The evaluation's systems in its order, then the run's other rankings, of `split` where a manifest names one."""
    evaluated = ranking_files(evaluation.get("rankings", []))
    seeds = {within(run, path) for paths in evaluated.values() for path in paths}
    systems = {name: within(run, paths[0]) for name, paths in evaluated.items()}
    systems = {name: file for name, file in systems.items() if file.exists()}
    for file in find_in_stages(run, "rankings.parquet"):
        name = file.parent.name.removeprefix("rerank_")
        if file not in seeds:
            systems[file.parent.name if name in systems or name in COMPUTED else name] = file
    return {name: file for name, file in systems.items() if configs.get(file.parent, {}).get("split", split) == split}


def find_named(entries: list[str]) -> dict[str, Path]:
    """{name: file} of NAME=FILE entries; InputError for a name that is there twice or is always computed."""
    ranking_files(entries)
    return {name: Path(file) for name, file in name_files("rankings", entries).items()}


def within(run: Path, path: str) -> Path:
    """Where a file of a run is that may have been moved: RUN/STAGE/FILE if that exists, else where it was."""
    file = run / Path(path).parent.name / Path(path).name
    return file if file.exists() else Path(path)

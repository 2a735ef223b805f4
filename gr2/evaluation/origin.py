"""Where the judged rankings come from: the stages that made them, and what `gr2 prepare` left out of the data.

Both are read from the files that every stage leaves in its folder, so a report can show them without a further option.
"""

from pathlib import Path

from gr2.files.artifacts import MANIFEST, read_json, read_manifest, stage_of


def find_stages(files: list[str]) -> list[dict]:
    """The stages behind these files, in the order of data flow: folder, stage, options (those that were given, without
    paths), commit, finished (None in manifests of earlier versions), seconds. Files without a manifest have none.
    """
    stages: list[dict] = []
    seen: set[Path] = set()
    for file in files:
        add_stage(file, stages, seen)
    return stages


def add_stage(file: str, stages: list[dict], seen: set[Path]) -> None:
    """Appends the stages whose files the stage that wrote `file` has read, then that stage itself."""
    folder = stage_of(file)
    if folder is None or folder in seen:
        return
    seen.add(folder)
    manifest = read_manifest(folder / MANIFEST)
    for name in manifest["inputs"]:
        add_stage(name, stages, seen)
    known = {name: manifest.get(name) for name in ("stage", "finished", "seconds")}
    commit = manifest.get("git_commit")
    stages.append({"folder": str(folder), "options": given_options(manifest), "commit": commit, **known})


def given_options(manifest: dict) -> dict[str, str]:
    """The options that were given, as text; not those that name files or folders."""
    given, paths = manifest.get("options", {}), set(manifest["input_paths"])
    texts = {name: " ".join(words) for name, words in given.items() if name != "output_dir"}
    return {name: text for name, text in texts.items() if not paths & set(text.replace("=", " ").split())}


def read_prepared(interactions: str | None) -> dict | None:
    """summary.json of the `gr2 prepare` that wrote this file; None where no such stage did."""
    folder = stage_of(interactions) if interactions else None
    if folder is None or read_manifest(folder / MANIFEST)["stage"] != "prepare":
        return None
    return read_json(folder / "summary.json") if (folder / "summary.json").exists() else None

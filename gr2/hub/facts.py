"""What a model's card says of how the model was made: from its manifest, and from those of the stages before it.

A card is read by others, and is the same on every machine: of a path it tells the name.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from gr2.errors import InputError
from gr2.files.artifacts import MANIFEST, read_manifest
from gr2.options.words import read_words
from gr2.packaged_models import MINILM, SMOLLM2

# The stages whose folder is a model with a card, and what it then is.
TITLES = {
    "midtrain": "A language model that speaks semantic IDs",
    "sft": "A language model that reranks recommendations",
    "rl": "A language model that reranks recommendations, after reinforcement learning",
    "distil": "A language model that reranks recommendations, distilled on its own answers",
    "fit one_pass": "A reranker that scores all candidates of a slate in one pass",
}
ON_THE_HUB = {SMOLLM2: "HuggingFaceTB/SmolLM2-135M-Instruct", MINILM: "sentence-transformers/all-MiniLM-L6-v2"}
UNSAID = ("output_dir", "push_to_hub", "logging_dir", "resume_from_checkpoint", "report_to", "run_name")


@dataclass(frozen=True)
class Facts:
    """Of a model's folder; `options` are those that were given, `inputs` every file that was read, with its sha256."""

    stage: str
    options: dict[str, str | float | list]
    inputs: list[tuple[str, str]]
    prompt: str | None
    recipe: str | None
    commit: str | None
    seed: int | None
    packages: dict[str, str]
    base_model: str | None
    dataset: str | None


def read_model_manifest(folder: Path) -> dict:
    """InputError unless it is the finished folder of a model that has a card."""
    if not (folder / MANIFEST).exists():
        raise InputError(f"{folder}: expected the folder of a finished training; it has no {MANIFEST}")
    manifest = read_manifest(folder / MANIFEST)
    if manifest.get("stage") not in TITLES:
        expected = ", ".join(f"gr2 {stage}" for stage in TITLES)
        raise InputError(f"{folder}: expected the folder of one of {expected}; found {manifest.get('stage')}")
    return manifest


def read_facts(manifest: dict) -> Facts:
    """Of a manifest as gr2/runner/stage.py writes it."""
    prompt = manifest["config"].get("prompt")
    return Facts(
        stage=manifest["stage"],
        options=shown_options(manifest),
        inputs=[(short_name(file), digest) for file, digest in manifest["inputs"].items()],
        prompt=shorten(prompt, manifest) if prompt else None,
        recipe=find_recipe(manifest["command"]),
        commit=manifest["git_commit"],
        seed=manifest["seed"],
        packages=manifest["packages"],
        base_model=find_base(manifest),
        dataset=find_dataset(manifest),
    )


def shown_options(manifest: dict) -> dict[str, str | float | list]:
    """The options that were given, except those for the output folder, trackers and the hub."""
    given = {name: [shorten(word, manifest) for word in words] for name, words in manifest["options"].items()}
    shown = {name: words for name, words in given.items() if name not in UNSAID and not name.startswith("hub_")}
    values = {name: [plain(word) for word in words] for name, words in shown.items()}
    return {name: value[0] if len(value) == 1 else value for name, value in values.items()}


def plain(word: str) -> str | float:
    """`0.1` and `True` as the values that they are; any other word as it is."""
    try:
        value = json.loads(word.lower())
    except ValueError:
        return word
    return value if isinstance(value, int | float) else word


def shorten(word: str, manifest: dict) -> str:
    """The name of a file or folder that was read, `NAME=name` of `NAME=FILE`; any other word as it is."""
    label, equals, path = word.partition("=")
    if equals and is_path(path, manifest):
        return f"{label}={short_name(path)}"
    return short_name(word) if is_path(word, manifest) else word


def is_path(word: str, manifest: dict) -> bool:
    read = (Path(file) for file in manifest["inputs"])
    return Path(word).is_absolute() or (Path(word).name and any(file.is_relative_to(word) for file in read))


def short_name(path: str) -> str:
    """`template/traces.jsonl` of a stage's file, and only the name of any other."""
    folder = Path(path).parent
    return f"{folder.name}/{Path(path).name}" if (folder / MANIFEST).exists() else Path(path).name


def find_recipe(command: str) -> str | None:
    """`gr2 rl --recipe demo --stage rl` -> "demo, stage rl"."""
    words = command.split()
    if "--recipe" not in words:
        return None
    given = read_words(words[words.index("--recipe") :])
    return f"{Path(*given['recipe']).stem}, stage {' '.join(given.get('stage', []))}"


def find_base(manifest: dict) -> str | None:
    """The hub's name of the model that the first of the trainings started from; None from scratch, or of a folder."""
    name = " ".join(manifest.get("options", {}).get("model_name_or_path", []))
    if name and (Path(name) / MANIFEST).exists():
        return find_base(read_manifest(Path(name) / MANIFEST))
    return ON_THE_HUB.get(name) or (name if name and not Path(name).exists() else None)


def find_dataset(manifest: dict) -> str | None:
    """`movielens-latest-small`, `movielens-ml-1m`: what `gr2 prepare` read; None for own files and invented worlds."""
    prepared = Path(*manifest["options"].get("items", [])).parent / MANIFEST
    if not prepared.exists():
        return None
    options = read_manifest(prepared).get("options", {})
    source = " ".join(options.get("source", ["files"]))
    if source in ("files", "synthetic"):
        return None
    read = options.get("folder") or options.get("interactions") or []
    return "-".join([source, *(Path(path).name.partition(".")[0] for path in read)])

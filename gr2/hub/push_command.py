"""`gr2 push MODEL REPOSITORY`: uploads a finished model's folder to the hub, as one commit.

MODEL is the folder of a finished `gr2 midtrain`, `sft`, `rl`, `distil` or `fit one_pass`. With `--push_to_hub true`,
the first four of these do the same when they are done. The token is that of `hf auth login`, or HF_TOKEN.

  gr2 push runs/demo/rl me/model
  gr2 push runs/demo/rl me/model --also runs/demo/sids/semantic_ids.parquet runs/demo/prepare/items.parquet

It uploads the files that the manifest lists, and so no checkpoints. The manifest itself stays here, because it holds
the machine's paths. docs/hub.md has more.
"""

import argparse
from pathlib import Path

from gr2.errors import InputError
from gr2.files.artifacts import CARD, MANIFEST, check_against_manifest, sha256
from gr2.hub.facts import read_model_manifest


def main(words: list[str]) -> None:
    options = parser().parse_args(words)
    folder, also = Path(options.model), [Path(file) for file in options.also]
    manifest = read_model_manifest(folder)
    for name, file in {name: folder / name for name in manifest["outputs"]}.items():
        if not file.exists():
            raise InputError(f"{file}: no such file, but {folder / MANIFEST} lists it")
        if name != CARD:
            check_against_manifest(file, sha256(file))
    for file in also:
        if not file.is_file():
            raise InputError(f"--also {file}: expected a file")
        if file.name in manifest["outputs"]:
            raise InputError(f"--also {file}: expected another name; the model has its own {file.name}")
    from gr2.hub.push import open_repository  # slow to import

    open_repository(options.repository, options.private, options.revision).push(folder, also)


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("gr2 push", description=__doc__, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("model", help="the model's folder")
    parser.add_argument("repository", help="me/model, or a name alone, for the user of the token")
    also = "files that others need beside the model, such as its semantic_ids.parquet"
    parser.add_argument("--also", nargs="+", default=[], metavar="FILE", help=also)
    private = "make a new repository private (default: your organization's setting, or else public)"
    parser.add_argument("--private", action="store_const", const=True, help=private)
    parser.add_argument("--revision", metavar="BRANCH", help="push to this branch")
    return parser

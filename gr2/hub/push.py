"""A repository on the hub, and how a finished model's folder gets there, as one commit."""

import shlex
from dataclasses import dataclass, field
from pathlib import Path

from httpx import HTTPError
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

from gr2.errors import InputError
from gr2.files.artifacts import CARD, MANIFEST, read_manifest

FAILURES = (OSError, ValueError, RuntimeError, HTTPError)  # of the hub's client
PLACEHOLDER = "me/model"  # in a card, until the model has a name
WEIGHTS = (".safetensors", ".safetensors.index.json")


@dataclass(frozen=True)
class Repository:
    """One that exists, and that the token may write to."""

    name: str
    revision: str | None = None
    token: str | None = field(default=None, repr=False)

    def push(self, folder: Path, also: list[Path] | None = None) -> None:
        """Uploads what the folder's manifest lists; weights of an earlier push that it lacks are removed there.

        OSError, one sentence, where that fails: the folder is whole, and can be pushed again.
        """
        api, stage = HfApi(token=self.token), read_manifest(folder / MANIFEST)["stage"]
        files = read_files(folder, self.name) | {file.name: file for file in also or []}
        try:
            uploaded = api.list_repo_files(self.name, revision=self.revision)
            old = [file for file in uploaded if file.endswith(WEIGHTS) and file not in files]
            changes = [CommitOperationDelete(file) for file in old]
            changes += [CommitOperationAdd(file, content) for file, content in files.items()]
            done = api.create_commit(self.name, changes, commit_message=f"gr2 {stage}", revision=self.revision)
        except (*FAILURES, KeyboardInterrupt) as error:
            branch = ["--revision", self.revision] if self.revision else []
            again = shlex.join(["gr2", "push", str(folder), self.name, *branch])
            failed = f"{folder} is finished, but was not pushed to {self.name} ({in_one_line(error)})"
            raise OSError(f"{failed}; push it again with: {again}") from None
        print(f"gr2 push: {folder} -> {done.commit_url}", flush=True)


def open_repository(name: str, private: bool | None, revision: str | None, token: str | None = None) -> Repository:
    """Makes the repository and the branch unless they are there; InputError where that fails."""
    api = HfApi(token=token)
    try:
        name = api.create_repo(name, private=private, exist_ok=True).repo_id
        api.auth_check(name, write=True)
        if revision:
            api.create_branch(name, branch=revision, exist_ok=True)
    except FAILURES as error:
        expected = "expected a repository that the token of HF_TOKEN or `hf auth login` may write to"
        raise InputError(f"{name}: {expected} ({in_one_line(error)})") from None
    return Repository(name, revision, token)


def read_files(folder: Path, repository: str) -> dict[str, Path | bytes]:
    """What the manifest lists, by name; the card tells how to load the model from this repository."""
    files: dict[str, Path | bytes] = {name: folder / name for name in read_manifest(folder / MANIFEST)["outputs"]}
    if CARD in files:
        files[CARD] = (folder / CARD).read_text(encoding="utf-8").replace(PLACEHOLDER, repository).encode()
    return files


def in_one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__

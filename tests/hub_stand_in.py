"""A stand-in for the Hugging Face hub: a server on this machine that answers what `huggingface_hub` asks.

It knows one user, `me`, and one token. Repositories are in memory. What it does is what the client's source expects of
the hub's HTTP interface, without Xet storage (HF_HUB_DISABLE_XET=1): the real hub was not asked.
"""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

import yaml

TOKEN = "hf_secretOfTheTests"
LARGE = ".safetensors"  # goes up by LFS


@dataclass
class Repository:
    private: bool = False
    branches: dict[str, dict[str, bytes]] = field(default_factory=lambda: {"main": {}})
    commits: list[str] = field(default_factory=list)  # their messages

    @property
    def files(self) -> dict[str, bytes]:
        return self.branches["main"]

    def at(self, revision: str) -> dict[str, bytes]:
        """Of a branch; of a commit what is on main: what was before it is forgotten."""
        return self.branches.get(revision, self.files)

    @property
    def sha(self) -> str:
        return hashlib.sha1(repr((self.commits, sorted(self.branches))).encode()).hexdigest()


@dataclass
class Hub:
    url: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    uploaded: dict[str, bytes] = field(default_factory=dict)  # LFS objects by sha256
    refuses_commits: bool = False


class Handler(BaseHTTPRequestHandler):
    hub: Hub

    def log_message(self, *_) -> None:
        return

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(self.path.partition("?")[0])
        if found := re.fullmatch(r"/api/models/(.+)/auth-check/write", path):
            self.known(found[1]) and self.allowed() and self.answer({})
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/([^/]+)(/.*)?", path):
            if repository := self.known(found[1]):
                files = {} if found[3] else repository.at(found[2])
                self.answer([{"type": "file", "path": name, "size": len(files[name]), "oid": "0"} for name in files])
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(/revision/.*)?", path):
            if repository := self.known(found[1]):
                siblings = [{"rfilename": name} for name in repository.files]
                self.answer({"id": found[1], "sha": repository.sha, "siblings": siblings, "tags": []})
        elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            if repository := self.known(found[1]):
                self.send_file(repository, repository.at(found[2]), found[3])
        else:
            self.answer({"error": f"the stand-in does not know GET {path}"}, 404)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = unquote(self.path.partition("?")[0])
        if path == "/api/validate-yaml":
            self.validate(json.loads(body)["content"])
        elif not self.allowed():
            return
        elif path == "/api/repos/create":
            self.create(json.loads(body))
        elif found := re.fullmatch(r"/api/models/(.+)/branch/(.+)", path):
            branches = self.hub.repositories[found[1]].branches
            self.answer({}, 409 if found[2] in branches else 200)
            branches.setdefault(found[2], dict(branches["main"]))
        elif re.fullmatch(r"/api/models/(.+)/preupload/(.+)", path):
            names = [file["path"] for file in json.loads(body)["files"]]
            modes = {name: "lfs" if name.endswith(LARGE) else "regular" for name in names}
            self.answer({"files": [{"path": name, "uploadMode": modes[name], "shouldIgnore": False} for name in names]})
        elif path.endswith(".git/info/lfs/objects/batch"):
            objects = json.loads(body)["objects"]
            places = [{"upload": {"href": f"{self.hub.url}/lfs/{entry['oid']}"}} for entry in objects]
            self.answer({"objects": [entry | {"actions": at} for entry, at in zip(objects, places, strict=True)]})
        elif found := re.fullmatch(r"/api/models/(.+)/commit/(.+)", path):
            self.commit(found[1], found[2], [json.loads(line) for line in body.splitlines()])
        else:
            self.answer({"error": f"the stand-in does not know POST {path}"}, 404)

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        digest = self.path.rpartition("/")[2]
        whole = hashlib.sha256(content).hexdigest() == digest
        if whole:
            self.hub.uploaded[digest] = content
        self.answer({}, 200 if whole else 400)

    def allowed(self) -> bool:
        good = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        if not good:
            self.answer({"error": "Invalid username or password."}, 401)
        return good

    def known(self, name: str) -> Repository | None:
        if name not in self.hub.repositories:
            self.answer({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})
        return self.hub.repositories.get(name)

    def create(self, asked: dict) -> None:
        name = f"{asked['organization'] or 'me'}/{asked['name']}"
        if not name.startswith("me/"):
            self.answer({"error": "You don't have the rights to create a model under this namespace"}, 403)
            return
        status = 409 if name in self.hub.repositories else 200
        self.hub.repositories.setdefault(name, Repository(private=asked.get("visibility") == "private"))
        self.answer({"url": f"{self.hub.url}/{name}"}, status)

    def validate(self, card: str) -> None:
        """The hub checks more than that the metadata is YAML of the keys' types."""
        data = yaml.safe_load(card.split("---\n")[1])
        good = isinstance(data["tags"], list) and isinstance(data["pipeline_tag"], str)
        errors = [] if good else [{"message": "tags or pipeline_tag"}]
        self.answer({"errors": errors, "warnings": []}, 200 if good else 400)

    def commit(self, name: str, branch: str, lines: list[dict]) -> None:
        if self.hub.refuses_commits:
            self.answer({"error": "Storage limit reached"}, 403, {"X-Error-Message": "Storage limit reached"})
            return
        repository = self.hub.repositories[name]
        files = repository.branches[branch]
        for line in lines:
            value = line["value"]
            if line["key"] == "header":
                repository.commits.append(value["summary"])
            elif line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.uploaded[value["oid"]]
            elif line["key"] == "deletedFile":
                del files[value["path"]]
        self.answer({"commitUrl": f"{self.hub.url}/{name}/commit/{repository.sha}", "commitOid": repository.sha})

    def send_file(self, repository: Repository, files: dict[str, bytes], name: str) -> None:
        if name not in files:
            self.answer({"error": "Entry not found"}, 404, {"X-Error-Code": "EntryNotFound"})
            return
        digest = hashlib.sha256(files[name]).hexdigest()
        self.answer(files[name], headers={"ETag": f'"{digest}"', "X-Repo-Commit": repository.sha})

    def answer(self, content: dict | list | bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@contextmanager
def stand_in_for_the_hub() -> Iterator[Hub]:
    """The server's state, at `url`, as long as the block lasts."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("OwnHandler", (Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield hub
    server.shutdown()
    server.server_close()


def variables(hub: Hub, home: str) -> dict[str, str]:
    """What a process needs to take it for the hub."""
    return {"HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "HF_HOME": home, "HF_HUB_DISABLE_XET": "1"}

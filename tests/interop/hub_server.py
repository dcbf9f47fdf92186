"""A hub on this machine: repositories of models, as huggingface_hub asks for them."""

import base64
import hashlib
import http.server
import json
import re
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager

import yaml

LICENSES = {"mit", "apache-2.0", "cc-by-4.0", "cc0-1.0", "other", "unknown"}
TASKS = {"unconditional-image-generation", "text-to-image", "image-classification"}
LARGE = 2000
"""Bytes from which a file is kept aside, by its SHA-256; on the hub these are ten megabytes."""


def problems(content: str) -> list[str]:
    """What is wrong with a card's metadata: hub-docs' modelcard.md, written as checks."""
    match = re.match(r"^\s*---\r?\n([\S\s]*?)\r?\n---[ \t]*(\r?\n|$)", content)
    if match is None:
        return ["no metadata"]
    values = yaml.safe_load(match[1])
    if not isinstance(values, dict):
        return ["the metadata are no keys with values"]
    found = []

    def check(right: bool, what: str) -> None:
        if not right:
            found.append(f'"{what}" is not as it must be')

    def texts(value: object) -> bool:
        return isinstance(value, list) and all(isinstance(each, str) and each for each in value)

    check(values.get("license", "mit") in LICENSES, "license")
    check(values.get("pipeline_tag", "text-to-image") in TASKS, "pipeline_tag")
    check(isinstance(values.get("library_name", ""), str), "library_name")
    check(texts(values.get("tags", [])), "tags")
    check(texts(values.get("datasets", [])), "datasets")
    for name in values.get("datasets", []):
        check(re.fullmatch(r"[\w.-]+(/[\w.-]+)?", str(name)) is not None, "datasets")
    index = values.get("model-index", [])
    check(isinstance(index, list), "model-index")
    for model in index:
        check(isinstance(model.get("name"), str), "model-index.name")
        check(isinstance(model.get("results"), list), "model-index.results")
        for result in model.get("results", []):
            check(isinstance(result.get("task", {}).get("type"), str), "task.type")
            for name in ("type", "name"):
                check(isinstance(result.get("dataset", {}).get(name), str), f"dataset.{name}")
            check(bool(result.get("metrics")), "metrics")
            for metric in result.get("metrics", []):
                known = {"type", "value", "name", "config", "args", "verified", "verifyToken"}
                check(isinstance(metric.get("type"), str), "metrics.type")
                check(metric.get("value") is not None, "metrics.value")
                check(isinstance(metric.get("args", {}), dict), "metrics.args")
                check(metric.keys() <= known, "metrics")
    return found


def blob(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Hub(http.server.ThreadingHTTPServer):
    """Repositories by name, each of files by branch; who may write; what goes wrong."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repos: dict[str, dict[str, dict[str, bytes]]] = {}
        self.private: set[str] = set()
        self.history: dict[str, list[tuple[str, dict[str, bytes]]]] = {}
        self.objects: dict[str, bytes] = {}
        self.users = {"hf_secret": "me", "hf_other": "other"}
        self.asked: list[tuple[str, str]] = []
        self.received: list[str] = []
        """Names and digests of the contents that were sent."""
        self.messages: list[str] = []
        self.refused: dict[str, tuple[int, str]] = {}
        """By a part of the path: the status, and what is said."""
        self.cut: set[str] = set()
        """Parts of paths at which the connection ends in the midst."""
        self.announced: int | None = None
        """The size that a download is said to have."""

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def commit_of(self, repo: str, files: dict[str, bytes]) -> str:
        known = sorted((name, blob(content)) for name, content in files.items())
        sha = hashlib.sha1(repr((repo, known)).encode()).hexdigest()
        if all(sha != other for other, _ in self.history.setdefault(repo, [])):
            self.history[repo].append((sha, dict(files)))
        return sha

    def files(self, repo: str, revision: str) -> dict[str, bytes] | None:
        if revision in self.repos[repo]:
            return self.repos[repo][revision]
        return dict(self.history.get(repo, [])).get(revision)

    def gets(self, part: str) -> int:
        return sum(method == "GET" and part in path for method, path in self.asked)


class Handler(http.server.BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *_: object) -> None:
        pass

    def answer(self, status: int, content: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def tell(self, value: object, status: int = 200) -> None:
        self.answer(status, json.dumps(value).encode(), Content_Type="application/json")

    def refuse(self, status: int, said: str, code: str = "") -> None:
        body = json.dumps({"error": said}).encode()
        headers = {"X_Error_Code": code} if code else {}
        self.answer(status, body, X_Error_Message=" ".join(said.split()), **headers)

    @property
    def user(self) -> str | None:
        token = (self.headers["Authorization"] or "").removeprefix("Bearer ")
        return self.server.users.get(token)

    def do_HEAD(self) -> None:
        self.handle_any(b"")

    def do_GET(self) -> None:
        self.handle_any(b"")

    def do_POST(self) -> None:
        self.handle_any(self.body())

    def do_PUT(self) -> None:
        self.handle_any(self.body())

    def body(self) -> bytes:
        if self.headers["Transfer-Encoding"] == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers["Content-Length"] or 0))

    def handle_any(self, body: bytes) -> None:
        server, url = self.server, urllib.parse.urlsplit(self.path)
        server.asked.append((self.command, url.path))
        for part in server.cut:
            if part in url.path:
                self.close_connection = True
                return None
        for part, (status, said) in server.refused.items():
            if part in url.path:
                return self.refuse(status, said)
        parts = [urllib.parse.unquote(part) for part in url.path.strip("/").split("/")]
        if url.path == "/api/validate-yaml":
            found = problems(json.loads(body)["content"])
            errors = [{"message": each} for each in found]
            return self.tell({"errors": errors, "warnings": []}, 400 if found else 200)
        if url.path == "/api/repos/create":
            return self.create(json.loads(body))
        if url.path == "/api/models":
            wanted = urllib.parse.parse_qs(url.query)["search"][0]
            return self.tell([{"id": repo} for repo in server.repos if wanted[:4] in repo])
        if parts[0] == "objects":
            server.objects[parts[1]] = body
            server.received.append(parts[1])
            return self.answer(200)
        if url.path.endswith(".git/info/lfs/objects/batch"):
            return self.batch(json.loads(body))
        if parts[:2] == ["api", "models"]:
            return self.model("/".join(parts[2:4]), parts[4:], body)
        if "resolve" not in parts:
            return self.refuse(404, "There is nothing at that path")
        return self.resolve("/".join(parts[:2]), parts[3], "/".join(parts[4:]))

    def seen(self, repo: str) -> bool:
        """Whether the repository is there for whoever asks; tells if not."""
        server = self.server
        hidden = repo in server.private and self.user != repo.partition("/")[0]
        if repo not in server.repos or hidden:
            self.refuse(404 if self.user else 401, "Repository not found", "RepoNotFound")
            return False
        return True

    def create(self, asked: dict) -> None:
        server = self.server
        repo = f"{asked['organization'] or self.user}/{asked['name']}"
        if self.user is None:
            return self.refuse(401, "Invalid username or password.")
        if asked["organization"] != self.user:
            return self.refuse(403, f"You don't have the rights to create a model under {repo}")
        if repo in server.repos:
            return self.refuse(409, "You already created this model repo")
        server.repos[repo] = {"main": {".gitattributes": b"*.safetensors filter=lfs\n"}}
        if asked.get("private") or asked.get("visibility") == "private":
            server.private.add(repo)
        return self.tell({"url": f"{server.address}/{repo}", "name": repo})

    def model(self, repo: str, parts: list[str], body: bytes) -> None:
        server = self.server
        if not self.seen(repo):
            return None
        what, revision = parts[:2] if parts else ("revision", "main")
        if what in ("branch", "preupload", "commit") and self.user != repo.partition("/")[0]:
            return self.refuse(403, "Forbidden: you must be the owner")
        if what == "branch":
            server.repos[repo][revision] = dict(server.repos[repo]["main"])
            return self.answer(200)
        files = server.files(repo, revision)
        if files is None:
            return self.refuse(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        if what == "revision":
            return self.tell(
                {
                    "id": repo,
                    "sha": server.commit_of(repo, files),
                    "private": repo in server.private,
                    "siblings": [self.sibling(name, each) for name, each in files.items()],
                }
            )
        if what == "preupload":
            told = []
            for asked in json.loads(body)["files"]:
                large = asked["size"] >= LARGE
                told.append(
                    {
                        "path": asked["path"],
                        "uploadMode": "lfs" if large else "regular",
                        "shouldIgnore": False,
                    }
                )
            return self.tell({"files": told})
        assert what == "commit"
        return self.commit(repo, revision, files, body)

    def sibling(self, name: str, content: bytes) -> dict:
        told = {"rfilename": name, "size": len(content), "blobId": blob(content)}
        if len(content) >= LARGE:
            sha = hashlib.sha256(content).hexdigest()
            told["blobId"] = "0" * 40  # of a pointer
            told["lfs"] = {"sha256": sha, "size": len(content), "pointerSize": 130}
        return told

    def commit(self, repo: str, revision: str, files: dict[str, bytes], body: bytes) -> None:
        server, made = self.server, dict(files)
        for line in body.splitlines():
            entry = json.loads(line)
            key, value = entry["key"], entry["value"]
            if key == "header":
                if value.get("parentCommit") != server.commit_of(repo, files):
                    return self.refuse(412, "A commit has happened since. Please refresh")
                server.messages.append(value["summary"])
            elif key == "file":
                made[value["path"]] = base64.b64decode(value["content"])
                server.received.append(value["path"])
            elif key == "lfsFile":
                if value["oid"] not in server.objects:
                    return self.refuse(400, "LFS pointer pointed to a file that does not exist")
                made[value["path"]] = server.objects[value["oid"]]
            elif key == "deletedFile":
                del made[value["path"]]
            else:
                raise AssertionError(key)
        server.repos[repo][revision] = made
        sha = server.commit_of(repo, made)
        return self.tell({"commitUrl": f"{server.address}/{repo}/commit/{sha}", "commitOid": sha})

    def batch(self, asked: dict) -> None:
        told = []
        for each in asked["objects"]:
            answer: dict = {"oid": each["oid"], "size": each["size"]}
            if each["oid"] not in self.server.objects:
                href = f"{self.server.address}/objects/{each['oid']}"
                answer["actions"] = {"upload": {"href": href}}
            told.append(answer)
        self.tell({"transfer": "basic", "objects": told})

    def resolve(self, repo: str, revision: str, name: str) -> None:
        server = self.server
        if not self.seen(repo):
            return None
        files = server.files(repo, revision)
        if files is None:
            return self.refuse(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        if name not in files:
            return self.refuse(404, "Entry not found", "EntryNotFound")
        content = files[name]
        about = {
            "ETag": f'"{hashlib.sha256(content).hexdigest()}"',
            "X_Repo_Commit": server.commit_of(repo, files),
            "Accept_Ranges": "bytes",
        }
        if server.announced is not None and self.command == "HEAD":
            return self.answer(200, **about, Content_Length=str(server.announced))
        if self.headers["Range"]:
            first = int(self.headers["Range"].removeprefix("bytes=").partition("-")[0])
            piece = content[first:]
            where = f"bytes {first}-{len(content) - 1}/{len(content)}"
            return self.answer(206, piece, **about, Content_Range=where)
        if "half a download" in server.cut and self.command == "GET":
            self.answer(
                200, content[: len(content) // 2], **about, Content_Length=str(len(content))
            )
            self.close_connection = True
            return None
        return self.answer(200, content, **about)


@contextmanager
def serving() -> Iterator[Hub]:
    server = Hub()
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()

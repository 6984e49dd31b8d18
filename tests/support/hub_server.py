"""The endpoints of the Hugging Face hub that models are put to and fetched from, on loopback and in memory."""

import base64
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import yaml


class Hub(ThreadingHTTPServer):
    """Repositories by name, each a dictionary of its files; a commit is named by their hash."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.private: set[str] = set()
        self.read_only = False
        self.fetched: list[str] = []

    def __enter__(self) -> "Hub":
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def commit(self, name: str) -> str:
        return hashlib.sha1(repr(sorted(self.repositories[name].items())).encode()).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def do_GET(self) -> None:
        parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            name, what = "/".join(parts[2:4]), parts[4:]
            files = self.server.repositories.get(name)
            if files is None:
                return self._refuse(404, "RepoNotFound")
            commit = self.server.commit(name)
            if what[1:] not in ([], ["main"], [commit]):
                return self._refuse(404, "RevisionNotFound")
            if what[:1] == ["tree"]:
                return self._answer(
                    [
                        {"type": "file", "path": path, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                        for path, data in files.items()
                    ]
                )
            siblings = [{"rfilename": path} for path in files]
            return self._answer({"id": name, "modelId": name, "sha": commit, "siblings": siblings, "private": False})
        name, path = "/".join(parts[:2]), "/".join(parts[4:])
        data = self.server.repositories.get(name, {}).get(path)
        if data is None:
            return self._refuse(404, "EntryNotFound")
        if self.command == "GET":
            self.server.fetched.append(path)
        return self._send(200, data, {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": parts[3]})

    do_HEAD = do_GET

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        if parts == ["api", "validate-yaml"]:
            front = yaml.safe_load(json.loads(body)["content"].split("---\n")[1])
            assert isinstance(front["license"], str)
            assert all(isinstance(tag, str) for tag in front["tags"])
            return self._answer({"errors": [], "warnings": []})
        if self.server.read_only:
            return self._refuse(403, "")
        if parts == ["api", "repos", "create"]:
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            there = name in self.server.repositories
            self.server.repositories.setdefault(name, {})
            if not there and (asked.get("private") or asked.get("visibility") == "private"):
                self.server.private.add(name)
            return self._answer({"url": f"{self.server.root}/{name}"}, 409 if there else 200)
        name, what = "/".join(parts[2:4]), parts[4]
        if what == "preupload":
            files = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in json.loads(body)["files"]
            ]
            return self._answer({"files": files})
        assert what == "commit"
        for line in map(json.loads, body.splitlines()):
            if line["key"] == "file":
                self.server.repositories[name][line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            elif line["key"] == "deletedFile":
                del self.server.repositories[name][line["value"]["path"]]
        commit = self.server.commit(name)
        url = f"{self.server.root}/{name}/commit/{commit}"
        return self._answer({"success": True, "commitUrl": url, "commitOid": commit})

    def _answer(self, content: object, status: int = 200) -> None:
        self._send(status, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _refuse(self, status: int, code: str) -> None:
        self._send(status, b"", {"X-Error-Code": code} if code else {})

    def _send(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass

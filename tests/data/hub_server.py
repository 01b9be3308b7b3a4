"""Enough of the hub's HTTP API, on the loopback address, for `huggingface_hub` and `datasets`."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

# Files at least this large are stored as the hub stores large files: by SHA-256.
LARGE = 2000
MOMENT = "2026-01-01T00:00:00.000Z"


@dataclass
class Hub:
    """Repositories served: ``owner/name`` -> path -> content.

    ``faults`` maps a path to what goes wrong, in order, when it is fetched: ``drop`` (the connection
    closes half way), ``cut`` (fewer bytes than there are, without a word), ``garbage`` (other bytes),
    ``stall`` (half, then nothing for a long time), ``hang`` (nothing at all for a long time), ``html`` (a
    page that asks for a login, as of a hotel's network), or a status such as ``429``. What is no file, such
    as the list of files, has the path ``api``.
    """

    repos: dict[str, dict[str, bytes]] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    faults: dict[str, list[str]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    sent: dict[str, int] = field(default_factory=dict)
    over: threading.Event = field(default_factory=threading.Event)

    def add_folder(self, root: Path, repo: str) -> None:
        """Serve a mirror's folder."""
        folder = root / repo
        files = (path for path in folder.rglob("*") if path.is_file() and ".cache" not in path.parts)
        self.repos[repo] = {str(path.relative_to(folder)): path.read_bytes() for path in sorted(files)}

    def commit(self, repo: str) -> str:
        """The commit that ``main`` is: a hash over everything in the repository."""
        total = hashlib.sha1(usedforsecurity=False)
        for path, content in sorted(self.repos[repo].items()):
            total.update(path.encode() + content)
        return total.hexdigest()

    def entry(self, repo: str, path: str) -> dict[str, Any]:
        content = self.repos[repo][path]
        blob = hashlib.sha1(f"blob {len(content)}\0".encode() + content, usedforsecurity=False).hexdigest()
        found: dict[str, Any] = {"type": "file", "oid": blob, "size": len(content), "path": path}
        if len(content) >= LARGE:
            sha = hashlib.sha256(content).hexdigest()
            found["lfs"] = {"oid": sha, "size": len(content), "pointerSize": 134}
        return found

    @contextmanager
    def running(self) -> Iterator[str]:
        """Serve until the end of the block; gives the endpoint."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            self.over.set()
            server.shutdown()
            server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._answer(body)

    def _answer(self, body: bytes = b"") -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append(f"{self.command} {path}")
        api = re.fullmatch(
            r"/api/(?:datasets|models)/([^/]+/[^/]+)(?:/(revision|tree|paths-info)/([^/]+)(?:/(.*))?)?", path
        )
        file = re.fullmatch(r"(?:/datasets)?/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        repo = (api or file)[1] if api or file else ""
        faults = self.hub.faults.get("api" if api else file[3] if file else "", [])
        if (
            faults
            and (api or self.command == "GET")
            and (faults[0].isdigit() or faults[0] in ("hang", "html"))
        ):
            return self._refuse(faults.pop(0))
        if repo in self.hub.gated and "Authorization" not in self.headers:
            return self._fail(401, "GatedRepo", "Access to this data set is restricted")
        if repo not in self.hub.repos:
            return self._fail(404, "RepoNotFound", "Repository not found")
        revision = (api[3] if api else file[2] if file else None) or "main"
        if revision not in ("main", self.hub.commit(repo)):
            return self._fail(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        if file:
            return self._file(repo, file[3])
        assert api
        return self._api(repo, api[2], (api[4] or "").strip("/"), body)

    def _api(self, repo: str, what: str | None, inner: str, body: bytes) -> None:
        files = self.hub.repos[repo]
        if what == "tree":
            recursive = parse_qs(urlsplit(self.path).query).get("recursive", ["false"])[0].lower() == "true"
            return self._json(self._tree(repo, inner, recursive))
        if what == "paths-info":
            asked = json.loads(body)["paths"] if body.startswith(b"{") else parse_qs(body.decode())["paths"]
            found = [self.hub.entry(repo, path) for path in asked if path in files]
            folders = [path for path in asked if any(file.startswith(f"{path}/") for file in files)]
            return self._json(
                [*found, *({"type": "directory", "oid": "0", "path": path} for path in folders)]
            )
        return self._json(
            {
                "id": repo,
                "sha": self.hub.commit(repo),
                "private": False,
                "gated": repo in self.hub.gated,
                "disabled": False,
                "downloads": 0,
                "likes": 0,
                "tags": [],
                "lastModified": MOMENT,
                "createdAt": MOMENT,
                "siblings": [{"rfilename": path} for path in files],
            }
        )

    def _tree(self, repo: str, inner: str, recursive: bool) -> list[dict[str, Any]]:
        below = [path for path in self.hub.repos[repo] if not inner or path.startswith(f"{inner}/")]
        found: dict[str, dict[str, Any]] = {}
        for path in below:
            rest = path[len(inner) + 1 :] if inner else path
            for place in [i for i, character in enumerate(rest) if character == "/"]:
                folder = path[: len(path) - len(rest) + place]
                if recursive or "/" not in rest[:place]:
                    found[folder] = {"type": "directory", "oid": "0", "size": 0, "path": folder}
            if recursive or "/" not in rest:
                found[path] = self.hub.entry(repo, path)
        return list(found.values())

    def _file(self, repo: str, path: str) -> None:
        if path not in self.hub.repos[repo]:
            return self._fail(404, "EntryNotFound", f"no {path}")
        content, entry = self.hub.repos[repo][path], self.hub.entry(repo, path)
        etag = entry["lfs"]["oid"] if "lfs" in entry else entry["oid"]
        start, end = 0, len(content)
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked:
            start, end = int(asked[1]), min(int(asked[2]) + 1 if asked[2] else end, end)
        self.send_response(206 if asked else 200)
        self.send_header("X-Repo-Commit", self.hub.commit(repo))
        self.send_header("ETag", f'"{etag}"')
        self.send_header("X-Linked-Etag", f'"{etag}"')
        self.send_header("X-Linked-Size", str(len(content)))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Type", "application/octet-stream")
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(content)}")
        part = content[start:end]
        faults = self.hub.faults.get(path, []) if self.command == "GET" else []
        fault = faults.pop(0) if faults else None
        if fault == "cut":
            part = part[: len(part) // 2]
        if fault == "garbage":
            part = bytes(byte ^ 255 for byte in part)
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        if self.command == "HEAD":
            return None
        if fault == "stall":
            self.wfile.write(part[: len(part) // 2])
            self.wfile.flush()
            self.hub.over.wait(20)
            self.close_connection = True
            return None
        if fault == "drop":
            part, self.close_connection = part[: len(part) // 2], True
        self.wfile.write(part)
        self.hub.sent[path] = self.hub.sent.get(path, 0) + len(part)
        return None

    def _refuse(self, fault: str) -> None:
        """Answer something else than was asked for, or not at all."""
        if fault == "hang":
            self.hub.over.wait()
            self.close_connection = True
            return
        page = b"<html><body>Log in to this network</body></html>"
        self.send_response(200 if fault == "html" else int(fault))
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(page)

    def _json(self, content: Any) -> None:
        data = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _fail(self, status: int, code: str, message: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("X-Error-Message", message)
        self.send_header("Content-Length", "0")
        self.end_headers()

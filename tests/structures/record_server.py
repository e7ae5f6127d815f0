"""A small server that describes a record as Zenodo does, and gives its files well or badly."""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
import threading
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Form = Literal["zenodo", "entries", "mapping", "separate", "filename"]


@dataclass
class RecordServer:
    """What is served, and what was asked for.

    Parameters
    ----------
    files : dict of str to bytes
        The record.
    form : str
        In which of the known ways it is described.
    break_after : int, optional
        Bytes of an answer after which the connection is closed.
    checksums : dict of str to str
        Wrong ones, by file.
    ranges : bool
        Whether a part of a file can be asked for.
    errors : list of int
        Codes with which the next downloads are refused.
    asked : list of (str, str)
        Paths and ranges of all requests.
    """

    files: dict[str, bytes]
    form: Form = "zenodo"
    break_after: int | None = None
    checksums: dict[str, str] = field(default_factory=dict)
    ranges: bool = True
    errors: list[int] = field(default_factory=list)
    asked: list[tuple[str, str]] = field(default_factory=list)
    url: str = ""

    def record(self) -> dict[str, Any]:
        """Describe the record."""
        if self.form == "separate":
            return {"id": "12710372", "files": {"enabled": True}}
        entries = [self._entry(name) for name in self.files]
        files: Any = entries
        if self.form == "entries":
            files = {"enabled": True, "entries": entries}
        elif self.form == "mapping":
            files = {"entries": {entry.pop("key"): entry for entry in entries}}
        return {"id": 12710372, "doi": "10.5281/zenodo.12710372", "files": files}

    def _entry(self, name: str) -> dict[str, Any]:
        digest = self.checksums.get(name) or hashlib.md5(self.files[name]).hexdigest()
        content = f"{self.url}/api/records/12710372/files/{name}/content"
        size = len(self.files[name])
        if self.form == "filename":
            links = {"download": content}
            return {"filename": name, "filesize": size, "checksum": digest, "links": links}
        links = {"self": content}
        if self.form != "zenodo":
            links = {"self": content.removesuffix("/content"), "content": content}
        return {"key": name, "size": size, "checksum": f"md5:{digest}", "links": links}

    def answer(self, path: str) -> bytes | None:
        """Return what a path leads to."""
        if path == "/api/records/12710372":
            return json.dumps(self.record()).encode()
        if path == "/api/records/12710372/files":
            return json.dumps({"entries": [self._entry(name) for name in self.files]}).encode()
        found = re.fullmatch(r"/api/records/12710372/files/([^/]+)/content", path)
        return self.files.get(found[1]) if found else None

    def downloads(self) -> list[tuple[str, str]]:
        """Return the files that were asked for, with the ranges."""
        return [
            (path.split("/")[-2], part) for path, part in self.asked if path.endswith("/content")
        ]


@contextmanager
def serve(files: Mapping[str, bytes], **how: Any) -> Iterator[RecordServer]:
    """Serve a record on this machine."""
    state = RecordServer(dict(files), **how)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range", "")
            state.asked.append((self.path, wanted))
            body = state.answer(self.path)
            if body is None:
                self.send_error(404)
                return
            is_file = self.path.endswith("/content")
            if is_file and state.errors:
                self.send_error(state.errors.pop(0))
                return
            start = int(wanted[6:-1]) if wanted and state.ranges else 0
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            self.send_header("Content-Length", str(len(body) - start))
            self.end_headers()
            stop = state.break_after if is_file else None
            self.wfile.write(body[start:] if stop is None else body[start : start + stop])

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def zipped(members: Mapping[str, bytes | str]) -> bytes:
    """Return a zip archive."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def tarred(members: Mapping[str, bytes], links: Mapping[str, str] | None = None) -> bytes:
    """Return a tar.gz archive, with symbolic links."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            archive.addfile(info)
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()

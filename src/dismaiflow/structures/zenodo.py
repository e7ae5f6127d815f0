"""Records of Zenodo: which files they hold, and downloading these by their checksums.

Zenodo and InvenioRDM, its software, describe files in three ways, all of which are read:
a list ``files`` with ``key``, ``size``, ``checksum`` and ``links.self`` (Zenodo's own); an object
``files`` with ``entries``, a list or a mapping; and these entries at ``/api/records/{id}/files``,
where ``links.content`` leads to the file.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dismaiflow import __version__, progress
from dismaiflow.errors import DismaiError
from dismaiflow.structures.files import explain_os_error

#: Where the published data are.
ZENODO = "https://zenodo.org"

#: How often a download is taken up again, and the seconds before that.
ATTEMPTS, PAUSE = 4, 2.0

#: Seconds without a byte after which a connection counts as broken.
TIMEOUT = 30.0

#: Bytes that are read at once; also the unit in which progress is told.
_CHUNK = 1_000_000

#: Largest description of a record.
_MAX_JSON = 50_000_000

_CHECKSUM = re.compile(r"(?:(md5|sha1|sha256|sha512):)?([0-9a-f]{32,128})")
_NAME = re.compile(r"[^./\\\0][^/\\\0]*")

#: What breaks a connection. A refused write is none of these.
_BROKEN = (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError)

#: Answers after which a server may be asked again.
_BUSY = (429, 500, 502, 503, 504)
_NO_SUCH_RANGE = 416


@dataclass(frozen=True)
class RemoteFile:
    """A file of a record.

    Parameters
    ----------
    name : str
        Its name, without folders.
    size : int
        Bytes.
    checksum : str
        Algorithm and digest, ``md5:...``.
    url : str
        Where it can be had.
    """

    name: str
    size: int
    checksum: str
    url: str


@dataclass(frozen=True)
class Record:
    """A record.

    Parameters
    ----------
    record : str
        Its number.
    doi : str
        Its DOI.
    source : str
        Where it was read.
    files : list of RemoteFile
        Its files.
    """

    record: str
    doi: str
    source: str
    files: list[RemoteFile]


def record_url(base: str, record: str) -> str:
    """Return where a record is described.

    Raises
    ------
    DismaiError
        If the number is none, or the base no address.
    """
    if not re.fullmatch(r"[0-9]{1,12}", record):
        raise DismaiError(f"--record {record}: give the number of a Zenodo record, as 12710372")
    parts = urllib.parse.urlsplit(base)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
        raise DismaiError("--url: give an address without a password, as https://zenodo.org")
    return f"{base.rstrip('/')}/api/records/{record}"


def read_record(base: str, record: str) -> Record:
    """Ask a server for a record.

    Parameters
    ----------
    base : str
        Address of the server.
    record : str
        Number of the record.

    Raises
    ------
    DismaiError
        If the server cannot be reached, does not know the record, or its answer is none.
    """
    url = record_url(base, record)
    document = _get_json(url)
    entries = _entries(document.get("files"))
    if not entries:
        entries = _entries(_get_json(f"{url}/files"))
    if not entries:
        raise DismaiError(f"{url}: the record lists no files; they may be restricted")
    doi = document.get("doi")
    files = [_remote_file(entry, url) for entry in entries]
    if len({file.name.lower() for file in files}) < len(files):
        raise DismaiError(f"{url}: the record lists two files of one name")
    return Record(record, str(doi) if doi else f"10.5281/zenodo.{record}", url, files)


def download(remote: RemoteFile, folder: Path) -> Path:
    """Bring a file into a folder, unless it is there already.

    Parameters
    ----------
    remote : RemoteFile
        The file.
    folder : Path
        The folder. The file appears in it under its name only once its checksum is right; what
        came of an interrupted download waits there under another name and is taken up again.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    DismaiError
        If the server fails, the checksum differs, or the disk is full.
    """
    import pooch

    pooch.get_logger().setLevel("WARNING")
    path = folder / remote.name
    while True:
        downloader = _Downloader(remote, folder / f".{remote.name}.part")
        try:
            pooch.retrieve(remote.url, remote.checksum, remote.name, folder, downloader=downloader)
        except ValueError as error:
            if downloader.resumed:
                continue  # the old part may be to blame; it is gone now
            raise DismaiError(
                f"{remote.name}: came with another checksum than that of the record "
                f"({remote.checksum}); it was not kept, fetch it again"
            ) from error
        except OSError as error:
            with contextlib.suppress(OSError):
                downloader.partial.unlink()  # a full disk needs the room
            raise explain_os_error(error, path) from error
        return path


def _get_json(url: str) -> dict[str, Any]:
    try:
        with _open(url) as response:
            document = json.loads(response.read(_MAX_JSON))
    except _BROKEN as error:
        raise DismaiError(_explain(url, error)) from error
    except ValueError as error:
        raise DismaiError(f"{url}: the answer is no JSON; is it a Zenodo server?") from error
    if not isinstance(document, dict):
        raise DismaiError(f"{url}: the answer is no record")
    return document


def _open(url: str, headers: dict[str, str] | None = None) -> Any:
    # Compressed answers would not have the size that the record tells.
    always = {"User-Agent": f"dismaiflow/{__version__}", "Accept-Encoding": "identity"}
    return urllib.request.urlopen(
        urllib.request.Request(url, headers=always | (headers or {})), timeout=TIMEOUT
    )


def _explain(url: str, error: Exception) -> str:
    """Say in one line why a server gave nothing."""
    if isinstance(error, urllib.error.HTTPError):
        mend = {404: "not there; check --record and --url", 403: "not public", 410: "withdrawn"}
        return f"{url}: {mend.get(error.code, 'the server refused')} (HTTP {error.code})"
    reason = getattr(error, "reason", None) or error
    text = str(getattr(reason, "strerror", None) or reason) or type(error).__name__
    return f"{url}: cannot be reached ({text}); check the network, then fetch again"


def _entries(files: Any) -> list[Any]:
    """Return the descriptions of files, in whichever of the three ways they are given."""
    if isinstance(files, dict):
        files = files.get("entries")
    if isinstance(files, dict):
        return [{"key": key, **entry} for key, entry in files.items() if isinstance(entry, dict)]
    return files if isinstance(files, list) else []


def _remote_file(entry: Any, url: str) -> RemoteFile:
    wrong = DismaiError(f"{url}: the record describes its files in an unknown way")
    if not isinstance(entry, dict):
        raise wrong
    name = entry.get("key") or entry.get("filename")
    size = entry.get("size", entry.get("filesize"))
    checksum = _CHECKSUM.fullmatch(str(entry.get("checksum")).lower())
    links = entry.get("links")
    links = links if isinstance(links, dict) else {}
    link = links.get("content") or links.get("download") or links.get("self")
    if not isinstance(name, str) or not isinstance(size, int) or not isinstance(link, str):
        raise wrong
    if not _NAME.fullmatch(name):
        raise DismaiError(f"{url}: the record has a file named {name!r}, which is no plain name")
    if checksum is None:
        raise DismaiError(f"{url}: the record has no checksum for {name}")
    address = urllib.parse.urljoin(url, link)
    if urllib.parse.urlsplit(address).scheme not in ("http", "https"):
        raise wrong
    return RemoteFile(name, size, f"{checksum[1] or 'md5'}:{checksum[2]}", address)


class _Downloader:
    """Gives pooch a file, which it then checks and puts in place.

    Parameters
    ----------
    remote : RemoteFile
        The file.
    partial : Path
        Where it grows; kept if the connection breaks.
    """

    def __init__(self, remote: RemoteFile, partial: Path) -> None:
        self.remote = remote
        self.partial = partial
        self.resumed = False
        self._told = 0

    def __call__(self, url: str, output_file: str, _pooch: Any, check_only: bool = False) -> None:
        """Download; pooch asks with an output file of its own."""
        self.resumed = self._have() > 0
        self._tell(self._have())
        for attempt in range(ATTEMPTS):
            before, code = self._have(), None
            try:
                self._continue(url)
            except _BROKEN as error:
                code = getattr(error, "code", None)
                if code == _NO_SUCH_RANGE:
                    self.partial.unlink(missing_ok=True)  # or it would be asked for ever after
                busy = code is None or code in (*_BUSY, _NO_SUCH_RANGE)
                if attempt + 1 == ATTEMPTS or not busy:
                    raise DismaiError(f"{self.remote.name}: {_explain(url, error)}") from error
            if self._have() == self.remote.size:
                self.partial.replace(output_file)
                return
            if self._have() <= before and attempt and code is None:
                break  # the server gives no more, and cannot go on in the middle
            time.sleep(PAUSE)
        raise DismaiError(
            f"{self.remote.name}: the server stopped after {self._have():,} of "
            f"{self.remote.size:,} bytes; fetch again, it goes on from there"
        )

    def _have(self) -> int:
        """Return how much is there."""
        try:
            size = self.partial.stat().st_size
        except FileNotFoundError:
            return 0
        if size > self.remote.size:
            self.partial.unlink()
            return 0
        return size

    def _continue(self, url: str) -> None:
        """Append what is missing; from the start where the server cannot do otherwise."""
        have = self._have()
        if have == self.remote.size > 0:
            return
        with _open(url, {"Range": f"bytes={have}-"} if have else None) as response:
            start = str(response.headers.get("Content-Range", ""))
            goes_on = response.status == 206 and start.startswith(f"bytes {have}-")
            if have and not goes_on:
                have = 0
            with self.partial.open("ab" if have else "wb") as target:
                while chunk := response.read(_CHUNK):
                    have += len(chunk)
                    if have > self.remote.size:
                        break
                    target.write(chunk)
                    self._tell(have)
        if have > self.remote.size:
            self.partial.unlink()
            raise DismaiError(
                f"{self.remote.name}: the server sends more than the {self.remote.size:,} bytes of "
                "the record; it was not kept"
            )

    def _tell(self, have: int) -> None:
        """Report progress, once for every unit."""
        units = have // _CHUNK
        if units > self._told:
            total = max(self.remote.size // _CHUNK, 1)
            progress.report(f"fetch {self.remote.name}", units - self._told, total, "MB")
            self._told = units

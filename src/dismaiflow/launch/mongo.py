"""What a MongoDB server says, in one clear line."""

from __future__ import annotations

import re
import ssl
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dismaiflow.errors import DismaiError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymongo.errors import PyMongoError

#: How long a server may take to answer before it counts as dead [s].
PATIENCE = 3.0

#: Error codes of a server: the login is wrong, the user lacks a right, the disk is full.
_AUTHENTICATION_FAILED = 18
_UNAUTHORIZED = 13
_OUT_OF_DISK = 14031


@contextmanager
def explained(
    file: object, place: str, user: str | None = None, patience: float | None = PATIENCE
) -> Iterator[None]:
    """Turn what pymongo raises in the block into one line that names a file and the way out.

    Also bounds the time that the block waits for the server.

    Parameters
    ----------
    file : object
        The file that leads to the server, for the message.
    place : str
        The server as ``host:port``, for the message. Never with a password.
    user : str, optional
        Who logs in.
    patience : float, optional
        How long the whole block may wait for the server [s]; None for as long as it takes.

    Raises
    ------
    DismaiError
        For every PyMongoError, which is its ``__context__``.
    """
    import pymongo
    from pymongo.errors import PyMongoError

    try:
        with pymongo.timeout(patience):
            yield
    except PyMongoError as error:
        # from None: the cause may quote a connection string
        raise DismaiError(explanation(error, file, place, user)) from None


def check_ca_file(where: str, file: str | Path) -> None:
    """Refuse a file with certificates that pymongo could not read, in no clear words.

    Parameters
    ----------
    where : str
        The option or setting that names the file, for the message.
    file : str or Path
        The file.

    Raises
    ------
    DismaiError
        If it is relative, missing, not readable or not PEM.
    """
    if not Path(file).is_absolute():
        raise DismaiError(f"{where}: give the file {file} as an absolute path")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(file)
    except ssl.SSLError:
        raise DismaiError(f"{where}: {file} holds no certificates in the format PEM") from None
    except OSError as error:
        raise DismaiError(f"{where}: {file}: {error.strerror}") from None


def explanation(error: PyMongoError, file: object, place: str, user: str | None = None) -> str:
    """Return one line for an error of a server.

    Parameters
    ----------
    error : PyMongoError
        What pymongo raised.
    file, place, user
        As in `explained`.
    """
    from pymongo.errors import (
        ConfigurationError,
        ConnectionFailure,
        ExecutionTimeout,
        OperationFailure,
        WriteError,
    )

    code = _code(error)
    said = str(error)
    who = f"user {user!r}" if user else "a user without a name"
    if code == _OUT_OF_DISK or "no space left" in said.lower():
        return f"the disk of the MongoDB server at {place} is full: free some space there"
    if code == _AUTHENTICATION_FAILED or "Authentication failed" in said:
        return (
            f"the MongoDB server at {place} does not let {who} in: mend username, password and "
            f"authentication database in {file}"
        )
    if code == _UNAUTHORIZED:
        return (
            f"the MongoDB server at {place} does not allow {who} to do this "
            f"({_what(said)}): give the user the role readWrite, or name another in {file}"
        )
    if isinstance(error, ConnectionFailure | ExecutionTimeout) or "timed out" in said:
        from dismaiflow.launch.server import word_on_private_server

        private = word_on_private_server(place)
        if private:
            return private
        encryption = _encryption(said, file, place)
        if encryption:
            return encryption
        return (
            f"no MongoDB server answers at {place}: start it (`dismai launchpad up` starts a "
            f"private one), or mend host and port in {file}"
        )
    if isinstance(error, ConfigurationError):
        return f"{file}: pymongo cannot use this: {_first_line(said)}"
    kind = "write" if isinstance(error, WriteError) else "do this"
    if isinstance(error, OperationFailure):
        return f"the MongoDB server at {place} cannot {kind}: {_first_line(said)}"
    return f"the MongoDB server at {place} failed: {_first_line(said)}"


def _encryption(said: str, file: object, place: str) -> str | None:
    """Return what is to be said where only the encryption stands between us and a server."""
    refused = re.search(r"certificate verify failed: (.+?) \(_ssl", said)
    if refused and "mismatch" in refused[1]:
        return (
            f"the certificate of the MongoDB server at {place} is for another name ({refused[1]}): "
            f"name the host in {file} as the certificate does"
        )
    if refused:
        return (
            f"the certificate of the MongoDB server at {place} is not trusted ({refused[1]}): name "
            f"the file of the authority that signed it, as tlsCAFile in {file} (of init: "
            "--tls-ca-file)"
        )
    if "SSL handshake failed" in said:
        return (
            f"the MongoDB server at {place} does not answer with TLS: if it has none, take tls out "
            f"of {file}"
        )
    if "connection closed" in said and "Topology" in said:
        return (
            f"the MongoDB server at {place} closes every connection: if it demands TLS, set tls in "
            f"{file} (of init: --tls)"
        )
    return None


def _code(error: PyMongoError) -> int | None:
    """Return the server's error code, also of an error that hides in another."""
    code: Any = getattr(error, "code", None)
    if code is None and error.__cause__ is not None:
        code = getattr(error.__cause__, "code", None)
    return code if isinstance(code, int) else None


def _first_line(text: str) -> str:
    """Return the beginning of a text, without what pymongo adds."""
    line = text.partition(", full error:")[0].strip()
    return line.splitlines()[0][:200] if line else "no reason given"


def _what(said: str) -> str:
    """Return what an unauthorised command was about, without its arguments."""
    return _first_line(said).partition(" to execute command")[0]

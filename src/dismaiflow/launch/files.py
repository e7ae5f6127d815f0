"""The files of a LaunchPad configuration: reading them strictly, writing them safely."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

import yaml

from dismaiflow.errors import DismaiError, suggestion

#: Rights of files with credentials, and of the folder that they are in.
PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the content of a YAML file of settings.

    Parameters
    ----------
    path : Path
        The file.

    Raises
    ------
    DismaiError
        If it is missing, cannot be read, or is not a mapping. The message quotes no content,
        which may be a password.
    """
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise DismaiError(f"{path}: no such file: run `dismai launchpad init`") from error
    except OSError as error:
        raise DismaiError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise DismaiError(f"{path}: not a text file in UTF-8") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" at line {mark.line + 1}" if mark else ""
        # from None: the error itself quotes the line
        raise DismaiError(
            f"{path}: not valid YAML{line}: mend it, or `dismai launchpad init --force` writes "
            "it anew and keeps a copy"
        ) from None
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise DismaiError(f"{path}: give each setting on a line of its own, as NAME: value")
    return content


def refuse_unknown(path: Path, where: str, given: Collection[str], known: Collection[str]) -> None:
    """Refuse keys that nothing reads, which are mostly misspelt ones.

    Parameters
    ----------
    path : Path
        Their file, for the message.
    where : str
        What they are under, such as ``JOB_STORE.docs_store``; empty at the top.
    given : collection of str
        The keys.
    known : collection of str
        Those that mean something.

    Raises
    ------
    DismaiError
        Names the first unknown key and the nearest known one.
    """
    for key in given:
        if key in known:
            continue
        inside = f" under {where}" if where else ""
        mend = suggestion(key, sorted(known))
        raise DismaiError(f"{path}: nothing reads {key!r}{inside}: {mend}")


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read, all of it or nothing.

    Parameters
    ----------
    path : Path
        The file; replaced where it is there.
    text : str
        Its content.

    Raises
    ------
    DismaiError
        If it cannot be written.
    """
    handle, name = -1, ""
    try:
        # mkstemp makes it with 0600, so that nobody can read it even while it is written
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(PRIVATE_FILE)
        Path(name).replace(path)
    except OSError as error:
        if name:
            with contextlib.suppress(OSError):
                Path(name).unlink()
        raise DismaiError(
            f"{path}: cannot be written ({error.strerror}): choose another folder, or mend this one"
        ) from error


def make_private_folder(folder: Path) -> None:
    """Make a folder that only its owner may enter; one that is there is made private.

    Raises
    ------
    DismaiError
        If that is not possible.
    """
    try:
        folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        folder.chmod(PRIVATE_FOLDER)
    except OSError as error:
        raise DismaiError(
            f"{folder}: cannot be made or made private ({error.strerror}): name another folder"
        ) from error


def yaml_quoted(text: str) -> str:
    """Return a text as a YAML scalar in double quotes that every reader takes for this text.

    Parameters
    ----------
    text : str
        Any text: quotes, backslashes, ``#``, ``:``, spaces and control characters survive.
    """
    parts = []
    for letter in text:
        if letter in '"\\':
            parts.append(f"\\{letter}")
        elif letter.isprintable():
            parts.append(letter)
        else:
            parts.append(f"\\U{ord(letter):08x}")
    return f'"{"".join(parts)}"'

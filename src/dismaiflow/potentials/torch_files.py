"""Files of torch that hold nothing but tensors, numbers and text, and are read without pickles."""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING, Any

from dismaiflow.errors import DismaiError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path


def pack(content: Mapping[str, Any], version: int) -> bytes:
    """Write a dictionary into bytes.

    Parameters
    ----------
    content : dict
        Tensors, numbers, text, and lists, tuples and dictionaries of these.
    version : int
        Changes when the meaning of the keys changes.
    """
    import torch

    stream = io.BytesIO()
    torch.save({"format": version, **content}, stream)
    return stream.getvalue()


def read_bytes(path: Path) -> bytes:
    """Read a file.

    Raises
    ------
    DismaiError
        If it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise DismaiError(f"{path}: cannot be read ({error.strerror or error})") from None


def unpack(
    data: bytes, version: int, keys: Collection[str], *, source: str, what: str, mend: str
) -> dict[str, Any]:
    """Read what `pack` wrote, tensors onto the processor; nothing is unpickled.

    Parameters
    ----------
    data : bytes
        The file.
    version : int
        The version that is understood.
    keys : collection of str
        Keys that the file must have, all of them and no others.
    source, what, mend : str
        For messages: its name, what it should be, and what to do if it is not.

    Raises
    ------
    DismaiError
        If it is something else, damaged, or of another version.
    """
    import torch

    try:
        # torch reads over wrong checksums.
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            spoilt = archive.testzip()
        content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        found = content.pop("format")
        whole = spoilt is None and (found != version or set(content) == set(keys))
    except Exception:  # noqa: BLE001  # whatever torch raises at foreign bytes
        whole = False
    if not whole:
        raise DismaiError(f"{source}: is no {what}, or a damaged one: {mend}")
    if found != version:
        raise DismaiError(f"{source}: is of another version of dismaiflow: {mend}")
    return content

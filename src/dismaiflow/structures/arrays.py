"""Named arrays as bytes: a JSON line, then the raw numbers. Nothing is pickled."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from dismaiflow.errors import DismaiError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def pack_arrays(magic: bytes, arrays: dict[str, NDArray[Any]], header: dict[str, Any]) -> bytes:
    """Write arrays and a JSON header into bytes, little-endian, bit for bit.

    Parameters
    ----------
    magic : bytes
        First line, which names the kind of content.
    arrays : dict of str to ndarray
        What to write.
    header : dict
        JSON-able companions.
    """
    little = {name: a.astype(a.dtype.newbyteorder("<")) for name, a in arrays.items()}
    layout = [[name, a.dtype.str, list(a.shape)] for name, a in little.items()]
    first = json.dumps({"header": header, "arrays": layout}).encode()
    return b"\n".join([magic, first, b"".join(a.tobytes() for a in little.values())])


def unpack_arrays(magic: bytes, data: bytes) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read what `pack_arrays` wrote.

    Raises
    ------
    DismaiError
        If the bytes are of another kind, or cut off.
    """
    try:
        kind, first, body = data.split(b"\n", 2)
        if kind != magic:
            raise ValueError(f"begins with {kind[:40]!r} instead of {magic!r}")
        content = json.loads(first)
        arrays = {}
        start = 0
        for name, code, shape in content["arrays"]:
            dtype = np.dtype(code)
            count = int(np.prod(shape))
            array = np.frombuffer(body, dtype, count, start).reshape(shape)
            arrays[name] = array.astype(dtype.newbyteorder("="))
            start += count * dtype.itemsize
        if start != len(body):
            raise ValueError("is longer than its header says")
    except (ValueError, KeyError, TypeError) as error:
        raise DismaiError(f"this data block is not whole: {error}") from error
    return arrays, content["header"]

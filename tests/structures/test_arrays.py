"""Named arrays as bytes."""

from __future__ import annotations

import numpy as np
import pytest

from dismaiflow.errors import DismaiError
from dismaiflow.structures.arrays import pack_arrays, unpack_arrays

_MAGIC = b"TEST-1"
_ARRAYS = {
    "floats": np.array([[0.1, -0.0, np.inf], [np.nan, 5e-324, 1 / 3]]),
    "whole": np.arange(-3, 3, dtype=np.int8),
    "flags": np.array([True, False, True]),
    "none": np.zeros((0, 3), dtype=np.float32),
    "newlines": np.frombuffer(b"\n\n\n\n", dtype=np.uint8),
}


def test_arrays_come_back_bit_for_bit() -> None:
    """Values, types and shapes survive, NaN and signed zeros included."""
    data = pack_arrays(_MAGIC, _ARRAYS, {"ids": ["a", "Å"]})
    arrays, header = unpack_arrays(_MAGIC, data)
    assert header == {"ids": ["a", "Å"]}
    assert list(arrays) == list(_ARRAYS)
    for name, array in _ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        assert arrays[name].shape == array.shape
        assert arrays[name].tobytes() == array.tobytes()


def test_bytes_do_not_depend_on_the_byte_order_of_the_machine() -> None:
    """Big-endian arrays are written as little-endian ones."""
    little, big = np.arange(4, dtype="<i4"), np.arange(4, dtype=">i4")
    assert pack_arrays(_MAGIC, {"a": little}, {}) == pack_arrays(_MAGIC, {"a": big}, {})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not whole"),
        (b"OTHER\n{}\n", "begins with b'OTHER'"),
        (b"TEST-1\nnot json\n", "not whole"),
        (b"TEST-1\n{}\n", "not whole"),
        (pack_arrays(_MAGIC, _ARRAYS, {})[:-1], "not whole"),
        (pack_arrays(_MAGIC, _ARRAYS, {}) + b"x", "longer than its header says"),
    ],
)
def test_other_bytes_are_refused(data: bytes, message: str) -> None:
    """Nothing is guessed from bytes of another kind, cut off or lengthened."""
    with pytest.raises(DismaiError, match=message):
        unpack_arrays(_MAGIC, data)

"""Dismai-Bench as jobflow workflows (Digital Discovery 2024, 3, 1889, doi 10.1039/d4dd00100a)."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("dismaiflow")
except PackageNotFoundError:  # run from a bare checkout
    __version__ = "unknown"

"""The trial job of ``dismai launchpad check``: says with what a worker works."""

from __future__ import annotations

import platform
import socket
from typing import Any

from jobflow import job

from dismaiflow.structures.dataset import package_versions

#: Packages on which results and the passing of jobs depend.
PACKAGES = (
    "dismaiflow",
    "jobflow",
    "maggma",
    "fireworks",
    "numpy",
    "scipy",
    "numba",
    "pymatgen",
)


def versions() -> dict[str, str]:
    """Return the versions of what matters in this Python, ``none`` for what is not there."""
    python = ".".join(platform.python_version_tuple()[:2])
    return {"python": python} | package_versions(PACKAGES, missing="none")


# not `dismai_job`: that one refuses another version, and this one is to tell it
@job
def tell_versions() -> dict[str, Any]:
    """Return the versions and the name of the machine that runs this."""
    return {"versions": versions(), "host": socket.gethostname()}

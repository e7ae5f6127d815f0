"""Potentials in a store: their files travel as blobs, so that a worker needs no disk of ours."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, Field

from dismaiflow.errors import DismaiError
from dismaiflow.potentials.base import Potential, PotentialCard
from dismaiflow.potentials.names import open_potential
from dismaiflow.settings import load_settings
from dismaiflow.store.blobs import get_blob
from dismaiflow.store.stored_files import put_file
from dismaiflow.structures.files import file_sha256, write_bytes

if TYPE_CHECKING:
    from jobflow import JobStore

#: Kind under which parts of files are stored.
FILE_KIND = "potential_file"


class PotentialRef(BaseModel):
    """A potential that a job can open wherever it runs.

    Parameters
    ----------
    name : str
        By which it is opened (``sw``, ``matgl:DIR``, ...).
    card : PotentialCard
        What it must turn out to be.
    files : dict of str to list of str
        Blobs of each file, in order, by its name relative to a folder.
    """

    name: str
    card: PotentialCard
    files: dict[str, list[str]] = Field(default_factory=dict)


def put_potential(jobstore: JobStore, name: str, potential: Potential) -> PotentialRef:
    """Store the files of a potential.

    Parameters
    ----------
    jobstore : JobStore
        Connected.
    name : str
        By which it was opened.
    potential : Potential
        The potential.

    Raises
    ------
    DismaiError
        If a file cannot be read.
    """
    files = {
        relative: put_file(jobstore, path, FILE_KIND) for relative, path in potential.files.items()
    }
    # The folders of this machine mean nothing to a worker; the files are found by their names.
    return PotentialRef(
        name=potential.card.name if files else name, card=potential.card, files=files
    )


def fetch_potential(jobstore: JobStore, reference: PotentialRef) -> Potential:
    """Open a stored potential, its files unpacked under SCRATCH_DIR.

    Raises
    ------
    DismaiError
        If a file is missing or damaged, or the potential is another one here, as with another
        version of a package that brings its own weights.
    """
    card = reference.card
    folder = _unpack(jobstore, reference) if reference.files else None
    potential = open_potential(reference.name, card.elements or (), folder=folder)
    if potential.card.hash != card.hash:
        raise DismaiError(
            f"potential {card.name} is another one on this machine (hash "
            f"{potential.card.hash[:12]} instead of {card.hash[:12]}): install the versions "
            f"{_versions(card)} that it was submitted with"
        )
    return potential


def _versions(card: PotentialCard) -> str:
    return ", ".join(f"{name} {version}" for name, version in card.versions.items()) or "of it"


def _unpack(jobstore: JobStore, reference: PotentialRef) -> Path:
    """Write the files into a folder named by their content; those that are there whole stay."""
    key = hashlib.sha256(reference.model_dump_json(include={"files"}).encode()).hexdigest()[:24]
    folder = load_settings().SCRATCH_DIR / "potentials" / key
    for relative, blobs in reference.files.items():
        path = folder / relative
        if not path.resolve().is_relative_to(folder.resolve()):
            raise DismaiError(f"potential {reference.name}: bad file name {relative!r}")
        try:
            # Scratch folders are swept, file by file.
            if path.is_file() and file_sha256(path) == reference.card.weights.get(relative):
                continue
            data = b"".join(get_blob(jobstore, blob) for blob in blobs)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(path, data)
        except OSError as error:
            raise DismaiError(
                f"{folder.parent}: cannot unpack a potential there ({error.strerror}); mend it or "
                "set DISMAI_SCRATCH_DIR"
            ) from None
    return folder

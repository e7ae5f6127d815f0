"""Dataset folders: extended XYZ files and a card that says what they are."""

from __future__ import annotations

import io
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from dismaiflow.errors import DismaiError
from dismaiflow.structures.files import file_sha256, new_folder, read_card
from dismaiflow.structures.read import read_structures

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dismaiflow.structures.structure_set import StructureSet

CARD_NAME = "dataset.json"

#: Packages whose versions can change numbers.
_VERSIONED = ("dismaiflow", "numpy", "numba", "scipy", "ase", "jobflow")


def package_versions(
    packages: Sequence[str] = _VERSIONED, missing: str = "unknown"
) -> dict[str, str]:
    """Return the versions of packages, by default of those that can change numbers."""
    found = {}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = missing
    return found


def check_request(seed: int, n_structures: int | None) -> None:
    """Check what is asked of the Maker of a dataset.

    Parameters
    ----------
    seed : int
        Seed of all randomness.
    n_structures : int or None
        Structures of the dataset.

    Raises
    ------
    DismaiError
        If there could be no validation set, or documents could not hold the seed.
    """
    if n_structures is not None and n_structures < 2:
        raise DismaiError("a dataset needs two structures at least, one of them to validate")
    if not 0 <= seed < 2**63:
        raise DismaiError(f"a seed is a whole number from 0 to 2**63 - 1, got {seed}")


class DatasetCard(BaseModel):
    """What ``dataset.json`` says.

    Keys that a later version adds are kept when the card is read.
    """

    model_config = ConfigDict(extra="allow")

    system: str
    kind: str
    composition: dict[str, int]
    cell: list[list[float]] = Field(description="cell vectors as rows, in Å")
    counts: dict[str, int] = Field(description="structures in each file, by its stem")
    sha256: dict[str, str] = Field(default_factory=dict, description="of each file, by its name")
    content_hashes: dict[str, str] = Field(default_factory=dict, description="of each set")
    protocol: dict[str, Any]
    seeds: dict[str, int]
    versions: dict[str, str] = Field(default_factory=package_versions)
    created: str = Field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    statistics: dict[str, Any] = Field(default_factory=dict)
    warnings: list[str] = Field(default_factory=list)
    controls: dict[str, Any] = Field(
        default_factory=dict, description="scores of the controls, by protocol"
    )


@dataclass(frozen=True)
class Dataset:
    """A dataset folder.

    Parameters
    ----------
    folder : Path
        Where it lies.
    card : DatasetCard
        Its card.
    """

    folder: Path
    card: DatasetCard

    def read(self, name: str = "train") -> StructureSet:
        """Read one of its sets.

        Raises
        ------
        DismaiError
            If the set does not exist, its file differs from the card, or a frame is unreadable.
        """
        path = self.folder / f"{name}.extxyz"
        if name not in self.card.counts:
            raise DismaiError(
                f"{self.folder}: has no set {name!r}, only {', '.join(sorted(self.card.counts))}"
            )
        if not path.is_file():
            raise DismaiError(f"{path}: is missing; make or copy the dataset again")
        if file_sha256(path) != self.card.sha256.get(path.name):
            raise DismaiError(
                f"{path}: its SHA-256 differs from {CARD_NAME}: the file was changed or damaged; "
                "make or copy the dataset again, or give the extxyz file itself as the reference"
            )
        found = read_structures(path)
        if found.bad:
            raise DismaiError(f"{path}: frame {found.bad[0].index}: {found.bad[0].detail}")
        return found.structures


def extxyz_text(structures: StructureSet) -> str:
    """Return a set as extended XYZ."""
    import ase.io  # takes half a second, which only those wait for who write

    stream = io.StringIO()
    ase.io.write(stream, list(structures), format="extxyz")
    return stream.getvalue()


def write_dataset(folder: Path, sets: dict[str, StructureSet], card: DatasetCard) -> Dataset:
    """Write a dataset folder, all of it or nothing.

    Parameters
    ----------
    folder : Path
        The folder to make.
    sets : dict of str to StructureSet
        ``train``, ``val`` and further sets.
    card : DatasetCard
        Its card; counts, checksums and content hashes are filled in.

    Returns
    -------
    Dataset
        The folder as written.

    Raises
    ------
    DismaiError
        If the folder is filled already or cannot be written.
    """
    with new_folder(folder) as partial:
        sums = {}
        for name, structures in sets.items():
            path = partial / f"{name}.extxyz"
            path.write_text(extxyz_text(structures), encoding="utf-8")
            sums[path.name] = file_sha256(path)
        filled = card.model_copy(
            update={
                "counts": {name: len(structures) for name, structures in sets.items()},
                "sha256": sums,
                "content_hashes": {name: s.content_hash for name, s in sets.items()},
            }
        )
        (partial / CARD_NAME).write_text(filled.model_dump_json(indent=1), encoding="utf-8")
    return Dataset(folder, filled)


def open_dataset(folder: Path) -> Dataset:
    """Open a dataset folder.

    Raises
    ------
    DismaiError
        If there is no card, or it is not one.
    """
    path = folder / CARD_NAME
    if not path.is_file():
        raise DismaiError(f"{folder}: is no dataset folder ({CARD_NAME} is missing)")
    return Dataset(folder, read_card(path, DatasetCard, "a dataset card"))

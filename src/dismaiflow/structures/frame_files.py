"""Labelled frames as extended XYZ files, and folders of them with a card."""

from __future__ import annotations

import io
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from dismaiflow.errors import DismaiError, one_line
from dismaiflow.structures.dataset import package_versions
from dismaiflow.structures.files import file_sha256, new_folder, read_card
from dismaiflow.structures.frames import FrameLabel, LabelledFrames
from dismaiflow.structures.structure_set import StructureSet

if TYPE_CHECKING:
    from pathlib import Path

    from ase import Atoms

#: Card of a folder of frames.
CARD_NAME = "frames.json"

#: Begins the parent of a frame whose file names none; its place in the file follows.
NO_PARENT = "unnamed-frame-"


class FramesCard(BaseModel):
    """What ``frames.json`` says of a folder of labelled frames.

    Keys that a later version adds are kept when the card is read.
    """

    model_config = ConfigDict(extra="allow")

    system: str
    counts: dict[str, int] = Field(description="frames in each file, by its stem")
    parents: dict[str, int] = Field(description="relaxations in each file")
    sha256: dict[str, str] = Field(default_factory=dict, description="of each file, by its name")
    content_hashes: dict[str, str] = Field(default_factory=dict, description="of each set")
    labels: list[FrameLabel] = Field(description="where the numbers come from")
    split: dict[str, Any] = Field(default_factory=dict, description="how the sets were divided")
    protocol: dict[str, Any] = Field(default_factory=dict)
    runs: dict[str, int] = Field(default_factory=dict, description="how relaxations ended")
    seeds: dict[str, int] = Field(default_factory=dict)
    statistics: dict[str, Any] = Field(default_factory=dict)
    warnings: list[str] = Field(default_factory=list)
    versions: dict[str, str] = Field(default_factory=package_versions)
    created: str = Field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    @property
    def rehearsal(self) -> bool:
        """Whether some of the numbers are those of a rehearsal."""
        return any(label.rehearsal for label in self.labels)


@dataclass(frozen=True)
class FramesFolder:
    """A folder of labelled frames.

    Parameters
    ----------
    folder : Path
        Where it lies.
    card : FramesCard
        Its card.
    """

    folder: Path
    card: FramesCard

    def read(self) -> dict[str, LabelledFrames]:
        """Read all sets.

        Raises
        ------
        DismaiError
            If a file is missing, differs from the card, or is cut off.
        """
        sets = {}
        for name in self.card.counts:
            path = self.folder / f"{name}.extxyz"
            if not path.is_file():
                raise DismaiError(f"{path}: is missing; make or copy the frames again")
            if file_sha256(path) != self.card.sha256.get(path.name):
                raise DismaiError(
                    f"{path}: its SHA-256 differs from {CARD_NAME}: the file was changed or "
                    "damaged; make or copy the frames again, or give the extxyz file itself"
                )
            sets[name] = read_frames(path, self.card.labels)
        return sets


def frame_atoms(frames: LabelledFrames, index: int) -> Atoms:
    """Return one frame for ASE: its numbers as results of a calculation, its origin in ``info``."""
    from ase.calculators.singlepoint import SinglePointCalculator

    atoms = frames.structures.atoms(index)
    label = frames.label(index)
    atoms.info = {
        "parent": frames.parents[index],
        "step": int(frames.steps[index]),
        "final": bool(frames.final[index]),
        "engine": label.engine,
        "functional": label.functional,
        "settings_hash": label.hash,
        "rehearsal": label.rehearsal,
    }
    results: dict[str, Any] = {
        "energy": float(frames.energies[index]),
        "forces": frames.forces_of(index),
    }
    stress = frames.stresses[index]
    if np.isfinite(stress).all():
        results["stress"] = stress[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def write_frames(path: Path, frames: LabelledFrames) -> None:
    """Write frames as extended XYZ: energies in eV, forces in eV/Å, stresses in eV/Å^3."""
    import ase.io

    images = [frame_atoms(frames, index) for index in range(len(frames))]
    ase.io.write(path, images, format="extxyz")


def read_frames(
    path: Path, labels: list[FrameLabel] | None = None, first: int = 0
) -> LabelledFrames:
    """Read labelled frames from an extended XYZ file, ours or another's.

    Parameters
    ----------
    path : Path
        The file. Of a file that is not ours, each frame is a relaxation of its own, by an unknown
        engine unless the comment lines name ``engine`` and ``functional``.
    labels : list of FrameLabel, optional
        Known labels, found again by the ``settings_hash`` of a frame.
    first : int
        Number of the first frame, in the names of frames without a parent: several files that are
        joined must not give the same name twice.

    Raises
    ------
    DismaiError
        If the file is missing or cut off, or a frame lacks energy or forces.
    """
    import ase.io

    from dismaiflow.structures.read import split_extxyz

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DismaiError(f"{path}: cannot be read as a text file ({error})") from None
    texts = split_extxyz(text, path)
    try:
        images: list[Atoms] = ase.io.read(path, index=":", format="extxyz")  # type: ignore[assignment]
    except Exception as error:  # noqa: BLE001  # whatever a parser makes of a bad frame
        raise DismaiError(f"{path}: {_unreadable(texts, error)}") from None
    if len(images) != len(texts):
        raise DismaiError(f"{path}: {len(texts) - len(images)} frames cannot be read")
    known = {label.hash: label for label in labels or ()}
    rows = [_row(path, index, first, atoms, known) for index, atoms in enumerate(images)]
    names = list({row.label.hash: row.label for row in rows}.values())
    place = {label.hash: i for i, label in enumerate(names)}
    ids = tuple(f"{row.parent}/{row.step}" for row in rows)
    return LabelledFrames(
        structures=StructureSet.from_atoms(images, ids),
        energies=np.array([row.energy for row in rows], dtype=np.float64),
        forces=np.concatenate([*(row.forces for row in rows), np.zeros((0, 3))]),
        stresses=np.array([row.stress for row in rows], dtype=np.float64).reshape(-1, 3, 3),
        parents=tuple(row.parent for row in rows),
        steps=np.array([row.step for row in rows], dtype=np.int64),
        final=np.array([row.final for row in rows], dtype=bool),
        labels=tuple(names),
        label_of=np.array([place[row.label.hash] for row in rows], dtype=np.int64),
    )


def _unreadable(texts: list[str], error: Exception) -> str:
    """Say which of some frames cannot be read, after the parser failed at all of them."""
    import ase.io

    for index, text in enumerate(texts):
        try:
            ase.io.read(io.StringIO(text), format="extxyz")
        except Exception as bad:  # noqa: BLE001  # whatever a parser makes of a bad frame
            columns = [len(line.split()) for line in text.split("\n")[2:-1]]
            if index == len(texts) - 1 and columns and columns[-1] < max(columns):
                return (
                    f"is cut off: the last line of frame {index} has {columns[-1]} of "
                    f"{max(columns)} columns; copy or write it again"
                )
            return f"frame {index} cannot be read ({one_line(bad)})"
    return f"a frame cannot be read ({one_line(error)})"


@dataclass(frozen=True, eq=False)
class _Row:
    energy: float
    forces: np.ndarray
    stress: np.ndarray
    parent: str
    step: int
    final: bool
    label: FrameLabel


def _row(path: Path, index: int, first: int, atoms: Atoms, known: dict[str, FrameLabel]) -> _Row:
    info = atoms.info
    results: dict[str, Any] = dict(atoms.calc.results) if atoms.calc is not None else {}
    for key in ("energy", "forces"):
        if key not in results:
            raise DismaiError(
                f"{path}: frame {index} has no {key}: each frame needs its energy (eV) in the "
                "comment line and its forces (eV/Å) as a column"
            )
    stress = np.full((3, 3), np.nan)
    if "stress" in results:
        voigt = np.asarray(results["stress"], dtype=float)
        stress = voigt.reshape(3, 3) if voigt.size == 9 else voigt[_FROM_VOIGT]
    name = str(info.get("settings_hash", ""))
    label = known.get(name) or FrameLabel(
        engine=str(info.get("engine", "unknown")),
        functional=str(info.get("functional", "unknown")),
        settings={"hash": name} if name else {},
        rehearsal=str(info.get("rehearsal", False)).lower() in ("true", "t", "1"),
    )
    return _Row(
        energy=float(results["energy"]),
        forces=np.asarray(results["forces"], dtype=float).reshape(-1, 3),
        stress=stress,
        parent=str(info.get("parent", f"{NO_PARENT}{first + index}")),
        step=int(info.get("step", 1)),
        final=bool(info.get("final", True)),
        label=label,
    )


_FROM_VOIGT = np.array([[0, 5, 4], [5, 1, 3], [4, 3, 2]])


def write_frames_folder(
    folder: Path, sets: dict[str, LabelledFrames], card: FramesCard
) -> FramesFolder:
    """Write a folder of frames with its card, all of it or nothing.

    Parameters
    ----------
    folder : Path
        The folder to make.
    sets : dict of str to LabelledFrames
        By the stem of their files.
    card : FramesCard
        Its card; counts, checksums and hashes are filled in.

    Raises
    ------
    DismaiError
        If the folder is filled already or cannot be written.
    """
    with new_folder(folder) as partial:
        sums = {}
        for name, frames in sets.items():
            path = partial / f"{name}.extxyz"
            write_frames(path, frames)
            sums[path.name] = file_sha256(path)
        filled = card.model_copy(update={**counts_of(sets), "sha256": sums})
        (partial / CARD_NAME).write_text(filled.model_dump_json(indent=1), encoding="utf-8")
    return FramesFolder(folder, filled)


def counts_of(sets: dict[str, LabelledFrames]) -> dict[str, Any]:
    """Return what a card counts of its sets: frames, relaxations, hashes, labels."""
    labels = {label.hash: label for frames in sets.values() for label in frames.labels}
    return {
        "counts": {name: len(frames) for name, frames in sets.items()},
        "parents": {name: len(set(frames.parents)) for name, frames in sets.items()},
        "content_hashes": {name: frames.content_hash for name, frames in sets.items()},
        "labels": list(labels.values()),
    }


def open_frames_folder(folder: Path) -> FramesFolder:
    """Open a folder of frames.

    Raises
    ------
    DismaiError
        If there is no card, or it is not one.
    """
    path = folder / CARD_NAME
    if not path.is_file():
        raise DismaiError(f"{folder}: is no folder of labelled frames ({CARD_NAME} is missing)")
    return FramesFolder(folder, read_card(path, FramesCard, "the card of labelled frames"))

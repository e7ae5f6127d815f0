"""Labelled frames: structures with the energies, forces and stresses of a calculation."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from dismaiflow.errors import DismaiError
from dismaiflow.structures.arrays import pack_arrays, unpack_arrays
from dismaiflow.structures.structure_set import StructureSet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

#: How frames are divided: whole relaxations, or single frames as the paper does.
SplitKind = Literal["parent", "frame"]

#: Shares of the sets for training, validation and test (paper, section 4.6).
SPLIT_FRACTIONS: tuple[float, float, float] = (0.8, 0.1, 0.1)

#: Names of these sets.
SPLIT_NAMES = ("train", "val", "test")

_MAGIC = b"DISMAI-FRAMES-1"


class FrameLabel(BaseModel):
    """Where the numbers of a frame come from. Frames of two labels do not mix by themselves.

    Parameters
    ----------
    engine : str
        What computed them, with its version (``vasp 6.4.2``).
    functional : str
        Exchange-correlation functional, or what stands for it.
    settings : dict
        What decides the numbers: cutoff, k-points, potentials, Hubbard U and the like.
    rehearsal : bool
        Whether they were made up by the stand-in for VASP.
    """

    model_config = ConfigDict(frozen=True)

    engine: str
    functional: str
    settings: dict[str, Any] = Field(default_factory=dict)
    rehearsal: bool = False

    @cached_property
    def hash(self) -> str:
        """SHA-256 of all that it says."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def title(self) -> str:
        """One line for a person."""
        mark = ", a rehearsal" if self.rehearsal else ""
        return f"{self.engine}, {self.functional}, settings {self.hash[:8]}{mark}"


@dataclass(frozen=True, eq=False)
class LabelledFrames:
    """Frames of relaxations, in a fixed order: all that the training of a potential needs.

    Parameters
    ----------
    structures : StructureSet
        The structures; ids are ``parent/step``.
    energies : ndarray, shape (n_frames,)
        Total energies, of which the forces are the derivative, eV.
    forces : ndarray, shape (n_atoms_total, 3)
        eV/Å, frame after frame.
    stresses : ndarray, shape (n_frames, 3, 3)
        eV/Å^3 with ASE's sign: negative under compression. NaN where they were not computed.
    parents : tuple of str
        The structure with which the relaxation of each frame began.
    steps : ndarray of int64, shape (n_frames,)
        Ionic step, from 1, counted through all restarts.
    final : ndarray of bool, shape (n_frames,)
        Whether it is the last step of its relaxation.
    labels : tuple of FrameLabel
        Where the numbers come from.
    label_of : ndarray of int64, shape (n_frames,)
        Which of the labels each frame has.
    """

    structures: StructureSet
    energies: NDArray[np.float64]
    forces: NDArray[np.float64]
    stresses: NDArray[np.float64]
    parents: tuple[str, ...]
    steps: NDArray[np.int64]
    final: NDArray[np.bool_]
    labels: tuple[FrameLabel, ...]
    label_of: NDArray[np.int64]

    def __post_init__(self) -> None:
        n, total = len(self.structures), int(self.structures.offsets[-1])
        shapes_fit = (
            self.energies.shape == (n,)
            and self.forces.shape == (total, 3)
            and self.stresses.shape == (n, 3, 3)
            and len(self.parents) == n
            and self.steps.shape == self.final.shape == self.label_of.shape == (n,)
            and (n == 0 or 0 <= self.label_of.min() <= self.label_of.max() < len(self.labels))
        )
        if not shapes_fit:
            raise ValueError("the arrays of LabelledFrames do not fit together")

    def __len__(self) -> int:
        return len(self.structures)

    @classmethod
    def build(
        cls,
        structures: StructureSet,
        energies: ArrayLike,
        forces: Sequence[ArrayLike],
        stresses: ArrayLike,
        label: FrameLabel,
        parents: Sequence[str],
        steps: ArrayLike,
        final: ArrayLike,
    ) -> LabelledFrames:
        """Collect frames of one label; the ids of the structures become ``parent/step``.

        Parameters
        ----------
        forces : sequence of array-like, each (n_atoms, 3)
            By frame, eV/Å.
        structures, energies, stresses, label, parents, steps, final
            See the class.
        """
        n = len(structures)
        numbered = np.asarray(steps, dtype=np.int64).reshape(n)
        ids = tuple(f"{p}/{s}" for p, s in zip(parents, numbered.tolist(), strict=True))
        joined = [np.asarray(one, dtype=np.float64).reshape(-1, 3) for one in forces]
        return cls(
            structures=StructureSet(
                structures.numbers,
                structures.positions,
                structures.cells,
                structures.pbc,
                structures.offsets,
                ids,
            ),
            energies=np.asarray(energies, dtype=np.float64).reshape(n),
            forces=np.concatenate([*joined, np.zeros((0, 3))]),
            stresses=np.asarray(stresses, dtype=np.float64).reshape(n, 3, 3),
            parents=tuple(parents),
            steps=numbered,
            final=np.asarray(final, dtype=bool).reshape(n),
            labels=(label,),
            label_of=np.zeros(n, dtype=np.int64),
        )

    @classmethod
    def empty(cls) -> LabelledFrames:
        """Return no frames."""
        none = np.zeros(0)
        return cls(
            StructureSet.from_atoms([]),
            none,
            np.zeros((0, 3)),
            np.zeros((0, 3, 3)),
            (),
            none.astype(np.int64),
            none.astype(bool),
            (),
            none.astype(np.int64),
        )

    def forces_of(self, index: int) -> NDArray[np.float64]:
        """Return the forces of one frame, shape (n_atoms, 3), eV/Å."""
        return self.forces[self.structures.slice_of(index)]

    def label(self, index: int) -> FrameLabel:
        """Return where the numbers of one frame come from."""
        return self.labels[int(self.label_of[index])]

    def select(self, indices: ArrayLike) -> LabelledFrames:
        """Return the frames at these indices, in the given order."""
        wanted = np.asarray(indices)
        chosen = np.arange(len(self))[wanted if wanted.size else wanted.astype(np.int64)]
        none = np.zeros((0, 3))
        used, label_of = np.unique(self.label_of[chosen], return_inverse=True)
        return LabelledFrames(
            structures=self.structures.select(chosen),
            energies=self.energies[chosen],
            forces=np.concatenate([*(self.forces_of(i) for i in chosen.tolist()), none]),
            stresses=self.stresses[chosen],
            parents=tuple(self.parents[i] for i in chosen.tolist()),
            steps=self.steps[chosen],
            final=self.final[chosen],
            labels=tuple(self.labels[i] for i in used.tolist()),
            label_of=label_of.astype(np.int64).reshape(len(chosen)),
        )

    @classmethod
    def concatenate(cls, parts: Sequence[LabelledFrames]) -> LabelledFrames:
        """Join frames, in their order; equal labels become one."""
        if not parts:
            return cls.empty()
        labels: dict[str, FrameLabel] = {}
        for part in parts:
            labels.update({label.hash: label for label in part.labels})
        place = {name: i for i, name in enumerate(labels)}
        codes = [
            np.array([place[label.hash] for label in part.labels], dtype=np.int64)[part.label_of]
            for part in parts
            if len(part)
        ]
        return cls(
            structures=StructureSet.concatenate([part.structures for part in parts]),
            energies=np.concatenate([part.energies for part in parts]),
            forces=np.concatenate([part.forces for part in parts]),
            stresses=np.concatenate([part.stresses for part in parts]),
            parents=tuple(parent for part in parts for parent in part.parents),
            steps=np.concatenate([part.steps for part in parts]),
            final=np.concatenate([part.final for part in parts]),
            labels=tuple(labels.values()),
            label_of=np.concatenate([*codes, np.zeros(0, dtype=np.int64)]),
        )

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 of structures, numbers and labels, in hexadecimal.

        Numbers enter with eight decimals, so that the hash survives an extended XYZ file.
        """
        digest = hashlib.sha256(_MAGIC)
        digest.update(self.structures.content_hash.encode())
        for array in (self.energies, self.forces, self.stresses):
            with np.errstate(invalid="ignore", over="ignore"):
                units = np.rint(array / 1e-8)
            units = np.where(np.abs(units) < 2.0**62, units, -(2.0**62))
            digest.update(units.astype("<i8").tobytes())
        for index, (parent, step) in enumerate(zip(self.parents, self.steps, strict=True)):
            digest.update(f"{parent}/{step}/{self.label(index).hash}\n".encode())
        return digest.hexdigest()

    def to_bytes(self) -> bytes:
        """Write all, bit for bit, into bytes."""
        arrays = {
            "energies": self.energies,
            "forces": self.forces,
            "stresses": self.stresses,
            "steps": self.steps,
            "final": self.final,
            "label_of": self.label_of,
            "structures": np.frombuffer(self.structures.to_bytes(), dtype=np.uint8),
        }
        labels = [label.model_dump(mode="json") for label in self.labels]
        return pack_arrays(_MAGIC, arrays, {"parents": list(self.parents), "labels": labels})

    @classmethod
    def from_bytes(cls, data: bytes) -> LabelledFrames:
        """Read what `to_bytes` wrote; a DismaiError if the bytes are something else or cut off."""
        arrays, header = unpack_arrays(_MAGIC, data)
        structures = StructureSet.from_bytes(arrays.pop("structures").tobytes())
        labels = tuple(FrameLabel.model_validate(label) for label in header["labels"])
        return cls(structures=structures, parents=tuple(header["parents"]), labels=labels, **arrays)

    def chunks(self, size: int) -> list[LabelledFrames]:
        """Cut into pieces of at most ``size`` frames."""
        if size < 1:
            raise DismaiError(f"a chunk needs at least one frame, got chunk size {size}")
        starts = range(0, len(self), size)
        return [self.select(np.arange(i, min(i + size, len(self)))) for i in starts]

    def split(
        self,
        by: SplitKind = "parent",
        fractions: tuple[float, float, float] = SPLIT_FRACTIONS,
        seed: int = 0,
    ) -> dict[str, LabelledFrames]:
        """Divide into training, validation and test frames.

        Parameters
        ----------
        by : {"parent", "frame"}
            ``parent`` keeps all frames of a relaxation together, so that the test set tells of
            structures that were never seen; ``frame`` divides single frames, as the paper does
            (section 4.6), where near copies of the test frames are trained on.
        fractions : 3 float
            Shares of the three sets; of the parents, or of the frames.
        seed : int
            Seed of the division.

        Returns
        -------
        dict of str to LabelledFrames
            ``train``, ``val`` and ``test``, each with one parent or frame at least.

        Raises
        ------
        DismaiError
            If there are too few for three sets, or the shares do not add up to 1.
        """
        if abs(sum(fractions) - 1) > 1e-9 or min(fractions) <= 0:
            raise DismaiError(
                f"the shares of a split must be positive and add up to 1: {fractions}"
            )
        units = list(dict.fromkeys(self.parents)) if by == "parent" else list(range(len(self)))
        if len(units) < len(SPLIT_NAMES):
            what = "relaxations" if by == "parent" else "frames"
            raise DismaiError(
                f"{len(units)} {what} cannot be split into training, validation and test sets: "
                "three are needed at least"
            )
        order = np.random.default_rng(np.random.SeedSequence(seed)).permutation(len(units))
        n_val, n_test = (max(1, round(share * len(units))) for share in fractions[1:])
        n_train = max(1, len(units) - n_val - n_test)
        bounds = np.cumsum([0, n_train, n_val, n_test])
        member = np.empty(len(units), dtype=np.int64)
        for code in range(len(SPLIT_NAMES)):
            member[order[bounds[code] : bounds[code + 1]]] = code
        if by == "parent":
            place = {parent: i for i, parent in enumerate(units)}
            member = member[[place[parent] for parent in self.parents]]
        return {
            name: self.select(np.flatnonzero(member == code))
            for code, name in enumerate(SPLIT_NAMES)
        }

"""Frames for training: read, checked, turned into graphs and batches."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.data import chemical_symbols

from dismaiflow.errors import DismaiError
from dismaiflow.potentials.training.evaluation import GPA
from dismaiflow.structures.frame_files import (
    CARD_NAME,
    NO_PARENT,
    open_frames_folder,
    read_frames,
)
from dismaiflow.structures.frames import LabelledFrames

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from dismaiflow.structures.frames import SplitKind

#: Sets that training needs; ``test`` may be missing.
_NEEDED = ("train", "val")


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Frames that were found fit for training.

    Parameters
    ----------
    sets : dict of str to LabelledFrames
        ``train``, ``val`` and, if there is one, ``test``.
    elements : tuple of str
        Elements that the potential is to know, in the order of its species.
    """

    sets: Mapping[str, LabelledFrames]
    elements: tuple[str, ...]

    @property
    def hash(self) -> str:
        """SHA-256 of the frames of all sets and of the elements."""
        parts = [f"{name}:{frames.content_hash}" for name, frames in sorted(self.sets.items())]
        return hashlib.sha256("\n".join([*parts, *self.elements]).encode()).hexdigest()

    @property
    def shared_parents(self) -> int:
        """Relaxations of which both the training set and another set hold frames."""
        train = set(self.sets["train"].parents)
        others = {p for name, f in self.sets.items() if name != "train" for p in f.parents}
        return len(train & others)

    @property
    def nameless(self) -> str | None:
        """One line if frames do not name the relaxation they come from, else None."""
        parents = [parent for frames in self.sets.values() for parent in frames.parents]
        n = sum(map(_is_nameless, parents))
        if not n:
            return None
        whole = n == len(parents)
        return (
            f"{'the' if whole else f'{n} of {len(parents)}'} frames do not name the relaxation "
            f"they come from: the split is by frame{'' if whole else ' for them'}, so that near "
            "copies of test frames may be trained on and errors look too small; write parent=NAME "
            "into the comment lines"
        )


def _is_nameless(parent: str) -> bool:
    return parent.startswith(NO_PARENT)


def read_sets(
    paths: Sequence[Path], split: SplitKind | None = None, seed: int = 0
) -> tuple[dict[str, LabelledFrames], dict[str, Any]]:
    """Read frames from files, which are split, or from folders, which are split already.

    Parameters
    ----------
    paths : sequence of Path
        Extended XYZ files, or folders with ``frames.json``. Several are joined.
    split : {"parent", "frame"}, optional
        How files are split, by parent if nothing is said. A frame that names no parent is one of
        its own; if none does, the split is one by frame, and is called so.
    seed : int
        Seed of the split.

    Returns
    -------
    sets : dict of str to LabelledFrames
        ``train``, ``val``, ``test``.
    split : dict
        How they were divided.

    Raises
    ------
    DismaiError
        If a path comes twice, folders and files are mixed, or there are too few frames.
    """
    for place, path in enumerate(paths):
        if path.resolve() in [other.resolve() for other in paths[:place]]:
            raise DismaiError(f"{path}: is given twice, and would count twice; give it once")
    folders = [path for path in paths if path.is_dir()]
    if folders and len(folders) < len(paths):
        raise DismaiError("give extxyz files or folders of frames to train on, not both")
    if folders and split is not None:
        raise DismaiError(
            f"{folders[0]}: is split already ({CARD_NAME}); leave out --split, or give its files"
        )
    if folders:
        opened = [open_frames_folder(folder) for folder in folders]
        read = [one.read() for one in opened]
        names = [name for name in (*_NEEDED, "test") if any(name in sets for sets in read)]
        joined = {
            name: LabelledFrames.concatenate([sets[name] for sets in read if name in sets])
            for name in names
        }
        return joined, opened[0].card.split if len(opened) == 1 else {"by": "folders"}
    parts: list[LabelledFrames] = []
    for path in paths:
        parts.append(read_frames(path, first=sum(map(len, parts))))
    frames = LabelledFrames.concatenate(parts)
    by: SplitKind = split or ("frame" if all(map(_is_nameless, frames.parents)) else "parent")
    return frames.split(by, seed=seed), {"by": by, "seed": seed}


def check_sets(
    sets: Mapping[str, LabelledFrames],
    elements: Sequence[str] | None = None,
    allow_mixed: bool = False,
    allow_rehearsal: bool = False,
) -> TrainingData:
    """Check frames before a potential is trained on them.

    Parameters
    ----------
    sets : dict of str to LabelledFrames
        ``train``, ``val`` and perhaps ``test``.
    elements : sequence of str, optional
        Elements that the potential is to know; by default those of the frames.
    allow_mixed : bool
        Whether labels of several engines, functionals or settings may be mixed.
    allow_rehearsal : bool
        Whether numbers of a rehearsal may be learned.

    Raises
    ------
    DismaiError
        If a set is missing or empty, a number is not finite, labels are mixed or rehearsed without
        leave, an element is unknown, or a structure is not periodic.
    """
    for name in _NEEDED:
        if name not in sets or not len(sets[name]):
            raise DismaiError(
                f"training needs frames in the sets {' and '.join(_NEEDED)}; {name} has none"
            )
    kept = {name: frames for name, frames in sets.items() if len(frames)}
    _check_labels(kept, allow_mixed, allow_rehearsal)
    for name, frames in kept.items():
        _check_numbers(name, frames)
    found = sorted({int(z) for f in kept.values() for z in np.unique(f.structures.numbers)})
    symbols = [chemical_symbols[z] for z in found]
    known = tuple(elements) if elements else tuple(symbols)
    unknown = [symbol for symbol in symbols if symbol not in known]
    if unknown:
        raise DismaiError(
            f"the frames hold {', '.join(unknown)}, which the potential is not to know (it knows "
            f"{', '.join(known)}): name more elements, or leave these frames out"
        )
    return TrainingData(kept, known)


def _check_labels(
    sets: Mapping[str, LabelledFrames], allow_mixed: bool, allow_rehearsal: bool
) -> None:
    labels = {label.hash: label for frames in sets.values() for label in frames.labels}
    if len(labels) > 1 and not allow_mixed:
        names = "; ".join(label.title for label in labels.values())
        raise DismaiError(
            f"the frames come from {len(labels)} sources whose energies need not agree ({names}): "
            "train on one of them, or allow it with --allow-mixed"
        )
    rehearsed = [label.title for label in labels.values() if label.rehearsal]
    if rehearsed and not allow_rehearsal:
        raise DismaiError(
            f"the frames are those of a rehearsal ({rehearsed[0]}), not of a calculation: a "
            "potential trained on them is for trying out only; allow it with --rehearsal"
        )


def _check_numbers(name: str, frames: LabelledFrames) -> None:
    structures = frames.structures
    for index in range(len(frames)):
        atoms = structures.slice_of(index)
        for what, values in (
            ("energy is no finite number", frames.energies[index]),
            ("forces are not all finite numbers", frames.forces[atoms]),
            ("positions are not all finite numbers", structures.positions[atoms]),
            ("cell has components that are not finite", structures.cells[index]),
        ):
            if not np.isfinite(values).all():
                raise DismaiError(
                    f"{_frame(name, frames, index)}: its {what}: leave it out or compute it again"
                )
        there = np.isfinite(frames.stresses[index])
        if there.any() and not there.all():
            raise DismaiError(
                f"{_frame(name, frames, index)}: some components of its stress are not finite: "
                "give all nine or none"
            )
        if not structures.pbc[index].all():
            raise DismaiError(
                f"{_frame(name, frames, index)}: is not periodic in all directions, which graph "
                "networks need: set pbc, with vacuum in the cell"
            )


def _frame(name: str, frames: LabelledFrames, index: int) -> str:
    """Name a frame of a set: by parent and step, or by its place in the files, from 0."""
    parent = frames.parents[index]
    if _is_nameless(parent):
        return f"frame {parent.removeprefix(NO_PARENT)} (counted from 0), of {name}"
    return f"frame {frames.structures.ids[index]} of {name}"


@dataclass(frozen=True, eq=False)
class GraphBatch:
    """Some frames as one graph, with their labels, on one device.

    Parameters
    ----------
    graph : torch_geometric.data.Batch
        The graph.
    cells : torch.Tensor, shape (n_frames, 3, 3)
        Å.
    n_atoms, energies : torch.Tensor, shape (n_frames,)
        Atoms; eV/atom.
    forces : torch.Tensor, shape (n_atoms_total, 3)
        eV/Å.
    stresses : torch.Tensor, shape (n_frames, 3, 3)
        GPa; NaN where there are none.
    """

    graph: Any
    cells: Any
    n_atoms: Any
    energies: Any
    forces: Any
    stresses: Any

    def predict(self, potential: Any) -> tuple[Any, Any, Any]:
        """Return what a potential says: eV/atom, eV/Å, GPa, in the shapes of the labels."""
        state = self.cells.new_zeros((len(self.n_atoms), 2))
        energies, forces, stresses = potential(self.graph, self.cells, state)[:3]
        return energies.reshape(-1) / self.n_atoms, forces, stresses.reshape(-1, 3, 3)


@dataclass(eq=False)
class GraphFrames:
    """Frames as graphs, which are made once: positions do not change in training.

    Parameters
    ----------
    frames : LabelledFrames
        The frames.
    model : matgl model
        For its elements and its cutoff.
    device : str
        Where batches are wanted.
    """

    frames: LabelledFrames
    model: Any
    device: str = "cpu"
    _graphs: list[tuple[Any, Any]] = field(init=False)

    def __post_init__(self) -> None:
        from matgl.ext.ase import Atoms2Graph

        converter = Atoms2Graph(tuple(self.model.element_types), float(self.model.cutoff))
        made = [converter.get_graph(atoms) for atoms in self.frames.structures]
        self._graphs = [(graph, cell.reshape(3, 3)) for graph, cell, _ in made]

    def __len__(self) -> int:
        return len(self.frames)

    def batch(self, indices: Sequence[int]) -> GraphBatch:
        """Return some frames as one batch, in the given order."""
        import torch
        from torch_geometric.data import Batch

        frames = self.frames
        chosen = [int(i) for i in indices]
        n_atoms = frames.structures.n_atoms[chosen]

        def tensor(values: Any) -> Any:
            return torch.as_tensor(np.asarray(values), dtype=torch.float32).to(self.device)

        return GraphBatch(
            graph=Batch.from_data_list([self._graphs[i][0] for i in chosen]).to(self.device),
            cells=torch.stack([self._graphs[i][1] for i in chosen]).to(self.device),
            n_atoms=tensor(n_atoms),
            energies=tensor(frames.energies[chosen] / n_atoms),
            forces=tensor(np.concatenate([frames.forces_of(i) for i in chosen])),
            stresses=tensor(frames.stresses[chosen] * GPA),
        )

"""The job that makes a dataset of the relaxed blocks of a parent."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from jobflow import Maker

from dismaiflow.amorphous.coordination import coordination_statistics
from dismaiflow.campaigns.lowest import example_of
from dismaiflow.errors import DismaiError
from dismaiflow.jobs import dismai_job
from dismaiflow.potentials.schemas import RelaxedDoc
from dismaiflow.potentials.table import RelaxationTable
from dismaiflow.potentials.treatment import RelaxationRequest
from dismaiflow.store.blobs import current_jobstore, get_blob
from dismaiflow.store.datasets import DatasetDoc
from dismaiflow.store.structures import find_structures, get_structures, put_structures
from dismaiflow.structures.dataset import DatasetCard
from dismaiflow.structures.structure_set import INDEX_LABEL, StructureSet
from dismaiflow.systems import SystemSpec

if TYPE_CHECKING:
    from jobflow import JobStore
    from numpy.typing import NDArray

#: What a dataset of relaxed blocks is.
STAGE = "blocks of a parent, relaxed"

#: Reason for which blocks are missing whose job failed, or whose chunk could not be read.
LOST = "lost"

#: Structures that the card holds for pictures.
_LOWEST = 3

#: Decimals of an extended XYZ file, so that the set in the store is the one in the folder.
_DECIMALS = 8

#: The card warns where relaxed blocks have so much more of their atoms than the parent with another
#: number of neighbours than usual. The limit is ours.
_MORE_DEFECTS = 0.05

#: A warning on the card of the blocks that ends so is out of date once they are relaxed.
_RELAX_FIRST = "relax the blocks before use"


@dataclass(frozen=True, eq=False)
class RelaxedBlocks:
    """The blocks of one set, and what became of each.

    Parameters
    ----------
    n_asked : int
        Blocks that were cut.
    before, after : StructureSet
        Those that are kept, in the order of their indices, as they were cut and as they relaxed;
        the latter with the labels of the dataset.
    table : RelaxationTable
        One row for each that was tried.
    lost : list of str
        Why others were not.
    """

    n_asked: int
    before: StructureSet
    after: StructureSet
    table: RelaxationTable
    lost: list[str]

    @property
    def ended(self) -> Counter[str]:
        """Blocks by status; those without a row are `LOST`."""
        counts = Counter(self.table.counts())
        missing = self.n_asked - len(self.table)
        return counts + Counter({LOST: missing})


@dataclass
class AssembleBlocksMaker(Maker):
    """Put relaxed blocks together as a dataset.

    Parameters
    ----------
    name : str
        The job name.
    chunk_size : int
        Structures of a stored chunk.
    """

    name: str = "assemble blocks"
    chunk_size: int = 50

    @dismai_job(output_schema=DatasetDoc)
    def make(
        self,
        spec: SystemSpec,
        sliced: DatasetDoc,
        relaxed: dict[str, RelaxedDoc],
    ) -> DatasetDoc:
        """Keep what converged, measure it, write the card.

        Parameters
        ----------
        spec : SystemSpec
            The system.
        sliced : DatasetDoc
            The blocks as they were cut.
        relaxed : dict of str to RelaxedDoc
            By set: what the relaxation left.
        """
        jobstore = current_jobstore()
        cut = DatasetDoc.model_validate(sliced)
        documents = {name: RelaxedDoc.model_validate(found) for name, found in relaxed.items()}
        blocks = {name: _read(jobstore, cut, name, found) for name, found in documents.items()}
        check_enough(spec, blocks)
        parent = get_structures(
            jobstore, find_structures(jobstore, cut.card.protocol["parent"]["content_hash"])
        )
        return DatasetDoc(
            system=spec.name,
            card=_card(cut.card, parent, blocks, documents),
            sets={
                name: put_structures(jobstore, found.after, self.chunk_size)
                for name, found in blocks.items()
            },
        )


def check_enough(spec: SystemSpec, blocks: dict[str, RelaxedBlocks]) -> None:
    """Check that each set has a structure left.

    Parameters
    ----------
    spec : SystemSpec
        The system.
    blocks : dict of str to RelaxedBlocks
        By set.

    Raises
    ------
    DismaiError
        If one has none; it counts how the others ended.
    """
    if all(len(found.after) for found in blocks.values()):
        return
    kept = ", ".join(f"{name} {len(b.after)} of {b.n_asked}" for name, b in blocks.items())
    why = next((text for b in blocks.values() for text in (*b.lost, *b.table.details) if text), "")
    example = f" (first: {why})" if why else ""
    raise DismaiError(
        f"{spec.name}: too few blocks are left for a dataset ({kept}); the others: "
        f"{_reasons(_ended(blocks))}{example}: take another potential, ask for more structures, "
        "or change key 'dataset.relaxation'"
    )


def _read(jobstore: JobStore, cut: DatasetDoc, name: str, document: RelaxedDoc) -> RelaxedBlocks:
    """Fetch the blocks of a set, before and after."""
    found = get_structures(jobstore, document.structures)
    kept = found.labels.get(INDEX_LABEL, np.empty(0, dtype=np.int64))
    before = get_structures(jobstore, cut.sets[name]).select(kept)
    if len(found):
        found = replace(found, positions=_wrapped(found), labels=found.labels | before.labels)
    return RelaxedBlocks(
        n_asked=document.n_structures,
        before=before,
        after=found,
        table=RelaxationTable.from_bytes(get_blob(jobstore, document.table)),
        lost=document.lost,
    )


def _wrapped(structures: StructureSet) -> NDArray[np.float64]:
    """Return the positions inside the right-angled cells of blocks, as they were when cut."""
    edges = np.repeat(np.diagonal(structures.cells, axis1=1, axis2=2), structures.n_atoms, axis=0)
    rounded = np.round(np.mod(structures.positions, edges), _DECIMALS)
    return np.where(rounded >= edges, 0.0, rounded)


def _card(
    cut: DatasetCard,
    parent: StructureSet,
    blocks: dict[str, RelaxedBlocks],
    documents: dict[str, RelaxedDoc],
) -> DatasetCard:
    """Say what the dataset is; ``cut`` is the card of the blocks as they were cut."""
    document = next(iter(documents.values()))
    request = RelaxationRequest.of(document.settings)
    push = {"protocol": request.push, "distance": request.push_distance} if request.push else None
    before, after = (
        StructureSet.concatenate([getattr(b, side) for b in blocks.values()])
        for side in ("before", "after")
    )
    stages = {"parent": parent, "sliced": before, "relaxed": after}
    coordination = coordination_statistics(stages, cut.statistics["parent_quality"]["cutoff"])
    per_atom = after.labels["energy"] / after.n_atoms
    return cut.model_copy(
        update={
            "counts": {name: len(b.after) for name, b in blocks.items()},
            "content_hashes": {name: b.after.content_hash for name, b in blocks.items()},
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "protocol": {
                **cut.protocol,
                "stage": STAGE,
                "relaxed": True,
                "relaxation": {
                    "potential": document.potential.model_dump(mode="json"),
                    "settings": request.settings.as_dict(),
                    "push": push,
                },
            },
            "versions": cut.versions | document.potential.versions,
            "statistics": {
                **cut.statistics,
                "coordination": coordination,
                "relaxation": relaxation_statistics(blocks),
                "energy_per_atom": {
                    "min": float(per_atom.min()),
                    "mean": float(per_atom.mean()),
                    "max": float(per_atom.max()),
                },
                "lowest": _lowest(blocks),
            },
            "warnings": [w for w in cut.warnings if not w.endswith(_RELAX_FIRST)]
            + relaxation_warnings(blocks, coordination["defects"]),
        }
    )


def relaxation_statistics(blocks: dict[str, RelaxedBlocks]) -> dict[str, Any]:
    """Return how the relaxation of a dataset went.

    Parameters
    ----------
    blocks : dict of str to RelaxedBlocks
        By set; one at least is kept.

    Returns
    -------
    dict
        ``n_asked``, ``n_kept``; ``ended`` (blocks by status); ``force_calls``, of all that were
        tried; of those that are kept ``steps_mean``, ``steps_std``, ``drop_mean``, ``drop_std``
        (meV per atom by which the energy fell) and ``moved_mean`` (mean distance of an atom from
        its place in the cut block, Å).
    """
    kept = [b.after for b in blocks.values()]
    labels = {
        key: np.concatenate([part.labels[key] for part in kept])
        for key in ("energy", "initial_energy", "n_steps")
    }
    n_atoms = np.concatenate([part.n_atoms for part in kept])
    drop = 1000 * (labels["initial_energy"] - labels["energy"]) / n_atoms
    moved = np.concatenate([_moved(b) for b in blocks.values()])
    return {
        "n_asked": sum(b.n_asked for b in blocks.values()),
        "n_kept": sum(len(part) for part in kept),
        "ended": dict(_ended(blocks).most_common()),
        "force_calls": sum(int(b.table.numbers["n_force_calls"].sum()) for b in blocks.values()),
        "steps_mean": float(labels["n_steps"].mean()),
        "steps_std": float(labels["n_steps"].std()),
        "drop_mean": float(drop.mean()),
        "drop_std": float(drop.std()),
        "moved_mean": float(moved.mean()),
    }


def _moved(blocks: RelaxedBlocks) -> NDArray[np.float64]:
    """Return how far each atom is from where it was cut, Å; of a set that may be empty."""
    before, after = blocks.before, blocks.after
    edges = np.repeat(np.diagonal(after.cells, axis1=1, axis2=2), after.n_atoms, axis=0)
    away = after.positions - before.positions
    away -= np.round(away / edges) * edges
    distances: NDArray[np.float64] = np.linalg.norm(away, axis=1)
    return distances


def relaxation_warnings(blocks: dict[str, RelaxedBlocks], defects: dict[str, float]) -> list[str]:
    """Return what the card says of blocks that are not in the dataset, and of those that are.

    Parameters
    ----------
    blocks : dict of str to RelaxedBlocks
        By set.
    defects : dict of str to float
        Share of the atoms without the usual number of neighbours, by stage.
    """
    asked = sum(b.n_asked for b in blocks.values())
    kept = sum(len(b.after) for b in blocks.values())
    found = [f"{name}: {text}" for name, b in blocks.items() for text in b.lost]
    if kept < asked:
        found.append(
            f"{asked} structures were asked for, {kept} are in the dataset; the others: "
            f"{_reasons(_ended(blocks))}"
        )
    if defects["relaxed"] > defects["parent"] + _MORE_DEFECTS:
        found.append(
            f"{100 * defects['relaxed']:.1f} % of the atoms of the relaxed blocks do not have the "
            f"usual number of neighbours (parent: {100 * defects['parent']:.1f} %, blocks before: "
            f"{100 * defects['sliced']:.1f} %): relaxation does not heal the cuts"
        )
    return found


def _ended(blocks: dict[str, RelaxedBlocks]) -> Counter[str]:
    return sum((b.ended for b in blocks.values()), Counter[str]())


def _reasons(ended: Counter[str]) -> str:
    """Say how those ended that did not converge."""
    return ", ".join(
        f"{count} {status.replace('_', ' ')}"
        for status, count in ended.most_common()
        if status != "converged"
    )


def _lowest(blocks: dict[str, RelaxedBlocks]) -> list[dict[str, Any]]:
    """Return the structures of lowest energy, small enough for a card."""
    rows = [
        (float(energy / n_atoms), name, int(index))
        for name, b in blocks.items()
        for energy, n_atoms, index in zip(
            b.after.labels["energy"], b.after.n_atoms, b.after.labels[INDEX_LABEL], strict=True
        )
    ]
    return [
        {"set": name, "energy_per_atom": energy, **example_of(blocks[name].after, index)}
        for energy, name, index in sorted(rows)[:_LOWEST]
    ]

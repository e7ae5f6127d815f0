"""Jobs that make or judge a parent, and cut it into a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from ase.data import atomic_masses, atomic_numbers
from jobflow import Maker

from dismaiflow.amorphous.melt_quench import MeltQuenchSettings, melt_quench, split_counts
from dismaiflow.amorphous.overlap import overlap_report
from dismaiflow.amorphous.parent import ParentBox, kind_counts
from dismaiflow.amorphous.quality import GRAMS_PER_CM3, SILICON_ANCHORS, assess
from dismaiflow.amorphous.report import slicing_warnings
from dismaiflow.amorphous.schemas import ParentDoc
from dismaiflow.amorphous.slicing import (
    SlicedBlocks,
    SliceSettings,
    Split,
    check_block,
    sliced_sets,
)
from dismaiflow.errors import DismaiError
from dismaiflow.jobs import dismai_job
from dismaiflow.potentials.lammps_library import check_elements
from dismaiflow.store.blobs import current_jobstore
from dismaiflow.store.datasets import DatasetDoc
from dismaiflow.store.structures import StructuresRef, get_structures, put_structures
from dismaiflow.structures.dataset import DatasetCard, package_versions
from dismaiflow.systems import SystemSpec

#: Packages whose versions can change the structures.
_VERSIONED = ("dismaiflow", "numpy", "numba", "scipy", "ase", "lammps", "jobflow")

#: Å. A first peak of g(r) below this is not that of neighbours in a solid.
_NEAREST_NEIGHBOURS = 1.2

#: Children of the seed of a dataset.
_QUENCH, _SLICES = 0, 1


def quench_settings(
    spec: SystemSpec,
    n_atoms: int | None = None,
    rate: float | None = None,
    potential: str | None = None,
) -> MeltQuenchSettings:
    """Return how the parent of a system is made.

    Parameters
    ----------
    spec : SystemSpec
        The system.
    n_atoms : int, optional
        Atoms of the parent; by default those of its quench block, else of its parent.
    rate : float, optional
        K/ps; by default that of its quench block, else the package's.
    potential : {"sw", "tersoff"}, optional
        Likewise.

    Raises
    ------
    DismaiError
        If the spec gives no density, or the numbers make no sense.
    """
    parent = spec.amorphous.parent
    if parent.density is None:
        raise DismaiError(
            f"{spec.origin or spec.name}: key 'parent.density' is missing: melt-quench needs it, "
            "in g/cm^3; or give the parent as a file"
        )
    chosen: dict[str, Any] = {"n_atoms": parent.n_atoms, "density": parent.density}
    if parent.quench is not None:
        chosen |= parent.quench.model_dump(exclude_none=True)
    given = {"n_atoms": n_atoms, "quench_rate": rate, "potential": potential}
    chosen |= {key: value for key, value in given.items() if value is not None}
    return MeltQuenchSettings(**chosen)


def check_potential(potential: str, elements: Sequence[str]) -> str:
    """Return the file of a potential of a melt-quench that knows these elements.

    Raises
    ------
    DismaiError
        If there is none; it names the key of the spec.
    """
    return check_elements(
        potential,
        elements,
        where="key 'parent.quench.potential': ",
        advice="take another potential, or give the parent as a file",
    )


def check_quench(spec: SystemSpec, settings: MeltQuenchSettings) -> None:
    """Check, before a long run, that a parent can be made and cut.

    Parameters
    ----------
    spec : SystemSpec
        The system.
    settings : MeltQuenchSettings
        How its parent is to be made.

    Raises
    ------
    DismaiError
        If the potential does not know the elements, the composition does not divide the parent,
        or blocks do not fit into it.
    """
    check_potential(settings.potential, tuple(spec.composition))
    split_counts(spec.composition, settings.n_atoms)
    block = spec.amorphous.block
    mass = sum(n * atomic_masses[atomic_numbers[symbol]] for symbol, n in spec.composition.items())
    edge = (mass / (settings.density * GRAMS_PER_CM3)) ** (1 / 3)
    check_block(settings.n_atoms, block.n_atoms, block.skin or _NEAREST_NEIGHBOURS, float(edge))


@dataclass
class MeltQuenchMaker(Maker):
    """Make a parent by melt-quench.

    Parameters
    ----------
    name : str
        The job name.
    """

    name: str = "melt-quench"

    @dismai_job(output_schema=ParentDoc)
    def make(self, spec: SystemSpec, settings: dict[str, Any], seed: int = 0) -> ParentDoc:
        """Melt, cool, judge.

        Parameters
        ----------
        spec : SystemSpec
            The system.
        settings : dict
            Fields of `MeltQuenchSettings`.
        seed : int
            Seed of the whole dataset.
        """
        chosen = MeltQuenchSettings(**settings)
        root = np.random.SeedSequence([seed, _QUENCH])
        made = melt_quench(spec.composition, chosen, root)
        parent = ParentBox(made.numbers, made.positions, np.diagonal(made.cell).copy())
        stored = parent.structure_set()
        quality = assess(
            stored.numbers, stored.positions, stored.cells[0], made.energy_above_crystal
        )
        quality.warnings.extend(made.warnings)
        return ParentDoc.from_parent(
            spec.name,
            put_structures(current_jobstore(), stored, 1),
            quality,
            protocol={
                "name": "melt-quench",
                **chosen.as_dict(),
                "units": "ps, K, K/ps, g/cm^3, eV/atom, GPa, Å",
                "energy": made.energy,
                "crystal_energy": made.crystal_energy,
                "pressure": made.pressure,
                "displacement_before_cooling": made.displacement,
            },
            history=made.history,
            seeds={"seed": seed},
        )


@dataclass
class JudgeParentMaker(Maker):
    """Judge a parent that the user gives.

    Parameters
    ----------
    name : str
        The job name.
    """

    name: str = "judge parent"

    @dismai_job(output_schema=ParentDoc)
    def make(self, spec: SystemSpec, parent: StructuresRef) -> ParentDoc:
        """Check and judge.

        Parameters
        ----------
        spec : SystemSpec
            The system.
        parent : StructuresRef
            One structure, in the store.
        """
        found = get_structures(current_jobstore(), parent)
        box = ParentBox.of(found, "the given parent", spec.composition)
        protocol = {"name": "given", "content_hash": parent.content_hash}
        quality = assess(box.numbers, box.positions, box.cell)
        return ParentDoc.from_parent(spec.name, parent, quality, protocol)


@dataclass
class SliceMaker(Maker):
    """Cut a parent into the blocks of a dataset.

    Parameters
    ----------
    name : str
        The job name.
    chunk_size : int
        Structures of a stored chunk.
    document_kind : str
        Kind of the document it leaves; another one than ``dataset`` where the blocks are a step on
        the way, which is not to be listed among datasets.
    """

    name: str = "slice parent"
    chunk_size: int = 50
    document_kind: str = "dataset"

    @dismai_job(output_schema=DatasetDoc)
    def make(
        self,
        spec: SystemSpec,
        parent: ParentDoc,
        seed: int = 0,
        n_structures: int | None = None,
        split: Split = "disjoint",
        protocol: Literal["corrected", "published"] = "corrected",
    ) -> DatasetDoc:
        """Cut.

        Parameters
        ----------
        spec : SystemSpec
            The system.
        parent : ParentDoc
            Its parent.
        seed : int
            Seed of the whole dataset.
        n_structures : int, optional
            Structures of training and validation set together; the spec's number by default.
        split : {"disjoint", "random"}
            Whether training and validation blocks share no atom of the parent, or lie anywhere
            (paper).
        protocol : {"corrected", "published"}
            For the card.
        """
        jobstore = current_jobstore()
        document = ParentDoc.model_validate(parent)
        box = ParentBox.of(
            get_structures(jobstore, document.parent), "the parent", spec.composition
        )
        n = n_structures or spec.dataset.n_structures
        n_train = spec.dataset.split(n)
        settings = slice_settings(spec, document.quality["first_peak"])
        try:
            blocks = sliced_sets(
                box,
                spec.composition,
                {"train": n_train, "val": n - n_train},
                settings,
                split,
                spec.dataset.train_fraction,
                np.random.SeedSequence([seed, _SLICES]),
            )
        except DismaiError as error:
            if document.protocol["name"] == "given":
                raise
            kept = document.parent.content_hash[:12]
            raise DismaiError(
                f"{error} (the parent is in the store: --parent store:{kept})"
            ) from None
        how = {"name": protocol, "split": split, **asdict(settings)}
        card = _card(spec, document, box, blocks, settings, how, seed)
        return DatasetDoc(
            kind=self.document_kind,
            system=spec.name,
            card=card,
            sets={
                name: put_structures(jobstore, part.structures, self.chunk_size)
                for name, part in blocks.items()
            },
        )


def _card(
    spec: SystemSpec,
    parent: ParentDoc,
    box: ParentBox,
    blocks: dict[str, SlicedBlocks],
    settings: SliceSettings,
    how: dict[str, Any],
    seed: int,
) -> DatasetCard:
    """Say what a dataset is, and how far to trust it."""
    shared = overlap_report({k: b.parent_index for k, b in blocks.items()}, len(box))
    counts = dict(zip(spec.composition, kind_counts(spec.composition, box.numbers), strict=True))
    silicon = set(spec.composition) == {"Si"}
    return DatasetCard(
        system=spec.name,
        kind=spec.kind,
        composition=spec.composition,
        cell=blocks["train"].structures.cells[0].tolist(),
        counts={name: len(part) for name, part in blocks.items()},
        content_hashes={k: part.structures.content_hash for k, part in blocks.items()},
        protocol={
            **how,
            "relaxed": False,
            "parent": {
                **parent.protocol,
                "content_hash": parent.parent.content_hash,
                "composition": counts,
                "lengths": box.lengths.tolist(),
            },
        },
        seeds={"seed": seed},
        versions=package_versions(_VERSIONED),
        statistics={
            "parent_quality": parent.quality | ({"anchors": SILICON_ANCHORS} if silicon else {}),
            "overlap": shared,
            "changed_atoms": {name: _changes(part) for name, part in blocks.items()},
        },
        warnings=slicing_warnings(spec, parent.quality, counts, blocks, shared, settings),
    )


def slice_settings(spec: SystemSpec, neighbours: float | None) -> SliceSettings:
    """Return how the blocks of a system are cut.

    Parameters
    ----------
    spec : SystemSpec
        The system.
    neighbours : float or None
        Distance of first neighbours in the parent, Å.

    Raises
    ------
    DismaiError
        If neither the spec nor the parent gives the lengths.
    """
    block = spec.amorphous.block
    if neighbours is None and (block.skin is None or block.min_distance is None):
        raise DismaiError(
            f"{spec.origin or spec.name}: g(r) of the parent has no first peak: is it dense "
            "enough? else set key 'block.skin' and 'block.min_distance' in Å"
        )
    if neighbours is not None and neighbours < _NEAREST_NEIGHBOURS and block.skin is None:
        raise DismaiError(
            f"{spec.origin or spec.name}: g(r) of the parent peaks at {neighbours:.2f} Å, nearer "
            "than neighbours are: some of its atoms overlap; mend them, or set key 'block.skin' "
            "and 'block.min_distance' in Å"
        )
    return SliceSettings.for_neighbours(
        neighbours or 0.0, block.face_grid, block.skin, block.min_distance
    )


def _changes(blocks: SlicedBlocks) -> dict[str, Any]:
    """Return how many atoms were added and removed, and how near atoms are."""
    labels = blocks.structures.labels
    return {
        "mean_added": float(labels["n_added"].mean()),
        "mean_removed": float(labels["n_removed"].mean()),
        "most_changed": int((labels["n_added"] + labels["n_removed"]).max()),
        "unchanged_blocks": int((labels["n_added"] + labels["n_removed"] == 0).sum()),
        "closest_pair": float(blocks.closest_pair.min()),
        "mean_closest_pair": float(blocks.closest_pair.mean()),
        "least_distance_of_added": float(blocks.min_distance.min()),
    }

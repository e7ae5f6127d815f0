"""Jobs that make random interfaces and assemble datasets of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jobflow import Maker

from dismaiflow.errors import DismaiError
from dismaiflow.interfaces.built import built_generator, built_system
from dismaiflow.interfaces.duplicates import find_duplicates
from dismaiflow.interfaces.generator import FailedPlacement
from dismaiflow.interfaces.schemas import RandomInterfacesDoc
from dismaiflow.interfaces.statistics import geometry_facts, set_facts
from dismaiflow.interfaces.validity import check_structures
from dismaiflow.jobs import dismai_job
from dismaiflow.progress import report as report_progress
from dismaiflow.store.blobs import current_jobstore
from dismaiflow.store.datasets import DatasetDoc
from dismaiflow.store.structures import get_structures, put_structures
from dismaiflow.structures.dataset import DatasetCard, package_versions
from dismaiflow.structures.structure_set import StructureSet
from dismaiflow.systems import SystemSpec

#: Structures made between two reports of progress.
_AT_ONCE = 25

#: Packages whose versions can change the structures.
_VERSIONED = ("dismaiflow", "numpy", "numba", "scipy", "ase", "pymatgen", "jobflow")

#: Problems of structures that the card quotes.
_QUOTED = 5


@dataclass
class RandomInterfacesPartMaker(Maker):
    """Make a part of a set of random interfaces.

    Parameters
    ----------
    name : str
        The job name.
    chunk_size : int
        Structures of a stored chunk.
    """

    name: str = "random interfaces"
    chunk_size: int = 50

    @dismai_job(output_schema=RandomInterfacesDoc)
    def make(
        self, spec: SystemSpec, draw: dict[str, Any], first: int, last: int
    ) -> RandomInterfacesDoc:
        """Make the structures of these indices.

        Parameters
        ----------
        spec : SystemSpec
            The interface, self-contained.
        draw : dict
            ``seed``, ``n_total``, ``sampling`` and ``exchanges`` of `RandomInterfaces.generate`.
        first, last : int
            Index of the first structure, and of the one after the last.
        """
        generator = built_generator(spec)
        task = f"random interfaces {spec.name}"
        parts: list[StructureSet] = []
        failed: list[FailedPlacement] = []
        report_progress(task, 0, draw["n_total"], "structures")
        for start in range(first, last, _AT_ONCE):
            indices = range(start, min(start + _AT_ONCE, last))
            made = generator.generate(indices, **draw)
            parts.append(made.structures)
            failed += made.report.failures
            report_progress(task, len(indices), draw["n_total"], "structures")
        return RandomInterfacesDoc(
            system=spec.name,
            first=first,
            last=last,
            structures=put_structures(
                current_jobstore(), StructureSet.concatenate(parts), self.chunk_size
            ),
            failed=failed,
        )


@dataclass
class AssembleInterfacesMaker(Maker):
    """Put the parts of a set of random interfaces together.

    Every structure is checked, as one that somebody else generated would be.

    Parameters
    ----------
    name : str
        The job name.
    chunk_size : int
        Structures of a stored chunk.
    """

    name: str = "assemble random interfaces"
    chunk_size: int = 50

    @dismai_job(output_schema=DatasetDoc)
    def make(
        self,
        spec: SystemSpec,
        parts: list[RandomInterfacesDoc | None],
        draw: dict[str, Any],
        protocol: Literal["corrected", "published"] = "corrected",
    ) -> DatasetDoc:
        """Check, split, and write the card.

        Parameters
        ----------
        spec : SystemSpec
            The interface, self-contained.
        parts : list of RandomInterfacesDoc
            What the jobs have made; None where one failed.
        draw : dict
            As for `RandomInterfacesPartMaker.make`.
        protocol : {"corrected", "published"}
            Name for the card.

        Raises
        ------
        DismaiError
            If fewer than two structures were made.
        """
        jobstore = current_jobstore()
        done = [RandomInterfacesDoc.model_validate(part) for part in parts if part is not None]
        whole = StructureSet.concatenate([get_structures(jobstore, d.structures) for d in done])
        failed = [failure for part in done for failure in part.failed]
        if len(whole) < 2:
            reason = failed[0].reason if failed else "its jobs failed"
            raise DismaiError(f"{spec.name}: no dataset of {len(whole)} structures ({reason})")
        system = built_system(spec)
        problems = {
            whole.ids[i]: found for i, found in enumerate(check_structures(whole, system)) if found
        }
        duplicates = find_duplicates(whole)
        # The structures are independent of each other, in no order that means anything, except
        # under stratified sampling, where the order is random too.
        n_train = spec.dataset.split(len(whole))
        sets = {
            "train": whole.select(np.arange(n_train)),
            "val": whole.select(np.arange(n_train, len(whole))),
        }
        card = DatasetCard(
            system=spec.name,
            kind=spec.kind,
            composition=spec.composition,
            cell=system.host.cell.tolist(),
            counts={name: len(part) for name, part in sets.items()},
            content_hashes={name: part.content_hash for name, part in sets.items()},
            protocol=random_protocol(spec, draw, protocol),
            seeds={"seed": draw["seed"]},
            versions=package_versions(_VERSIONED),
            statistics={
                **geometry_facts(system),
                **set_facts(whole),
                "duplicate_groups": len(duplicates),
                "checked": len(whole),
                "invalid": len(problems),
            },
            warnings=_warnings(
                draw["n_total"],
                spec.interface.region.min_distances.scale,
                whole,
                failed,
                problems,
                duplicates,
            ),
        )
        return DatasetDoc(
            system=spec.name,
            card=card,
            sets={
                name: put_structures(jobstore, part, self.chunk_size) for name, part in sets.items()
            },
        )


def random_protocol(spec: SystemSpec, draw: dict[str, Any], name: str) -> dict[str, Any]:
    """Return how random structures were made, for a card.

    Parameters
    ----------
    spec : SystemSpec
        The interface.
    draw : dict
        ``sampling`` and ``exchanges`` of `RandomInterfaces.generate`.
    name : str
        Of the protocol.
    """
    region, exchanges = spec.interface.region, spec.interface.exchanges
    wanted = draw["exchanges"]
    exchanged = exchanges is not None and (exchanges.in_dataset if wanted is None else wanted)
    return {
        "name": name,
        "stage": "random structures, not relaxed",
        "sampling": draw["sampling"],
        "region": f"{region.formula_units} formula units of {region.phase}",
        "thickness": list(region.thickness),
        "lateral_shift": list(region.lateral_shift),
        "min_distance_scale": region.min_distances.scale,
        "exchanges": dict(exchanges.limits) if exchanged and exchanges else None,
        "vacuum": spec.interface.vacuum,
        "atom_order": list(spec.interface.atom_order),
    }


def _warnings(
    n_total: int,
    full_scale: float,
    made: StructureSet,
    failed: list[FailedPlacement],
    problems: dict[str, list[str]],
    duplicates: list[list[int]],
) -> list[str]:
    """Say what is not as it should be."""
    found = []
    scales = made.labels["distance_scale"]
    if (scales < full_scale).any():
        found.append(
            f"smaller minimum distances, for want of room: {int((scales < full_scale).sum())} of "
            f"{len(made)} structures, down to x {scales.min():.3g} instead of {full_scale:g}"
        )
    if len(made) < n_total:
        reason = f": {failed[0].reason}" if failed else ", because jobs failed"
        found.append(f"not made: {n_total - len(made)} of {n_total} structures{reason}")
    if problems:
        quoted = [f"{name}: {texts[0]}" for name, texts in list(problems.items())[:_QUOTED]]
        found.append(f"not valid: {len(problems)} of {len(made)} structures ({'; '.join(quoted)})")
    if duplicates:
        named = ", ".join(made.ids[i] for i in duplicates[0])
        more = f", and {len(duplicates) - 1} more such groups" if len(duplicates) > 1 else ""
        found.append(f"structures {named} are the same{more}")
    return found

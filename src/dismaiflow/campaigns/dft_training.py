"""The training set of a potential: random interfaces relaxed by DFT, and the frames on the way."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from jobflow import Flow, Job, Maker, OnMissing, Response

from dismaiflow.campaigns.dft_runs import CollectRunsMaker, places_of, relax_each
from dismaiflow.campaigns.dft_schemas import RunRow, RunsDoc, get_rows
from dismaiflow.dft.schemas import StoredStructure
from dismaiflow.errors import DismaiError
from dismaiflow.interfaces.built import built_generator, built_system
from dismaiflow.interfaces.generator import GIVE_UP_AFTER
from dismaiflow.interfaces.system import InterfaceSystem
from dismaiflow.jobs import NO_COPIES, dismai_job, ended_by
from dismaiflow.store.blobs import current_jobstore
from dismaiflow.store.frames import FramesDoc, get_frames, put_frames
from dismaiflow.store.structures import put_structures
from dismaiflow.structures.frame_files import FramesCard, counts_of
from dismaiflow.structures.frames import LabelledFrames, SplitKind
from dismaiflow.systems import SystemSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dismaiflow.campaigns.dft_runs import RelaxationMaker
    from dismaiflow.interfaces.slab import Host
    from dismaiflow.structures.structure_set import StructureSet

#: Share of failed runs above which the card warns.
_MANY = 0.2

#: Statuses of runs whose last structure is one that the engine holds for relaxed.
_GOOD = "converged"

#: Å. Random atoms lie between the planes of the slabs; these lie on them.
_PLANE = 1e-6


def region_atoms(host: Host, structures: StructureSet) -> list[tuple[int, ...]]:
    """Return the atoms of the random region of structures that have not been relaxed.

    Parameters
    ----------
    host : Host
        Slabs of the system.
    structures : StructureSet
        With the label ``thickness``, as `RandomInterfaces.generate` gives it.

    Returns
    -------
    list of tuple of int
        Indices of the atoms between the top plane of the substrate and the lowest of the film,
        ions that were exchanged into the region included.
    """
    bottom = host.substrate.height
    found = []
    for index in range(len(structures)):
        z = structures.positions[structures.slice_of(index), 2]
        top = bottom + float(structures.labels["thickness"][index])
        inside = (z > bottom + _PLANE) & (z < top - _PLANE)
        found.append(tuple(int(i) for i in np.flatnonzero(inside)))
    return found


@dataclass
class RelaxRandomMaker(Maker):
    """Make some random interfaces and send each of them to a relaxation.

    Parameters
    ----------
    name : str
        The job name.
    relax_maker : RelaxationMaker, optional
        Relaxes one structure; by default VASP in two stages, as the system's spec says.
    collect_maker : CollectRunsMaker
        Gathers the runs.
    """

    name: str = "relax random"
    relax_maker: RelaxationMaker | None = None
    collect_maker: CollectRunsMaker = field(default_factory=CollectRunsMaker)

    @dismai_job(output_schema=RunsDoc)
    def make(
        self, spec: SystemSpec, seed: int, first: int, last: int, exchanges: bool
    ) -> Response[Any]:
        """Make and send.

        Parameters
        ----------
        spec : SystemSpec
            The interface, self-contained.
        seed : int
            Seed of the structures; each depends on it and on its index alone.
        first, last : int
            Index of the first structure, and of the one after the last.
        exchanges : bool
            Whether ions of region and substrate are exchanged.
        """
        system = built_system(spec)
        made = built_generator(spec).generate(range(first, last), seed, exchanges=exchanges)
        if not len(made.structures):
            raise DismaiError(
                f"{spec.name}: none of the structures {first} to {last - 1} could be made: "
                f"{made.report.failures[0].reason}"
            )
        kind = "exchanged" if exchanges else "random"
        parents = [f"{kind}-{int(name):06d}" for name in made.structures.ids]
        reference = put_structures(
            current_jobstore(), made.structures, self.collect_maker.chunk_size
        )
        free = region_atoms(system.host, made.structures)
        chosen = [
            StoredStructure(blob=blob, place=place, parent=parent, free=mask)
            for (blob, place), parent, mask in zip(places_of(reference), parents, free, strict=True)
        ]
        jobs, outputs = relax_each(self.relax_maker or two_stages(spec), chosen)
        collect = self.collect_maker.make(spec.name, parents, outputs)
        collect.name = f"{self.collect_maker.name} {kind} {first}-{last - 1}"
        return ended_by(jobs, collect)


def two_stages(spec: SystemSpec) -> RelaxationMaker:
    """Return the relaxation by VASP in two stages that a system's spec asks for."""
    from dismaiflow.dft.makers import TwoStageRelaxMaker

    return TwoStageRelaxMaker.from_spec(spec)


@dataclass
class AssembleFramesMaker(Maker):
    """Put the frames of all runs together, and divide them.

    Parameters
    ----------
    name : str
        The job name.
    split : {"parent", "frame"}
        Whether whole relaxations or single frames are divided; the paper divides frames.
    fractions : 3 float
        Shares for training, validation and test.
    """

    name: str = "assemble training set"
    split: SplitKind = "parent"
    fractions: tuple[float, float, float] = (0.8, 0.1, 0.1)

    @dismai_job(output_schema=FramesDoc)
    def make(
        self,
        system: str,
        parts: list[RunsDoc | None],
        seed: int = 0,
        protocol: dict[str, Any] | None = None,
    ) -> FramesDoc:
        """Assemble.

        Parameters
        ----------
        system : str
            Name of the system.
        parts : list of RunsDoc
            The runs; None where the job that made structures failed.
        seed : int
            Seed of the division.
        protocol : dict, optional
            For the card.

        Raises
        ------
        DismaiError
            If there are frames of fewer than three relaxations; how runs ended is counted.
        """
        jobstore = current_jobstore()
        there = [RunsDoc.model_validate(part) for part in parts if part is not None]
        rows = [row for part in there for row in get_rows(jobstore, part.rows)]
        frames = LabelledFrames.concatenate(
            [get_frames(jobstore, part.frames) for part in there if part.frames is not None]
        )
        runs = dict(Counter(row.status for row in rows).most_common())
        try:
            sets = frames.split(self.split, self.fractions, seed)
        except DismaiError as error:
            raise DismaiError(
                f"{system}: {error}; the runs ended as: {_words(runs)}{first_reason(rows)}"
            ) from None
        card = FramesCard(
            system=system,
            **counts_of(sets),
            split={"by": self.split, "fractions": list(self.fractions)},
            protocol=protocol or {},
            runs=runs,
            seeds={"seed": seed},
            statistics=_statistics(rows, frames),
            warnings=_warnings(rows, frames, len(parts) - len(there), self.split),
        )
        references = {name: put_frames(jobstore, part) for name, part in sets.items()}
        return FramesDoc(system=system, card=card, sets=references)


def _words(counts: dict[str, int]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {n}" for name, n in counts.items()) or "none ran"


def first_reason(rows: Sequence[RunRow]) -> str:
    """Quote the first run that did not end well, in brackets."""
    bad = next((row for row in rows if row.status != _GOOD), None)
    return f" ({bad.parent}: {bad.reason})" if bad is not None else ""


def _statistics(rows: Sequence[RunRow], frames: LabelledFrames) -> dict[str, Any]:
    steps = np.array([row.n_steps for row in rows if row.n_steps], dtype=float)
    sizes = np.linalg.norm(frames.forces, axis=1)
    per_atom = frames.energies / frames.structures.n_atoms
    return {
        "n_relaxations": len(rows),
        "n_final": int(frames.final.sum()),
        "n_intermediate": int((~frames.final).sum()),
        "ionic_steps": {"mean": float(steps.mean()), "max": int(steps.max())} if len(steps) else {},
        "restarts": sum(row.n_restarts for row in rows),
        "corrections": dict(Counter(c for row in rows for c in row.corrections).most_common()),
        "unconverged_electronic_steps": sum(row.n_unconverged_steps for row in rows),
        "absurd_steps": sum(row.n_absurd_steps for row in rows),
        "energy_per_atom": {"mean": float(per_atom.mean()), "std": float(per_atom.std())},
        "force": {"rms": float(np.sqrt((sizes**2).mean())), "max": float(sizes.max())},
    }


def _warnings(
    rows: Sequence[RunRow], frames: LabelledFrames, n_lost: int, split: SplitKind
) -> list[str]:
    found = []
    if any(label.rehearsal for label in frames.labels):
        found.append(
            "a rehearsal: a stand-in for VASP made these numbers up; nothing here is a result of "
            "DFT"
        )
    if len(frames.labels) > 1:
        titles = "; ".join(label.title for label in frames.labels)
        found.append(f"frames of {len(frames.labels)} different calculations: {titles}")
    bad = [row for row in rows if row.status != _GOOD]
    if len(bad) > _MANY * len(rows):
        counts = dict(Counter(row.status for row in bad).most_common())
        found.append(
            f"{len(bad)} of {len(rows)} runs did not end well: {_words(counts)}{first_reason(bad)}"
        )
    if n_lost:
        found.append(f"{n_lost} jobs that make structures failed")
    if split == "frame":
        found.append(
            "frames of one relaxation are in several sets, as in the paper: errors on the test set "
            "tell of near copies of what was trained on"
        )
    return found


@dataclass
class DFTTrainingSetMaker(Maker):
    """Make the training set of a potential (paper, sections 4.5 and 4.6).

    Random interfaces, some with mutual exchanges of ions, are relaxed by DFT in two stages; ionic
    steps of the second, and its end, become frames.

    Parameters
    ----------
    name : str
        The flow name.
    runs_per_job : int
        Relaxations that one dispatching job sends out.
    relax_random_maker : RelaxRandomMaker
        Makes structures and sends them out; its ``relax_maker`` is the engine.
    assemble_maker : AssembleFramesMaker
        Puts the frames together and divides them.
    """

    name: str = "DFT training set"
    runs_per_job: int = 25
    relax_random_maker: RelaxRandomMaker = field(default_factory=RelaxRandomMaker)
    assemble_maker: AssembleFramesMaker = field(default_factory=AssembleFramesMaker)

    def make(
        self,
        spec: SystemSpec,
        seed: int = 0,
        n_without: int | None = None,
        n_with: int | None = None,
    ) -> Flow:
        """Build the flow.

        Parameters
        ----------
        spec : SystemSpec
            The interface.
        seed : int
            Seed of the structures and of the division.
        n_without, n_with : int, optional
            Structures without and with exchanges; by default as key ``exchanges`` says (350 and
            600 for the paper's interface).

        Returns
        -------
        Flow
            Its output is a `FramesDoc`.

        Raises
        ------
        DismaiError
            If the system is no interface or cannot be built, or nothing is asked for.
        """
        whole = InterfaceSystem.from_spec(spec).spec
        block = whole.interface.exchanges
        wanted = [
            (False, (block.n_without if block else 0) if n_without is None else n_without),
            (True, (block.n_with if block else 0) if n_with is None else n_with),
        ]
        total = sum(n for _, n in wanted)
        if min(n for _, n in wanted) < 0:
            raise DismaiError("the numbers of structures of a training set are 0 at least")
        if total < 3:
            raise DismaiError(
                f"{spec.origin or spec.name}: {total} structures are too few for a training set: "
                "give their numbers, or keys 'exchanges.n_without' and 'exchanges.n_with'"
            )
        jobs: list[Job] = []
        start = 0
        for exchanges, n in wanted:
            if n:
                self._try(whole, seed, start, min(n, GIVE_UP_AFTER), exchanges)
            for first in range(start, start + n, self.runs_per_job):
                last = min(first + self.runs_per_job, start + n)
                job = self._maker(whole).make(whole, seed, first, last, exchanges)
                job.name = f"{self.relax_random_maker.name} {spec.name} {first}-{last - 1}"
                jobs.append(job)
            start += n
        assert whole.interface.dft is not None or self.relax_random_maker.relax_maker is not None
        protocol = {
            "n_without_exchanges": wanted[0][1],
            "n_with_exchanges": wanted[1][1],
            "dft": whole.interface.dft.model_dump(mode="json") if whole.interface.dft else None,
            "assemble": asdict(self.assemble_maker),
        }
        last_job = self.assemble_maker.make(spec.name, [j.output for j in jobs], seed, protocol)
        # Structures of a job that failed are missing from the set; the others are not.
        last_job.config.on_missing_references = OnMissing.NONE
        last_job.config.manager_config |= NO_COPIES
        flow = Flow([*jobs, last_job], output=last_job.output, name=f"{self.name} {spec.name}")
        flow.update_metadata(
            {"system": spec.name, "model": "none", "protocol": "corrected"}, dynamic=True
        )
        return flow

    def _maker(self, spec: SystemSpec) -> RelaxRandomMaker:
        """Return the Maker with its engine in place, so that powerups on the flow reach it."""
        given = self.relax_random_maker
        if given.relax_maker is not None:
            return given
        return RelaxRandomMaker(given.name, two_stages(spec), given.collect_maker)

    @staticmethod
    def _try(spec: SystemSpec, seed: int, start: int, n: int, exchanges: bool) -> None:
        """Make the first structures here, so that what is wrong is said before anything runs."""
        try:
            built_generator(spec).generate(range(start, start + n), seed, exchanges=exchanges)
        except DismaiError as error:
            raise DismaiError(f"{spec.origin or spec.name}: {error}") from None

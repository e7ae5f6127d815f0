"""Datasets of an amorphous system: blocks of a parent, relaxed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from jobflow import Flow, Job, Maker

from dismaiflow.amorphous.flows import AmorphousSlicesMaker
from dismaiflow.benchmark.protocol import ScoringProtocol
from dismaiflow.benchmark.structure_flows import relaxation_request
from dismaiflow.campaigns.amorphous_jobs import AssembleBlocksMaker
from dismaiflow.potentials.cards import check_known
from dismaiflow.potentials.jobs import RelaxSetMaker

if TYPE_CHECKING:
    from dismaiflow.potentials.store import PotentialRef
    from dismaiflow.store.structures import StructuresRef
    from dismaiflow.systems import SystemSpec


@dataclass
class AmorphousDatasetMaker(Maker):
    """Make the dataset of an amorphous system (paper, sections 2.1.2 and 4.1.2).

    A parent is made or given, blocks are cut from it and relaxed. What does not converge is left
    out and counted on the card. The protocol is that of ``slices_maker``; under ``corrected`` atoms
    that are too close are pushed apart before the relaxation, as they are before a score.

    Parameters
    ----------
    name : str
        The flow name.
    slices_maker : AmorphousSlicesMaker
        Makes or judges the parent, and cuts it.
    relax_maker : RelaxSetMaker
        Relaxes training and validation blocks.
    assemble_maker : AssembleBlocksMaker
        Puts together what converged.
    """

    name: str = "amorphous dataset"
    slices_maker: AmorphousSlicesMaker = field(default_factory=AmorphousSlicesMaker)
    relax_maker: RelaxSetMaker = field(default_factory=RelaxSetMaker)
    assemble_maker: AssembleBlocksMaker = field(default_factory=AssembleBlocksMaker)

    def make(
        self,
        spec: SystemSpec,
        potential: PotentialRef,
        seed: int = 0,
        n_structures: int | None = None,
        parent: StructuresRef | None = None,
    ) -> Flow:
        """Build the flow.

        Parameters
        ----------
        spec : SystemSpec
            The system; its ``dataset.relaxation`` has optimiser and limits.
        potential : PotentialRef
            Relaxes the blocks, in the store.
        seed : int
            Seed of all randomness.
        n_structures : int, optional
            Blocks that are cut; the spec's by default. The dataset has so many structures if all
            of them converge.
        parent : StructuresRef, optional
            A parent that is in the store; made by melt-quench by default.

        Returns
        -------
        Flow
            Its output is a `DatasetDoc`.

        Raises
        ------
        DismaiError
            See `AmorphousSlicesMaker.make`; or if the potential does not know the elements, or
            the spec asks for a relaxation of the cell.
        """
        # The blocks before relaxation are no dataset of their own.
        slicer = replace(self.slices_maker.slice_maker, document_kind="unrelaxed_blocks")
        slices_maker = replace(self.slices_maker, slice_maker=slicer)
        slices = slices_maker.make(spec, seed, n_structures, parent)
        known = potential.card.elements
        if known is not None:
            check_known(potential.card.name, known, spec.composition)
        name = self.slices_maker.protocol
        protocol = ScoringProtocol.for_kind(spec.kind, name)
        # The published dataset was relaxed as it was cut; only generated atoms were pushed apart.
        request = relaxation_request(spec, protocol, push=name == "corrected").plain()
        relaxed: dict[str, Job] = {}
        for part in ("train", "val"):
            blocks = slices.output.sets[part]
            relaxed[part] = self.relax_maker.make(
                spec.name, blocks, potential, request, label=f"{spec.name} {part}"
            )
            relaxed[part].name = f"{self.relax_maker.name} {spec.name} {part}"
        outputs = {part: job.output for part, job in relaxed.items()}
        assemble = self.assemble_maker.make(spec, slices.output, outputs)
        assemble.name = f"{self.assemble_maker.name} {spec.name}"
        flow = Flow(
            [slices, *relaxed.values(), assemble],
            output=assemble.output,
            name=f"{self.name} {spec.name}",
        )
        flow.update_metadata({"system": spec.name, "model": "none", "protocol": name}, dynamic=True)
        return flow

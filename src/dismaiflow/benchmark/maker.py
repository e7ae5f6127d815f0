"""The benchmark of any system: controls and score in one flow."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jobflow import Flow, Maker

from dismaiflow.benchmark.flows import AlloyControlsMaker, ScoreAlloyMaker
from dismaiflow.benchmark.structure_flows import (
    KnownReference,
    PrepareReferenceMaker,
    ScoreStructuresMaker,
    StructureControlsMaker,
)
from dismaiflow.errors import DismaiError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dismaiflow.benchmark.protocol import ScoringProtocol
    from dismaiflow.benchmark.schemas import ControlsDoc
    from dismaiflow.benchmark.structure_flows import RelaxationPlan
    from dismaiflow.store.generated import GeneratedSet
    from dismaiflow.store.structures import StructuresRef
    from dismaiflow.systems import SystemSpec


@dataclass
class BenchmarkMaker(Maker):
    """Score generated structures of any system beside its controls.

    The kind of the system decides how: clusters of alloys are counted on their lattice;
    interfaces and amorphous structures are post-processed, relaxed, analysed and compared.

    Parameters
    ----------
    name : str
        The flow name.
    alloy_maker : ScoreAlloyMaker
        Scores alloys.
    alloy_controls_maker : AlloyControlsMaker
        Scores their controls.
    reference_maker : PrepareReferenceMaker
        Relaxes and analyses the reference of the others, once for score and controls.
    structures_maker : ScoreStructuresMaker
        Scores interfaces and amorphous structures.
    structure_controls_maker : StructureControlsMaker
        Scores their controls.
    """

    name: str = "benchmark"
    alloy_maker: ScoreAlloyMaker = field(default_factory=ScoreAlloyMaker)
    alloy_controls_maker: AlloyControlsMaker = field(default_factory=AlloyControlsMaker)
    reference_maker: PrepareReferenceMaker = field(default_factory=PrepareReferenceMaker)
    structures_maker: ScoreStructuresMaker = field(default_factory=ScoreStructuresMaker)
    structure_controls_maker: StructureControlsMaker = field(default_factory=StructureControlsMaker)

    def make(
        self,
        spec: SystemSpec,
        protocol: ScoringProtocol,
        reference: StructuresRef,
        generated: Sequence[GeneratedSet],
        reference_name: str = "reference",
        model: str = "unnamed",
        controls: ControlsDoc | bool = True,
        validation: GeneratedSet | None = None,
        relaxation: RelaxationPlan | None = None,
        known: KnownReference | None = None,
        own_cells: bool = False,
        marks: Sequence[str] = (),
        high: GeneratedSet | None = None,
        role: str = "generated",
    ) -> Flow:
        """Build the flow.

        Parameters
        ----------
        spec : SystemSpec
            The system.
        protocol : ScoringProtocol
            By which (`ScoringProtocol.for_kind`).
        reference : StructuresRef
            The reference set, in the store.
        generated : sequence of GeneratedSet
            The generated sets, in the store; one per separately trained model.
        reference_name, model : str
            What to call them.
        controls : ControlsDoc or bool
            Scores of the controls where they are known; otherwise whether to score them.
        validation : GeneratedSet, optional
            A validation set, one of the controls.
        relaxation, known, own_cells, marks
            Of interfaces and amorphous systems: see `ScoreStructuresMaker.make`.
        high : GeneratedSet, optional
            Of interfaces: structures above the cut of the energy, one of the controls.
        role : {"generated", "control"}
            Of alloys: whether a control has made the structures.

        Returns
        -------
        Flow
            Its output is a `ScoreDoc`.

        Raises
        ------
        DismaiError
            If an alloy is to be relaxed, or to keep cells of its own.
        """
        if spec.kind == "alloy":
            _check_alloy(spec, relaxation, own_cells)
            return self._alloy(
                spec,
                protocol,
                reference,
                generated,
                reference_name,
                model,
                controls,
                validation,
                role,
            )
        before: list[Flow] = []
        beside: Any = controls or None
        if controls is True:
            if known is None or known.analysed is None:
                ready = self.reference_maker.make(spec, protocol, reference, relaxation, known)
                known = KnownReference(**ready.output)
                before.append(ready)
            others = self.structure_controls_maker.make(
                spec, protocol, reference, validation, relaxation, known, high=high
            )
            before.append(others)
            beside = others.output
        score = self.structures_maker.make(
            spec,
            protocol,
            reference,
            generated,
            reference_name,
            model,
            beside,
            relaxation,
            known,
            own_cells,
            marks,
        )
        return Flow([*before, score], output=score.output, name=score.name) if before else score

    def _alloy(
        self,
        spec: SystemSpec,
        protocol: ScoringProtocol,
        reference: StructuresRef,
        generated: Sequence[GeneratedSet],
        reference_name: str,
        model: str,
        controls: ControlsDoc | bool,
        validation: GeneratedSet | None,
        role: str,
    ) -> Flow:
        beside: Any = controls or None
        before: list[Flow] = []
        if controls is True:
            before = [self.alloy_controls_maker.make(spec, [protocol], reference, validation)]
            beside = before[0].output[protocol.key]
        score = self.alloy_maker.make(
            spec, protocol, reference, generated, reference_name, model, beside, role
        )
        return Flow([*before, score], output=score.output, name=score.name) if before else score


def _check_alloy(spec: SystemSpec, relaxation: RelaxationPlan | None, own_cells: bool) -> None:
    """Refuse what has no meaning for structures on a lattice."""
    if relaxation is not None:
        raise DismaiError(
            f"{spec.name} is an alloy: its structures are scored as they are, without a potential"
        )
    if own_cells:
        raise DismaiError(
            f"{spec.name} is an alloy: its clusters are counted in the cell of the reference, and "
            "--generated-lattice does not apply"
        )

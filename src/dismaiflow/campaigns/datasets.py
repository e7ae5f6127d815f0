"""Datasets of systems of any kind in one flow."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jobflow import Flow, Job, Maker

from dismaiflow.amorphous.flows import AmorphousSlicesMaker
from dismaiflow.campaigns.alloy import AlloyBenchmarkMaker
from dismaiflow.campaigns.relaxed import RelaxedBenchmarkMaker
from dismaiflow.errors import DismaiError
from dismaiflow.interfaces.flows import RandomInterfacesMaker

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dismaiflow.potentials.store import PotentialRef
    from dismaiflow.store.structures import StructuresRef
    from dismaiflow.systems import SystemSpec


@dataclass
class DatasetsMaker(Maker):
    """Make the dataset of each system by the Maker of its kind.

    Parameters
    ----------
    name : str
        The flow name.
    alloy_maker : AlloyBenchmarkMaker
        Makes alloys, with the scores of their controls.
    interface_maker : RandomInterfacesMaker
        Makes random interfaces, where no potential is given.
    amorphous_maker : AmorphousSlicesMaker
        Makes unrelaxed blocks, where no potential is given.
    relaxed_maker : RelaxedBenchmarkMaker
        Makes relaxed interfaces and amorphous systems, with the scores of their controls.
    """

    name: str = "datasets"
    alloy_maker: AlloyBenchmarkMaker = field(default_factory=AlloyBenchmarkMaker)
    interface_maker: RandomInterfacesMaker = field(default_factory=RandomInterfacesMaker)
    amorphous_maker: AmorphousSlicesMaker = field(default_factory=AmorphousSlicesMaker)
    relaxed_maker: RelaxedBenchmarkMaker = field(default_factory=RelaxedBenchmarkMaker)

    def make(
        self,
        specs: Sequence[SystemSpec],
        seed: int = 0,
        n_structures: int | None = None,
        parents: Mapping[str, StructuresRef] | None = None,
        potentials: Mapping[str, PotentialRef] | None = None,
    ) -> Flow:
        """Build the flow.

        Parameters
        ----------
        specs : sequence of SystemSpec
            The systems, each once.
        seed : int
            Seed of all randomness; a dataset does not depend on which others are made with it.
        n_structures : int, optional
            Structures of each dataset; the spec's by default.
        parents : dict of str to StructuresRef, optional
            By amorphous system: the structure in the store that is sliced. Without one it is made
            by melt-quench.
        potentials : dict of str to PotentialRef, optional
            By interface or amorphous system: what relaxes it, in the store. Without one the
            structures are left as they are made.

        Returns
        -------
        Flow
            Its output has ``datasets`` (`DatasetDoc` by system) and ``controls`` (by system, a dict
            of `ControlsDoc` by protocol key; none for what is not relaxed).

        Raises
        ------
        DismaiError
            If a system is named twice, or its Maker refuses it.
        """
        names = [spec.name for spec in specs]
        if not names or len(set(names)) < len(names):
            raise DismaiError("name the systems to make, each once")
        alloys = [spec for spec in specs if spec.kind == "alloy"]
        parts: list[Job | Flow] = []
        datasets: dict[str, Any] = {}
        controls: dict[str, Any] = {}
        if alloys:
            made = self.alloy_maker.make(alloys, seed, n_structures)
            if len(alloys) == len(specs):
                return made
            parts.append(made)
            datasets |= made.output["datasets"]
            controls |= made.output["controls"]
        for spec in specs:
            if spec.kind == "alloy":
                continue
            parent = (parents or {}).get(spec.name)
            potential = (potentials or {}).get(spec.name)
            if potential is not None:
                made = self.relaxed_maker.make(spec, potential, seed, n_structures, parent)
                datasets[spec.name] = made.output["dataset"]
                controls[spec.name] = made.output["controls"]
            elif spec.kind == "interface":
                made = self.interface_maker.make(spec, seed, n_structures)
                datasets[spec.name] = made.output
            else:
                made = self.amorphous_maker.make(spec, seed, n_structures, parent)
                datasets[spec.name] = made.output
            parts.append(made)
        name = parts[0].name if len(parts) == 1 else self.name
        return Flow(parts, output={"datasets": datasets, "controls": controls}, name=name)

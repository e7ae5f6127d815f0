"""Datasets of systems of any kind in one flow."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jobflow import Flow, Job, Maker

from dismaiflow.amorphous.flows import AmorphousSlicesMaker
from dismaiflow.campaigns.alloy import AlloyBenchmarkMaker
from dismaiflow.errors import DismaiError
from dismaiflow.interfaces.flows import RandomInterfacesMaker

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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
        Makes interfaces.
    amorphous_maker : AmorphousSlicesMaker
        Makes amorphous systems.
    """

    name: str = "datasets"
    alloy_maker: AlloyBenchmarkMaker = field(default_factory=AlloyBenchmarkMaker)
    interface_maker: RandomInterfacesMaker = field(default_factory=RandomInterfacesMaker)
    amorphous_maker: AmorphousSlicesMaker = field(default_factory=AmorphousSlicesMaker)

    def make(
        self,
        specs: Sequence[SystemSpec],
        seed: int = 0,
        n_structures: int | None = None,
        parents: Mapping[str, StructuresRef] | None = None,
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

        Returns
        -------
        Flow
            Its output has ``datasets`` (`DatasetDoc` by system) and ``controls`` (by alloy, a dict
            of `ControlsDoc` by protocol key).

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
            if spec.kind == "interface":
                made = self.interface_maker.make(spec, seed, n_structures)
            elif spec.kind == "amorphous":
                parent = (parents or {}).get(spec.name)
                made = self.amorphous_maker.make(spec, seed, n_structures, parent)
            else:
                continue
            parts.append(made)
            datasets[spec.name] = made.output
        name = parts[0].name if len(parts) == 1 else self.name
        return Flow(parts, output={"datasets": datasets, "controls": controls}, name=name)

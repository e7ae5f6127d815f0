"""Flows that make sets of random interfaces."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from jobflow import Flow, Maker, OnMissing

from dismaiflow.errors import DismaiError
from dismaiflow.interfaces.generator import GIVE_UP_AFTER, RandomInterfaces
from dismaiflow.interfaces.jobs import AssembleInterfacesMaker, RandomInterfacesPartMaker
from dismaiflow.interfaces.sampling import SamplingKind
from dismaiflow.interfaces.system import InterfaceSystem
from dismaiflow.structures.dataset import check_request

if TYPE_CHECKING:
    from dismaiflow.systems import SystemSpec


@dataclass
class RandomInterfacesMaker(Maker):
    """Make a dataset of random interfaces, before any relaxation (paper, section 4.1.3).

    Parameters
    ----------
    name : str
        The flow name.
    protocol : {"corrected", "published"}
        Name under which the set is known; both make the same structures.
    sampling : {"random", "stratified", "quasi-random"}
        How thickness and displacement are drawn; the paper's is ``random``.
    exchanges : bool, optional
        Whether ions of region and substrate are exchanged; by default as the spec says.
    structures_per_job : int
        Structures that one job makes.
    part_maker : RandomInterfacesPartMaker
        Makes a part of the set.
    assemble_maker : AssembleInterfacesMaker
        Puts the parts together, checks them and writes the card.
    """

    name: str = "random interfaces"
    protocol: Literal["corrected", "published"] = "corrected"
    sampling: SamplingKind = "random"
    exchanges: bool | None = None
    structures_per_job: int = 500
    part_maker: RandomInterfacesPartMaker = field(default_factory=RandomInterfacesPartMaker)
    assemble_maker: AssembleInterfacesMaker = field(default_factory=AssembleInterfacesMaker)

    def make(self, spec: SystemSpec, seed: int = 0, n_structures: int | None = None) -> Flow:
        """Build the flow.

        Parameters
        ----------
        spec : SystemSpec
            The interface. Its slabs are built and the first structures tried here already, so
            that what is wrong with it is said before anything runs.
        seed : int
            Seed of all randomness. A structure depends on it and on its own index, not on how the
            set is cut into jobs.
        n_structures : int, optional
            Structures of the dataset; the spec's by default.

        Returns
        -------
        Flow
            Its output is a `DatasetDoc`.

        Raises
        ------
        DismaiError
            If the system is no interface, cannot be built, or the sizes make no sense.
        """
        n = spec.dataset.n_structures if n_structures is None else n_structures
        check_request(seed, n)
        system = InterfaceSystem.from_spec(spec)
        whole = system.spec
        draw: dict[str, Any] = {
            "seed": seed,
            "n_total": n,
            "sampling": self.sampling,
            "exchanges": self.exchanges,
        }
        generator = RandomInterfaces(system.host, whole.interface, whole.species)
        try:
            generator.generate(range(min(n, GIVE_UP_AFTER)), **draw)
        except DismaiError as error:
            raise DismaiError(f"{spec.origin or spec.name}: {error}") from None
        parts = []
        for first in range(0, n, self.structures_per_job):
            last = min(first + self.structures_per_job, n)
            part = self.part_maker.make(whole, draw, first, last)
            part.name = f"{self.part_maker.name} {spec.name} {first}-{last - 1}"
            parts.append(part)
        outputs = [part.output for part in parts]
        assemble = self.assemble_maker.make(whole, outputs, draw, self.protocol)
        assemble.name = f"{self.assemble_maker.name} {spec.name}"
        # A part that failed is missing on the card; it does not take the others along.
        assemble.config.on_missing_references = OnMissing.NONE
        flow = Flow([*parts, assemble], output=assemble.output, name=f"{self.name} {spec.name}")
        flow.update_metadata({"system": spec.name, "model": "none", "protocol": self.protocol})
        return flow

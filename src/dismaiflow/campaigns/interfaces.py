"""Datasets of relaxed interfaces of low energy."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from jobflow import Flow, Maker

from dismaiflow.benchmark.published import is_published_potential
from dismaiflow.campaigns.dft_stage import DFTStageMaker, second_stage
from dismaiflow.campaigns.interface_search import SearchMaker
from dismaiflow.campaigns.schemas import SearchState
from dismaiflow.errors import DismaiError
from dismaiflow.interfaces.generator import GIVE_UP_AFTER, RandomInterfaces
from dismaiflow.interfaces.sampling import SamplingKind
from dismaiflow.interfaces.search import SearchMethod, SearchSettings
from dismaiflow.interfaces.system import InterfaceSystem
from dismaiflow.potentials.relaxation import RelaxationSettings
from dismaiflow.potentials.store import PotentialRef
from dismaiflow.potentials.treatment import RelaxationRequest
from dismaiflow.structures.dataset import check_request

if TYPE_CHECKING:
    from jobflow import OutputReference

    from dismaiflow.systems import SystemSpec


@dataclass
class InterfaceDatasetMaker(Maker):
    """Make a dataset of relaxed interfaces of low energy (paper, sections 2.1.3 and 4.1.3).

    Random interfaces are made and relaxed in jobs, round by round, and rated by their normalised
    interface energy (eq. 6). Those at most 0.4 J/m^2 above the lowest are kept, until there are
    enough or the budget is spent; the others become the set ``high`` (section 2.5).

    Parameters
    ----------
    name : str
        The flow name.
    protocol : {"corrected", "published"}
        ``published`` relaxes with the tolerance of the published scripts, and keeps duplicates.
    method : {"random", "mutation", "surrogate"}
        How structures are proposed; the paper's is ``random``.
    sampling : {"random", "quasi-random"}
        How thickness and displacement of random structures are drawn; the paper's is ``random``.
    n_pilot : int, optional
        Structures of the first round; by default the number that is wanted, at most 100.
    max_structures : int, optional
        Budget: structures that are tried; by default 20 for each one that is wanted.
    max_force_calls : int, optional
        Budget: evaluations of the potential.
    search_maker : SearchMaker
        Runs the rounds.
    """

    name: str = "interface dataset"
    protocol: Literal["corrected", "published"] = "corrected"
    method: SearchMethod = "random"
    sampling: SamplingKind = "random"
    n_pilot: int | None = None
    max_structures: int | None = None
    max_force_calls: int | None = None
    search_maker: SearchMaker = field(default_factory=SearchMaker)

    def make(
        self,
        spec: SystemSpec,
        potential: PotentialRef | OutputReference,
        seed: int = 0,
        n_structures: int | None = None,
    ) -> Flow:
        """Build the flow.

        Parameters
        ----------
        spec : SystemSpec
            The interface. Its slabs are built and the first structures tried here already, so
            that what is wrong with it is said before anything runs.
        potential : PotentialRef
            What relaxes, in the store; or the reference to the output of a job that trains it.
        seed : int
            Seed of all randomness. The same seed gives the same dataset however many workers run.
        n_structures : int, optional
            Structures of low energy; the spec's by default.

        Returns
        -------
        Flow
            Its output is a `DatasetDoc` with the sets ``train``, ``val`` and ``high``.

        Raises
        ------
        DismaiError
            If the system is no interface, cannot be built, or the sizes make no sense.
        """
        n = spec.dataset.n_structures if n_structures is None else n_structures
        check_request(seed, n)
        settings = self._settings(n, seed)
        system = InterfaceSystem.from_spec(spec)
        whole = system.spec
        assert whole.dataset.relaxation is not None, "every interface has a relaxation block"
        try:
            relaxation = RelaxationSettings.from_block(whole.dataset.relaxation, self.protocol)
            RandomInterfaces(system.host, whole.interface, whole.species).generate(
                range(min(settings.n_pilot, GIVE_UP_AFTER)), seed, sampling=self.sampling
            )
        except DismaiError as error:
            raise DismaiError(f"{spec.origin or spec.name}: {error}") from None
        history = []
        # A potential that is trained in the same flow is not the published one, and energies of
        # DFT have another zero than its.
        own = (
            self.search_maker.dft_maker is None
            and isinstance(potential, PotentialRef)
            and is_published_potential(whole.name, potential.card)
        )
        if own and whole.reference_energy is not None:
            history = [{"value": whole.reference_energy, "after": 0, "fixed": True}]
        search_maker = self._search_maker(whole)
        search = search_maker.make(
            whole,
            settings.as_dict(),
            potential,
            RelaxationRequest(relaxation).plain(),
            self.protocol,
            SearchState(history=history),
        )
        search.name = f"{search_maker.name} {spec.name}"
        flow = Flow([search], output=search.output, name=f"{self.name} {spec.name}")
        flow.update_metadata(
            {"system": spec.name, "model": "none", "protocol": self.protocol}, dynamic=True
        )
        return flow

    def _search_maker(self, spec: SystemSpec) -> SearchMaker:
        """Return the Maker of the rounds; one that runs DFT is filled in by the spec."""
        given = self.search_maker
        stage = given.dft_maker
        if stage is None or stage.relax_maker is not None:
            return given
        # Here already, so that powerups on the flow reach the engine.
        filled = replace(stage, relax_maker=second_stage(spec))
        return replace(given, dft_maker=filled)

    def _settings(self, n: int, seed: int) -> SearchSettings:
        if self.sampling == "stratified":
            raise DismaiError(
                "stratified sampling must know all structures beforehand, which a search does not: "
                "take quasi-random"
            )
        return SearchSettings.for_count(
            n,
            self.n_pilot,
            self.max_structures,
            seed=seed,
            max_force_calls=self.max_force_calls,
            method=self.method,
            sampling=self.sampling,
            drop_duplicates=self.protocol == "corrected",
        )


def _search_with_dft() -> SearchMaker:
    return SearchMaker(name="judge DFT search", dft_maker=DFTStageMaker())


@dataclass
class InterfaceDFTDatasetMaker(InterfaceDatasetMaker):
    """Make datasets of low and of high energy that a potential relaxed, and DFT after it.

    These are the sets of section 4.4 of the paper, on which CryinGAN was developed; the card holds
    the figures of Table 5: how near to convergence in DFT the potential brings structures.

    Parameters
    ----------
    name : str
        The flow name.
    n_high : int, optional
        Structures of high energy; by default as many as of low energy, 1,500 each for the paper's
        interface.
    search_maker : SearchMaker
        Runs the rounds; its ``dft_maker`` is the second stage of relaxation.
    protocol, method, sampling, n_pilot, max_structures, max_force_calls
        See `InterfaceDatasetMaker`.
    """

    name: str = "interface DFT dataset"
    n_high: int | None = None
    search_maker: SearchMaker = field(default_factory=_search_with_dft)

    def _settings(self, n: int, seed: int) -> SearchSettings:
        wanted = n if self.n_high is None else self.n_high
        return replace(super()._settings(n, seed), n_high=wanted)

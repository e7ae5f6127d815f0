"""The whole chain, small, before a group spends a million core-hours on it.

Random structures, both stages of DFT, the harvested training set, a potential trained on it, a
search with that potential, DFT after it (Table 5), a dataset, a score. Everything is real but VASP,
in whose place a stand-in computes with another potential.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from jobflow import Flow, Maker, OnMissing, Response
from pydantic import BaseModel, Field

from dismaiflow.benchmark.maker import BenchmarkMaker
from dismaiflow.benchmark.protocol import ScoringProtocol
from dismaiflow.benchmark.schemas import ControlsDoc, ScoreDoc
from dismaiflow.benchmark.structure_flows import RelaxationPlan
from dismaiflow.campaigns.dft_stage import DFTStageMaker, second_stage
from dismaiflow.campaigns.dft_training import DFTTrainingSetMaker, two_stages
from dismaiflow.campaigns.interface_search import SearchMaker
from dismaiflow.campaigns.interfaces import InterfaceDFTDatasetMaker
from dismaiflow.campaigns.relaxed import ScoreControlsMaker
from dismaiflow.errors import DismaiError
from dismaiflow.interfaces.built import built_generator
from dismaiflow.interfaces.system import InterfaceSystem
from dismaiflow.jobs import NO_COPIES, dismai_job, replaced_by
from dismaiflow.potentials.store import PotentialRef
from dismaiflow.potentials.training_jobs import TrainedDoc, TrainPotentialMaker
from dismaiflow.store.blobs import current_jobstore
from dismaiflow.store.datasets import DatasetDoc
from dismaiflow.store.frames import FramesDoc
from dismaiflow.store.generated import store_generated
from dismaiflow.structures.dataset import package_versions
from dismaiflow.systems import SystemSpec

if TYPE_CHECKING:
    from dismaiflow.campaigns.dft_runs import RelaxationMaker

#: The protocol by which the rehearsed dataset is scored.
_PROTOCOL: Literal["published"] = "published"

#: What learns most in a few minutes of one core from some sixty frames; the paper's settings, with
#: a network of eight times the weights, need hours.
_QUICK = {
    "model": {"units": 32, "blocks": 2},
    "lr": 0.005,
    "batch_size": 2,
    "schedule": "cosine",
    "epochs": 16,
}

#: Index of the first random structure that stands for a model's; datasets begin at 0.
_MODEL_FROM = 30_000_000


@dataclass(frozen=True)
class RehearsalPlan:
    """How small a rehearsal is. The defaults suit a quarter of an hour for 46 atoms.

    Parameters
    ----------
    n_without, n_with : int
        Structures of the training set, without and with exchanged ions.
    region_steps : int
        Steps of the first stage.
    fmax : float
        Largest force that the second stage leaves, eV/Å; the paper's is 0.1.
    first, interval : int
        Ionic steps that become frames: this one, and every so many after it. The first is taken,
        unlike in the paper, because there are few frames, and those of small forces teach little.
    fractions : 3 float
        Shares of the relaxations for training, validation and test. Wider than the paper's, so that
        of few there are two to test with.
    training : dict
        Settings of the training that differ from the defaults.
    n_low : int
        Structures of the dataset.
    max_structures : int
        Structures that are tried for it, at most.
    relaxation_fmax : float
        Largest force that the trained potential leaves, eV/Å; the paper's is 0.05.
    relaxation_steps : int
        Steps that it may take.
    n_scored : int
        Random structures that are scored against the dataset, in the place of a model's.
    """

    n_without: int = 8
    n_with: int = 6
    region_steps: int = 6
    fmax: float = 0.2
    first: int = 1
    interval: int = 16
    fractions: tuple[float, float, float] = (0.7, 0.15, 0.15)
    training: dict[str, Any] = field(default_factory=lambda: dict(_QUICK))
    n_low: int = 4
    max_structures: int = 12
    relaxation_fmax: float = 0.1
    relaxation_steps: int = 200
    n_scored: int = 4


class RehearsalDoc(BaseModel):
    """What a rehearsal leaves; parts whose job failed are None.

    Parameters
    ----------
    system : str
        Name of the system.
    plan : dict
        Fields of `RehearsalPlan`.
    frames : FramesDoc, optional
        The training set.
    trained : TrainedDoc, optional
        The potential.
    dataset : DatasetDoc, optional
        What was found with it, DFT having had the last word.
    controls : ControlsDoc, optional
        Scores of the controls on it.
    score : ScoreDoc, optional
        Score of random structures on it.
    """

    kind: str = "rehearsal"
    system: str
    plan: dict[str, Any]
    frames: FramesDoc | None = None
    trained: TrainedDoc | None = None
    dataset: DatasetDoc | None = None
    controls: ControlsDoc | None = None
    score: ScoreDoc | None = None
    versions: dict[str, str] = Field(default_factory=package_versions)


@dataclass
class ScoreRandomMaker(Maker):
    """Score random structures of another seed on a dataset that an earlier job has left.

    Parameters
    ----------
    name : str
        The job name.
    benchmark_maker : BenchmarkMaker
        Scores.
    """

    name: str = "score random"
    benchmark_maker: BenchmarkMaker = field(default_factory=BenchmarkMaker)

    @dismai_job()
    def make(
        self,
        spec: SystemSpec,
        dataset: DatasetDoc,
        potential: PotentialRef,
        controls: ControlsDoc | None,
        n: int,
        seed: int = 0,
    ) -> Response[Any]:
        """Score; the output has ``score``, so that no second document is one by itself.

        Parameters
        ----------
        spec : SystemSpec
            The interface, self-contained.
        dataset : DatasetDoc
            Its ``train`` set is the reference.
        potential : PotentialRef
            What relaxes the random structures.
        controls : ControlsDoc, optional
            To stand beside the score.
        n : int
            Random structures.
        seed : int
            Their seed.
        """
        document = DatasetDoc.model_validate(dataset)
        made = built_generator(spec).generate(range(_MODEL_FROM, _MODEL_FROM + n), seed)
        flow = self.benchmark_maker.make(
            spec,
            ScoringProtocol.for_kind(spec.kind, _PROTOCOL),
            document.sets["train"],
            [store_generated(current_jobstore(), "random", made.structures, 50)],
            reference_name="rehearsed dataset",
            model="random structures",
            controls=False if controls is None else ControlsDoc.model_validate(controls),
            relaxation=RelaxationPlan(
                potential=PotentialRef.model_validate(potential), reference=False
            ),
        )
        return replaced_by([flow], {"score": flow.output}, f"{self.name} done")


@dismai_job(output_schema=RehearsalDoc)
def end_rehearsal(
    system: str,
    plan: dict[str, Any],
    frames: FramesDoc | None,
    trained: TrainedDoc | None,
    dataset: DatasetDoc | None,
    controls: ControlsDoc | None,
    score: ScoreDoc | None,
) -> RehearsalDoc:
    """Put together what a rehearsal has left."""
    return RehearsalDoc(
        system=system,
        plan=plan,
        frames=frames,
        trained=trained,
        dataset=dataset,
        controls=controls,
        score=score,
    )


@dataclass
class RehearsalMaker(Maker):
    """Rehearse everything that this package does with an interface and its own VASP.

    Parameters
    ----------
    name : str
        The flow name.
    potential : str
        With what the stand-in for VASP computes: ``chgnet`` or ``toy``.
    plan : RehearsalPlan
        How small it all is.
    training_set_maker : DFTTrainingSetMaker
        Makes the training set.
    train_maker : TrainPotentialMaker
        Trains the potential.
    controls_maker : ScoreControlsMaker
        Scores the controls.
    score_maker : ScoreRandomMaker
        Scores random structures.
    structures_per_job : int
        Structures that one job relaxes with the potential.
    """

    name: str = "rehearsal"
    potential: str = "chgnet"
    plan: RehearsalPlan = field(default_factory=RehearsalPlan)
    training_set_maker: DFTTrainingSetMaker = field(
        default_factory=lambda: DFTTrainingSetMaker(runs_per_job=7)
    )
    train_maker: TrainPotentialMaker = field(default_factory=TrainPotentialMaker)
    controls_maker: ScoreControlsMaker = field(default_factory=ScoreControlsMaker)
    score_maker: ScoreRandomMaker = field(default_factory=ScoreRandomMaker)
    structures_per_job: int = 4

    def make(self, spec: SystemSpec, seed: int = 0) -> Flow:
        """Build the flow.

        Parameters
        ----------
        spec : SystemSpec
            The interface.
        seed : int
            Seed of everything.

        Returns
        -------
        Flow
            Its output is a `RehearsalDoc`.

        Raises
        ------
        DismaiError
            If the system is no interface or cannot be built.
        """
        small = rehearsal_spec(spec, self.plan)
        stages, second = self._stand_ins(small)
        frames = self._training_set(stages).make(small, seed, self.plan.n_without, self.plan.n_with)
        learn = replace(
            self.train_maker,
            settings=self.train_maker.settings | self.plan.training | {"seed": seed},
            allow_rehearsal=True,
        )
        trained = learn.make(
            spec.name, frames.output.sets, frames.output.card.split, list(small.species)
        )
        trained.name = f"{learn.name} {spec.name}"
        potential = trained.output.potential
        dataset = self._dataset_maker(second).make(small, potential, seed, self.plan.n_low)
        protocol = ScoringProtocol.for_kind(small.kind, _PROTOCOL)
        controls = self.controls_maker.make(small, protocol, dataset.output, potential, seed)
        controls.name = f"{self.controls_maker.name} {spec.name}"
        score = self.score_maker.make(
            small, dataset.output, potential, controls.output, self.plan.n_scored, seed + 1
        )
        score.name = f"{self.score_maker.name} {spec.name}"
        last = end_rehearsal(
            spec.name,
            asdict(self.plan),
            frames.output,
            trained.output,
            dataset.output,
            controls.output,
            score.output["score"],
        )
        last.name = f"end of {self.name}"
        # What one part has shown is worth seeing where a later one failed.
        last.config.on_missing_references = OnMissing.NONE
        last.config.manager_config |= NO_COPIES
        parts = [frames, trained, dataset, controls, score, last]
        flow = Flow(parts, output=last.output, name=f"{self.name} {spec.name}")
        flow.update_metadata(
            {"system": spec.name, "model": "none", "protocol": _PROTOCOL}, dynamic=True
        )
        return flow

    def _stand_ins(self, spec: SystemSpec) -> tuple[RelaxationMaker, RelaxationMaker]:
        """Return both stages, and the second alone, with the stand-in for VASP."""
        from dismaiflow.dft.makers import Rehearsal

        stand_in = Rehearsal(self.potential)
        stages: Any = two_stages(spec)
        second: Any = second_stage(spec)
        for maker in (stages.region_maker, stages.interface_maker, second):
            maker.rehearsal = stand_in
        return stages, second

    def _training_set(self, stages: RelaxationMaker) -> DFTTrainingSetMaker:
        given = self.training_set_maker
        return replace(
            given,
            relax_random_maker=replace(given.relax_random_maker, relax_maker=stages),
            assemble_maker=replace(given.assemble_maker, fractions=self.plan.fractions),
        )

    def _dataset_maker(self, second: RelaxationMaker) -> InterfaceDFTDatasetMaker:
        return InterfaceDFTDatasetMaker(
            n_high=0,
            n_pilot=self.plan.n_low + 2,
            max_structures=self.plan.max_structures,
            search_maker=SearchMaker(
                name="judge DFT search",
                structures_per_job=self.structures_per_job,
                dft_maker=DFTStageMaker(relax_maker=second),
            ),
        )


def rehearsal_spec(spec: SystemSpec, plan: RehearsalPlan) -> SystemSpec:
    """Return an interface with the limits of a rehearsal.

    Raises
    ------
    DismaiError
        If the system is no interface or cannot be built.
    """
    from dismaiflow.dft.defaults import default_dft

    whole = InterfaceSystem.from_spec(spec).spec
    dft = whole.interface.dft or default_dft(whole)
    stages = tuple(
        stage.model_copy(
            update={"max_steps": plan.region_steps}
            if stage.relax == "region"
            else {"fmax": plan.fmax}
        )
        for stage in dft.stages
    )
    harvest = dft.harvest.model_copy(update={"first": plan.first, "interval": plan.interval})
    relaxation = whole.dataset.relaxation
    if relaxation is None:
        raise DismaiError(f"{spec.name}: key 'dataset.relaxation' is missing")
    changed = relaxation.model_copy(
        update={"fmax": plan.relaxation_fmax, "max_steps": plan.relaxation_steps}
    )
    dataset = whole.dataset.model_copy(update={"relaxation": changed})
    new = {"dft": dft.model_copy(update={"stages": stages, "harvest": harvest}), "dataset": dataset}
    return whole.model_copy(update=new)

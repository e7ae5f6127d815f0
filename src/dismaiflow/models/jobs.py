"""Jobs that train generative models and sample them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from jobflow import CURRENT_JOB, Job, Maker, Response

from dismaiflow.errors import DismaiError
from dismaiflow.jobs import CATEGORY_KEY, dismai_job, ended_by
from dismaiflow.models.base import Budget, FitResult, ModelData
from dismaiflow.models.checks import sample_checked
from dismaiflow.models.registry import ModelChoice, open_model
from dismaiflow.models.schemas import TrainedModelDoc
from dismaiflow.models.scratch import (
    LAUNCH_NAME,
    TrainingFolder,
    scratch_folder,
    training_word,
    trainings_folder,
)
from dismaiflow.models.snapshots import weights_files
from dismaiflow.store.blobs import current_jobstore
from dismaiflow.store.datasets import DatasetDoc
from dismaiflow.store.generated import GeneratedSet, fetch_generated, store_generated
from dismaiflow.store.stored_files import get_folder, put_folder
from dismaiflow.store.structures import get_structures
from dismaiflow.structures.read import BadFrame, ReadStructures
from dismaiflow.structures.structure_set import StructureSet
from dismaiflow.systems import SystemSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jobflow import JobStore

    from dismaiflow.models.base import GenerativeModel

#: Kinds under which the files of models are stored: of finished ones, and of those that go on.
MODEL_KIND = "model_file"
STATE_KIND = "model_state"


def fit_category(job: Job, model: GenerativeModel) -> Job:
    """Let workers of the category that a model names take a job."""
    job.config.manager_config = job.config.manager_config | {CATEGORY_KEY: model.card().category}
    return job


@dataclass
class TrainModelMaker(Maker):
    """Train a model, in as many jobs as it takes.

    A job that is killed goes on where its checkpoint was: its folder is under the setting
    SCRATCH_DIR. A job whose time is used up, or that its queue asks to stop, leaves the folder in
    the store and puts itself into the queue again, so that any worker can go on.

    Parameters
    ----------
    name : str
        The job name.
    max_seconds : float, optional
        Time that one job may train, somewhat below that of its queue.
    max_launches : int
        Jobs after which a training that has not come to its end is given up.
    stops_here : bool
        Whether a job that is told to stop ends all that runs in its process, as a command here
        does, instead of putting itself into the queue again.
    folder_key : str
        Names a folder below which trainings are kept, in place of one named by the job, until who
        gave the name removes it: the same command goes on where it was interrupted, and finished
        trainings are not repeated. Nobody else may use it meanwhile.
    """

    name: str = "train model"
    max_seconds: float | None = None
    max_launches: int = 1000
    stops_here: bool = False
    folder_key: str = ""

    @dismai_job("gpu", output_schema=TrainedModelDoc)
    def make(
        self,
        choice: ModelChoice,
        spec: SystemSpec,
        dataset: DatasetDoc,
        seed: int,
        state: dict[str, list[str]] | None = None,
        n_launches: int = 0,
    ) -> TrainedModelDoc | Response[Any]:
        """Train.

        Parameters
        ----------
        choice : ModelChoice
            The model and its settings.
        spec : SystemSpec
            The system.
        dataset : DatasetDoc
            What it learns: the set ``train``, and ``val`` to watch.
        seed : int
            Seed of all randomness.
        state : dict of str to list of str, optional
            The folder as an earlier job has left it.
        n_launches : int
            Jobs before this one.

        Raises
        ------
        DismaiError
            If it cannot be trained, or makes no progress.
        """
        jobstore = current_jobstore()
        choice = ModelChoice.model_validate(choice)
        document = DatasetDoc.model_validate(dataset)
        model = open_model(choice)
        folder = self._folder(choice, spec, document, seed, n_launches)
        folder.prepare(jobstore, state)
        budget = Budget(self.max_seconds)
        if folder.finished is not None:
            result, launches = folder.finished
        else:
            data = _model_data(jobstore, document, spec)
            with budget.listening():
                result = model.fit(data, folder.path, seed=seed, budget=budget) or FitResult()
            launches = n_launches + 1
        if not result.finished and budget.told_by and self.stops_here:
            raise KeyboardInterrupt(budget.told_by)
        if not result.finished:
            if launches >= self.max_launches:
                raise DismaiError(
                    f"model {choice.name}: not finished after {launches} jobs (step {result.step});"
                    " give each more time (max_seconds), or allow more (max_launches)"
                )
            left = put_folder(jobstore, folder.path, STATE_KIND, [LAUNCH_NAME])
            again = self.make(choice, spec, document, seed, left, launches)
            again.name = CURRENT_JOB.job.name
            again.config.manager_config = dict(CURRENT_JOB.job.config.manager_config)
            return Response(replace=again)
        card = model.card()
        trained = TrainedModelDoc(
            system=spec.name,
            model=card.name,
            choice=choice,
            card=asdict(card),
            seed=seed,
            training_hash=document.sets["train"].content_hash,
            files=put_folder(jobstore, folder.path, MODEL_KIND, [LAUNCH_NAME]),
            step=result.step,
            epoch=result.epoch,
            seconds=result.seconds,
            n_launches=launches,
            losses=result.losses,
            device=result.device,
        )
        folder.finish(result)
        return trained

    def _folder(
        self, choice: ModelChoice, spec: SystemSpec, data: DatasetDoc, seed: int, n_launches: int
    ) -> TrainingFolder:
        """Return where the running job trains."""
        if not self.folder_key:
            return TrainingFolder(trainings_folder(str(CURRENT_JOB.job.uuid)), n_launches)
        word = training_word(choice, spec, data, seed)
        return TrainingFolder(trainings_folder(self.folder_key) / word, n_launches, shared=True)


@dataclass
class SampleShardMaker(Maker):
    """Sample one shard.

    Parameters
    ----------
    name : str
        The job name.
    chunk_size : int
        Structures of a stored chunk.
    """

    name: str = "sample shard"
    chunk_size: int = 250

    @dismai_job("gpu", output_schema=GeneratedSet)
    def make(
        self, trained: TrainedModelDoc, n: int, seed: int, snapshot: str | None = None
    ) -> GeneratedSet:
        """Sample; parameters as for `GenerateMaker.make`."""
        jobstore = current_jobstore()
        document = TrainedModelDoc.model_validate(trained)
        found = sample_stored(jobstore, document, n, seed, snapshot)
        return _stored(jobstore, document.model, found, self.chunk_size)


@dataclass
class GenerateMaker(Maker):
    """Sample a trained model, in shards with seeds of their own.

    Parameters
    ----------
    name : str
        The job name.
    shard_size : int
        Structures that one job samples; so many at most are sampled at once.
    shard_maker : SampleShardMaker
        Samples a shard.
    """

    name: str = "generate"
    shard_size: int = 250
    shard_maker: SampleShardMaker = field(default_factory=SampleShardMaker)

    @dismai_job("gpu", output_schema=GeneratedSet)
    def make(
        self,
        trained: TrainedModelDoc,
        n: int,
        seed: int,
        snapshot: str | None = None,
        label: str = "generated",
        settings: dict[str, Any] | None = None,
    ) -> GeneratedSet | Response[Any]:
        """Sample.

        Parameters
        ----------
        trained : TrainedModelDoc
            The model.
        n : int
            Structures.
        seed : int
            Seed; that of each shard is derived from it.
        snapshot : str, optional
            Weights of an earlier epoch, such as ``epoch-000100``.
        label : str
            What to call the set.
        settings : dict, optional
            Settings in whose place these stand: those that only sampling reads.
        """
        jobstore = current_jobstore()
        document = TrainedModelDoc.model_validate(trained)
        choice = document.choice.with_settings(settings or {})
        document = document.model_copy(update={"choice": choice})
        sizes, seeds = shards(n, self.shard_size, seed)
        if len(sizes) == 1:
            found = sample_stored(jobstore, document, n, seeds[0], snapshot)
            return _stored(jobstore, label, found, self.shard_maker.chunk_size)
        jobs = []
        for number, (size, child) in enumerate(zip(sizes, seeds, strict=True)):
            job = self.shard_maker.make(document, size, child, snapshot)
            job.name = f"{self.shard_maker.name} {label} {number}"
            job.config.manager_config = dict(CURRENT_JOB.job.config.manager_config)
            jobs.append(job)
        last = join_shards(label, sizes, [job.output for job in jobs], self.shard_maker.chunk_size)
        last.name = f"join shards {label}"
        return ended_by(jobs, last)


@dismai_job(output_schema=GeneratedSet)
def join_shards(
    label: str, sizes: list[int], parts: list[GeneratedSet | None], chunk_size: int
) -> GeneratedSet:
    """Join shards; the structures of one whose job failed are counted as missing."""
    jobstore = current_jobstore()
    read = []
    for size, part in zip(sizes, parts, strict=True):
        if part is None:
            why = "the job that was to sample it failed"
            bad = [BadFrame(i, "job_failed", why) for i in range(size)]
            read.append(ReadStructures(StructureSet.from_atoms([]), np.zeros(0, np.int64), bad))
        else:
            read.append(fetch_generated(jobstore, GeneratedSet.model_validate(part)))
    return _stored(jobstore, label, _joined(read), chunk_size)


def shards(n: int, shard_size: int, seed: int) -> tuple[list[int], list[int]]:
    """Return the sizes of shards and their seeds.

    The first ones do not change when more are asked for.
    """
    if n < 1 or shard_size < 1:
        raise DismaiError(f"cannot sample {n} structures in shards of {shard_size}")
    sizes = [min(shard_size, n - start) for start in range(0, n, shard_size)]
    children = np.random.SeedSequence(seed).spawn(len(sizes))
    return sizes, [int(child.generate_state(1, np.uint64)[0] >> np.uint64(1)) for child in children]


def sample_stored(
    jobstore: JobStore, document: TrainedModelDoc, n: int, seed: int, snapshot: str | None = None
) -> ReadStructures:
    """Sample a stored model.

    Parameters
    ----------
    jobstore : JobStore
        Connected.
    document : TrainedModelDoc
        The model.
    n, seed, snapshot
        As for `GenerateMaker.make`.

    Raises
    ------
    DismaiError
        If it cannot be sampled, or has no such snapshot.
    """
    places = weights_files(document, snapshot)
    needed = {place: document.files[name] for place, name in places.items()}
    with scratch_folder("samplings") as folder:
        get_folder(jobstore, needed, folder)
        model = open_model(document.choice)
        return sample_checked(model, folder, n, seed)


def _stored(jobstore: JobStore, name: str, found: ReadStructures, chunk_size: int) -> GeneratedSet:
    return store_generated(jobstore, name, found.structures, chunk_size, found.indices, found.bad)


def _joined(parts: Sequence[ReadStructures]) -> ReadStructures:
    """Put sets one after the other."""
    starts = np.concatenate([[0], np.cumsum([part.n_frames for part in parts])]).astype(int)
    filled = [part.structures for part in parts if len(part.structures)]
    return ReadStructures(
        StructureSet.concatenate(filled),
        np.concatenate([part.indices + start for part, start in _placed(parts, starts)]),
        [
            BadFrame(bad.index + start, bad.reason, bad.detail)
            for part, start in _placed(parts, starts)
            for bad in part.bad
        ],
    )


def _placed(parts: Sequence[ReadStructures], starts: Any) -> Iterator[tuple[ReadStructures, int]]:
    return zip(parts, starts[:-1].tolist(), strict=True)


def _model_data(jobstore: JobStore, document: DatasetDoc, spec: SystemSpec) -> ModelData:
    val = document.sets.get("val")
    return ModelData(
        get_structures(jobstore, document.sets["train"]),
        get_structures(jobstore, val) if val is not None else None,
        spec,
    )

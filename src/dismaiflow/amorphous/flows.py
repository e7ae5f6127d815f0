"""Flows that make datasets of blocks cut from a parent."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Literal

from jobflow import Flow, Job, Maker

from dismaiflow.amorphous.jobs import (
    JudgeParentMaker,
    MeltQuenchMaker,
    SliceMaker,
    check_quench,
    quench_settings,
)
from dismaiflow.amorphous.slicing import Split, check_size
from dismaiflow.errors import DismaiError
from dismaiflow.structures.dataset import check_request

if TYPE_CHECKING:
    from dismaiflow.store.structures import StructuresRef
    from dismaiflow.systems import SystemSpec


@dataclass
class AmorphousSlicesMaker(Maker):
    """Make a dataset of an amorphous system: a parent, made or given, and blocks cut from it.

    The blocks are not relaxed.

    Parameters
    ----------
    name : str
        The flow name.
    protocol : {"corrected", "published"}
        ``published`` splits at random unless ``split`` says otherwise.
    split : {"disjoint", "random"}, optional
        Whether training and validation blocks share no atom of the parent, or lie anywhere
        (paper); by default the former under ``corrected``.
    n_quench_atoms : int, optional
        Atoms of a parent that is made; the spec's by default.
    quench_rate : float, optional
        K/ps; the spec's by default.
    quench_potential : {"sw", "tersoff"}, optional
        The spec's by default.
    quench_maker : MeltQuenchMaker
        Makes a parent.
    judge_maker : JudgeParentMaker
        Judges a given one.
    slice_maker : SliceMaker
        Cuts it.
    """

    name: str = "amorphous slices"
    protocol: Literal["corrected", "published"] = "corrected"
    split: Split | None = None
    n_quench_atoms: int | None = None
    quench_rate: float | None = None
    quench_potential: Literal["sw", "tersoff"] | None = None
    quench_maker: MeltQuenchMaker = field(default_factory=MeltQuenchMaker)
    judge_maker: JudgeParentMaker = field(default_factory=JudgeParentMaker)
    slice_maker: SliceMaker = field(default_factory=SliceMaker)

    def make(
        self,
        spec: SystemSpec,
        seed: int = 0,
        n_structures: int | None = None,
        parent: StructuresRef | None = None,
    ) -> Flow:
        """Build the flow.

        Parameters
        ----------
        spec : SystemSpec
            The system.
        seed : int
            Seed of all randomness.
        n_structures : int, optional
            Structures of the dataset; the spec's by default.
        parent : StructuresRef, optional
            A parent that is in the store; made by melt-quench by default.

        Returns
        -------
        Flow
            Its output is a `DatasetDoc`.

        Raises
        ------
        DismaiError
            If the system is not amorphous, the sizes make no sense, the spec names a file for
            its parent and none was given, or the potential does not know the elements.
        """
        check_request(seed, n_structures)
        split: Split = self.split or ("disjoint" if self.protocol == "corrected" else "random")
        first = self._given(spec, parent) if parent else self._made(spec, seed, split)
        cut = self.slice_maker.make(spec, first.output, seed, n_structures, split, self.protocol)
        cut.name = f"{self.slice_maker.name} {spec.name}"
        for one in (first, cut):
            one.update_metadata({"system": spec.name, "model": "none", "protocol": self.protocol})
        return Flow([first, cut], output=cut.output, name=self.name)

    def _given(self, spec: SystemSpec, parent: StructuresRef) -> Job:
        first: Job = self.judge_maker.make(spec, parent)
        first.name = f"{self.judge_maker.name} {spec.name}"
        return first

    def _made(self, spec: SystemSpec, seed: int, split: Split) -> Job:
        if spec.amorphous.parent.file is not None and self.n_quench_atoms is None:
            raise DismaiError(
                f"{spec.origin or spec.name}: key 'parent.file' names the parent: read it, put it "
                "into the store and pass it on, or ask for a number of atoms to make one"
            )
        settings = quench_settings(
            spec, self.n_quench_atoms, self.quench_rate, self.quench_potential
        )
        check_quench(spec, settings)
        if split == "disjoint":
            check_size(settings.n_atoms, spec.amorphous.block.n_atoms)
        first: Job = self.quench_maker.make(spec, asdict(settings), seed)
        first.name = f"{self.quench_maker.name} {spec.name}"
        return first

"""What machine-learned potentials share, and CHGNet, offline, for one structure or many.

CHGNet: B. Deng et al., Nat. Mach. Intell. 5, 1031 (2023), doi:10.1038/s42256-023-00716-3; the
weights 0.3.0 that its package brings, read with ``weights_only``.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.data import chemical_symbols
from ase.stress import full_3x3_to_voigt_6_stress
from ase.units import GPa

from dismaiflow.errors import DismaiError
from dismaiflow.potentials.base import Evaluation, PotentialCard
from dismaiflow.potentials.batches import Batches
from dismaiflow.potentials.cards import (
    check_known,
    file_hashes,
    installed_versions,
    need_modules,
    potential_hash,
)
from dismaiflow.potentials.chgnet_graph import crystal_graph
from dismaiflow.potentials.devices import check_device

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ase import Atoms

#: Weights 0.3.0 within the package chgnet.
_CHGNET_WEIGHTS = "pretrained/0.3.0/chgnet_0.3.0_e29f68s314m37.pth.tar"

#: Elements that CHGNet has not met: its training data cover the other 89 of the first 94.
_NOT_IN_CHGNET = {"Po", "At", "Rn", "Fr", "Ra"}

#: Edges of a batch: on a processor large batches only cost memory, a device is to be filled.
MOST_EDGES = {"cpu": 10_000, "cuda": 1_500_000}


def check_periodic(atoms: Atoms | None) -> None:
    """Refuse a structure that is not periodic in all directions.

    Raises
    ------
    DismaiError
        If it is not: graphs would take it for a molecule.
    """
    if atoms is not None and not atoms.pbc.all():
        raise DismaiError(
            "the structure is not periodic in all directions, which graph networks need: set pbc, "
            "with vacuum in the cell"
        )


@dataclass(frozen=True)
class ChgnetPotential:
    """CHGNet with the weights of its package.

    Parameters
    ----------
    card : PotentialCard
        What documents say of it.
    weights : Path
        Its weights.
    """

    card: PotentialCard
    weights: Path
    files: Mapping[str, Path] = field(default_factory=dict)

    def calculator(self) -> ChgnetCalculator:
        """Return an ASE calculator on one processor.

        Atoms without neighbours within 6 Å make it raise: its energies mean nothing then.
        """
        return ChgnetCalculator(load_chgnet(self.weights))

    def evaluator(self, device: str = "cpu") -> ChgnetEvaluator:
        """Return what computes many structures at once."""
        return ChgnetEvaluator(load_chgnet(self.weights), device)


def open_chgnet(elements: Sequence[str] = ()) -> ChgnetPotential:
    """Find CHGNet.

    Parameters
    ----------
    elements : sequence of str, optional
        Elements that it must know.

    Raises
    ------
    DismaiError
        If it is not installed, or does not know an element.
    """
    need_modules("chgnet", "potentials", "torch", "chgnet")
    known = [symbol for symbol in chemical_symbols[1:95] if symbol not in _NOT_IN_CHGNET]
    check_known("chgnet", known, elements)
    spec = find_spec("chgnet")
    folder = Path((spec.submodule_search_locations or [""])[0]) if spec else Path()
    path = folder / _CHGNET_WEIGHTS
    if not path.is_file():
        raise DismaiError(f"{path}: no such file; install a chgnet that has the weights 0.3.0")
    weights = file_hashes({path.name: path})
    card = PotentialCard(
        name="chgnet",
        engine="chgnet",
        hash=potential_hash(engine="chgnet", weights=list(weights.values())),
        weights=weights,
        elements=known,
        versions=installed_versions(["chgnet", "torch"]),
    )
    return ChgnetPotential(card, path)


def load_chgnet(weights: Path) -> Any:
    """Return the model of CHGNet; its package would unpickle the same file."""
    import torch
    from chgnet.model import CHGNet

    # What torch advises the authors of chgnet, at every structure.
    warnings.filterwarnings("ignore", category=UserWarning, module=r"chgnet\.model")
    state = torch.load(weights, map_location="cpu", weights_only=True)
    with contextlib.redirect_stdout(io.StringIO()):  # it announces its size
        model = CHGNet.from_dict(state["model"], mlp_out_bias=False, version="0.3.0")
    return model.eval().requires_grad_(False)


class ChgnetCalculator(Calculator):
    """Energies, forces and, where they are asked for, stresses of CHGNet.

    Parameters
    ----------
    model : chgnet.model.CHGNet
        The model, on the processor.
    """

    implemented_properties = ["energy", "free_energy", "forces", "stress"]  # noqa: RUF012

    def __init__(self, model: Any) -> None:
        super().__init__()
        self._model = model

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Iterable[str] | None = None,
        system_changes: Iterable[str] = all_changes,
    ) -> None:
        """Compute one structure; see `ase.calculators.calculator.Calculator`."""
        asked = list(properties or ["energy"])
        super().calculate(atoms, asked, list(system_changes))
        here = self.atoms
        assert here is not None
        graph = _graph(self._model, here)
        found = self._model.predict_graph(graph, task="efs" if "stress" in asked else "ef")
        # Energies of CHGNet are per atom, its stresses in GPa.
        energy = float(found["e"]) * len(here)
        forces = found["f"].astype(np.float64)
        self.results = {"energy": energy, "free_energy": energy, "forces": forces}
        if "s" in found:
            stress = found["s"].astype(np.float64) * GPa
            self.results["stress"] = full_3x3_to_voigt_6_stress(stress)


def _graph(model: Any, atoms: Atoms) -> Any:
    check_periodic(atoms)
    converter = model.graph_converter
    return crystal_graph(atoms, converter.atom_graph_cutoff, converter.bond_graph_cutoff)


class ChgnetEvaluator:
    """Many structures at once with CHGNet.

    Parameters
    ----------
    model : chgnet.model.CHGNet
        The model.
    device : str
        ``cpu`` or ``cuda``.
    """

    def __init__(self, model: Any, device: str = "cpu") -> None:
        most = MOST_EDGES[check_device(device)]
        self._model = model.to(device)
        self._device = device
        self._batches = Batches(self._compute, lambda graph: len(graph.atom_graph), most)

    def evaluate(self, structures: Sequence[Atoms]) -> list[Evaluation]:
        """Return the evaluations in the order of the structures; raise what one of them raises."""
        return self._batches.run([_graph(self._model, atoms) for atoms in structures])

    def _compute(self, graphs: list[Any]) -> list[Evaluation]:
        found = self._model([graph.to(self._device) for graph in graphs], task="ef")
        energies = found["e"].detach().cpu().numpy().reshape(-1)
        forces = [part.detach().cpu().numpy() for part in found["f"]]
        return [
            Evaluation(float(energy) * len(part), part.astype(np.float64))
            for energy, part in zip(energies, forces, strict=True)
        ]

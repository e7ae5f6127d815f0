"""Potentials that matgl saved to a folder: M3GNet and others of its graph networks.

M3GNet: C. Chen, S. P. Ong, Nat. Comput. Sci. 2, 718 (2022), doi:10.1038/s43588-022-00349-3.

Files are read with ``weights_only``. They also name the class of their model, which matgl imports
and calls; only models of matgl itself are let through.
"""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from dismaiflow.errors import DismaiError, one_line
from dismaiflow.potentials.base import Evaluation, PotentialCard
from dismaiflow.potentials.batches import Batches
from dismaiflow.potentials.cards import (
    check_known,
    file_hashes,
    installed_versions,
    need_modules,
)
from dismaiflow.potentials.machine_learning import MOST_EDGES, check_device, check_periodic
from dismaiflow.potentials.model_card import (
    CARD_NAME,
    MODEL_FILES,
    check_age,
    read_model_card,
    weights_hash,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from ase import Atoms


@dataclass(frozen=True)
class MatglPotential:
    """A potential that matgl saved to a folder.

    Parameters
    ----------
    card : PotentialCard
        What documents say of it.
    files : dict of str to Path
        The three files of the folder, and its card if it has one.
    """

    card: PotentialCard
    files: Mapping[str, Path]

    def calculator(self) -> Any:
        """Return an ASE calculator on one processor."""
        interface: Any = import_module("matgl.ext.ase")

        class Calculator(interface.PESCalculator):  # type: ignore[misc]
            """A calculator that refuses what matgl would take for a molecule."""

            def calculate(
                self,
                atoms: Atoms | None = None,
                properties: list[str] | None = None,
                system_changes: list[str] | None = None,
            ) -> None:
                check_periodic(atoms)
                super().calculate(atoms, properties, system_changes)

        return Calculator(load_matgl(self.files), stress_unit="eV/A3", use_voigt=True)

    def evaluator(self, device: str = "cpu") -> MatglEvaluator | None:
        """Return what computes many structures at once; None for models with charges."""
        potential = load_matgl(self.files)
        return None if potential.calc_charge else MatglEvaluator(potential, device)


def open_matgl(folder: Path, elements: Sequence[str] = (), name: str = "") -> MatglPotential:
    """Check a folder of matgl by loading it once.

    Parameters
    ----------
    folder : Path
        Where ``matgl`` saved a potential.
    elements : sequence of str, optional
        Elements that it must know.
    name : str, optional
        Name for documents; by default that of the folder.

    Raises
    ------
    DismaiError
        If a package or a file is missing, the model is no potential or of another version of
        matgl, it differs from its card, or it does not know an element.
    """
    shown = f"matgl:{folder}"
    files = _checked_files(folder)
    if read_model_card(folder) is not None:
        files[CARD_NAME] = folder / CARD_NAME
    known = list(load_matgl(files).model.element_types)
    check_known(shown, known, elements)
    hashes = file_hashes(files)
    card = PotentialCard(
        name=name or f"matgl:{folder.name}",
        engine="matgl",
        hash=weights_hash(hashes),
        weights=hashes,
        elements=known,
        versions=installed_versions(["matgl", "torch", "torch-geometric"]),
    )
    return MatglPotential(card, files)


def inspect_matgl(folder: Path) -> list[str]:
    """Load a folder of matgl, whatever its card says, and return the elements that it knows.

    Raises
    ------
    DismaiError
        If it is no potential that this version of matgl can load.
    """
    return list(load_matgl(_checked_files(folder)).model.element_types)


def _checked_files(folder: Path) -> dict[str, Path]:
    """Return the files of a folder, after all checks that need not load them."""
    shown = f"matgl:{folder}"
    if not folder.is_dir():
        raise DismaiError(f"potential {shown!r}: no such folder")
    files = {name: folder / name for name in MODEL_FILES}
    for path in files.values():
        if not path.is_file():
            raise DismaiError(
                f"potential {shown!r}: {path.name} is missing; a folder that matgl saved holds "
                f"{', '.join(MODEL_FILES)}"
            )
    need_modules(shown, "potentials", "torch", "matgl")
    _check_description(shown, files["model.json"])
    return files


def _check_description(shown: str, path: Path) -> None:
    """Refuse, without torch, what model.json says is no potential."""
    try:
        described = json.loads(path.read_text("utf-8"))
        kind = described["@class"]
    except (OSError, ValueError, TypeError, KeyError):
        raise DismaiError(f"potential {shown!r}: model.json does not describe a model") from None
    if kind != "Potential":
        raise DismaiError(
            f"potential {shown!r}: holds a model of the class {kind}, which predicts a property, "
            "not a potential; train one, or choose another folder"
        )
    check_age(f"potential {shown!r}", described)


def load_matgl(files: Mapping[str, Path]) -> Any:
    """Return the potential of a matgl folder, in float32, ready to compute.

    Parameters
    ----------
    files : dict of str to Path
        ``model.json``, ``model.pt`` and ``state.pt``.

    Raises
    ------
    DismaiError
        If it is not a potential of this version of matgl.
    """
    shown = f"matgl:{files['model.json'].parent}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # matgl only warns of a model whose layers meant something else when it was saved.
            warnings.filterwarnings("error", message="Incompatible model version")
            potential = _load_checked(shown, files)
    except DismaiError:
        raise
    except Exception as error:  # noqa: BLE001  # whatever torch and matgl raise at foreign weights
        raise DismaiError(
            f"potential {shown!r}: not the weights of a potential of this version of matgl "
            f"({one_line(error)})"
        ) from None
    if getattr(potential.model, "is_intensive", False):
        raise DismaiError(
            f"potential {shown!r}: its model is intensive, so its energies do not grow with the "
            "number of atoms; train one with is_intensive=False"
        )
    potential.calc_hessian = potential.debug_mode = False
    # As it is loaded it would compute what only training needs.
    return potential.eval().requires_grad_(False)


def _load_checked(shown: str, files: Mapping[str, Path]) -> Any:
    import matgl.models
    import torch
    from matgl.apps.pes import Potential

    arguments = torch.load(files["model.pt"], map_location="cpu", weights_only=True)
    for value in arguments.values():
        if not (isinstance(value, dict) and "@class" in value):
            continue
        module, kind = str(value.get("@module")), str(value["@class"])
        known = getattr(matgl.models, kind, None)
        if not (isinstance(known, type) and issubclass(known, torch.nn.Module)):
            raise DismaiError(f"potential {shown!r}: this matgl has no model {kind!r}")
        # What was saved elsewhere is older; matgl would import any module that stands here.
        if module != "matgl.models" and not module.startswith("matgl.models._"):
            raise DismaiError(
                f"potential {shown!r}: its model was saved by an older matgl ({module}); save it "
                "again with this one"
            )
    return Potential.load(dict(files))


class MatglEvaluator:
    """Many structures at once with a potential of matgl.

    Parameters
    ----------
    potential : matgl.apps.pes.Potential
        The potential; it belongs to the evaluator then.
    device : str
        ``cpu`` or ``cuda``.
    """

    def __init__(self, potential: Any, device: str = "cpu") -> None:
        from matgl.ext.ase import Atoms2Graph

        kind = check_device(device)
        potential.calc_stresses = False
        self._potential = potential.to(device)
        self._device = device
        model = potential.model
        self._converter = Atoms2Graph(tuple(model.element_types), float(model.cutoff))
        self._batches = Batches(
            self._compute, lambda graph: int(graph[0].num_edges), MOST_EDGES[kind]
        )

    def evaluate(self, structures: Sequence[Atoms]) -> list[Evaluation]:
        """Return the evaluations in the order of the structures; raise what one of them raises."""
        return self._batches.run([self._graph(atoms) for atoms in structures])

    def _graph(self, atoms: Atoms) -> tuple[Any, Any]:
        """Return a graph and its cell; a millisecond for 264 atoms."""
        check_periodic(atoms)
        graph, lattice, _ = self._converter.get_graph(atoms)
        return graph, lattice.reshape(3, 3)

    def _compute(self, graphs: list[tuple[Any, Any]]) -> list[Evaluation]:
        import torch
        from torch_geometric.data import Batch

        batch = Batch.from_data_list([graph for graph, _ in graphs]).to(self._device)
        cells = torch.stack([cell for _, cell in graphs]).to(self._device)
        # The state of a structure, of which potentials make no use.
        state = cells.new_zeros((len(graphs), 2))
        energies, forces = self._potential(batch, cells, state)[:2]
        energies = energies.detach().cpu().numpy().reshape(-1)
        starts = np.cumsum([graph.num_nodes for graph, _ in graphs])[:-1]
        parts = np.split(forces.detach().cpu().numpy().astype(np.float64), starts)
        return [
            Evaluation(float(energy), part) for energy, part in zip(energies, parts, strict=True)
        ]

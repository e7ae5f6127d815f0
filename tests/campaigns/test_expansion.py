"""From cells to a fitted expansion and a dataset, with a stand-in that knows the energies."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
import pytest
import yaml
from jobflow import Maker

from dismaiflow.alloy.cluster_expansion import ClusterExpansion
from dismaiflow.alloy.fit_figures import draw_fit
from dismaiflow.alloy.fit_jobs import FitExpansionMaker
from dismaiflow.alloy.fit_schemas import ExpansionDataDoc, FittedExpansionDoc
from dismaiflow.alloy.flows import AlloyDatasetMaker
from dismaiflow.alloy.system import AlloySystem
from dismaiflow.campaigns.expansion import (
    ClusterExpansionMaker,
    SampleExpansionMaker,
    with_expansion,
)
from dismaiflow.campaigns.expansion_jobs import (
    CollectExpansionDataMaker,
    RelaxCellsMaker,
    TrainingCellsMaker,
    common_label,
    read_cell_runs,
)
from dismaiflow.dft.schemas import RunDoc, resolve_structure
from dismaiflow.errors import DismaiError
from dismaiflow.jobs import CATEGORY_KEY, dismai_job
from dismaiflow.metrics.clusters import count_monomers, count_pairs, per_atom
from dismaiflow.store.blobs import current_jobstore
from dismaiflow.store.datasets import DatasetDoc
from dismaiflow.structures.frames import FrameLabel
from dismaiflow.structures.lattice import ShellNeighbors
from dismaiflow.systems import SystemSpec, get_system

#: Energies of the pure elements that the stand-in takes, eV/atom.
PURE = {"Cr": -9.5, "Fe": -8.2, "Ni": -5.5}


def published() -> ClusterExpansion:
    path = files("dismaiflow.systems") / "library" / "fe_ni_cr_eci.json"
    return ClusterExpansion.from_dict(json.loads(path.read_text(encoding="utf-8")))


def neighbours_by_distance(structure: Any) -> ShellNeighbors:
    """Find seven shells by pymatgen's own search, in units of the lattice parameter 3.6 Å."""
    radii = 3.6 * np.sqrt([0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5])
    start, end, _, distances = structure.get_neighbor_list(6.9)
    shell = np.abs(distances[:, None] - radii).argmin(axis=1)
    assert np.abs(distances - radii[shell]).max() < 1e-6
    order = np.lexsort((shell, start))
    n = len(structure)
    neighbors = end[order].reshape(n, -1).astype(np.int32)
    return ShellNeighbors(neighbors, shell[order].reshape(n, -1)[0], radii, np.zeros((134, 3)))


@dataclass
class PublishedRelaxMaker(Maker):
    """Returns energies of the published expansion; some cells end otherwise, by their index."""

    name: str = "published"
    unconverged: str = "random-0002-ferromagnetic"
    crashed: str = "random-0003-ferromagnetic"
    hopped: str = "random-0004-ferromagnetic"

    @dismai_job("vasp", output_schema=RunDoc)
    def make(self, structure: Any, prev_dir: Any = None) -> RunDoc:
        found, parent = resolve_structure(current_jobstore(), structure)
        if parent == self.crashed:
            raise RuntimeError("no disk")
        assert found.site_properties["magmom"]
        expansion = published()
        codes = np.array([[expansion.species.index(site.specie.symbol) for site in found]])
        shells = neighbours_by_distance(found)
        counts = count_monomers(codes, 3), count_pairs(codes.astype(np.int8), shells, 3)
        energy = float(expansion.energy(*per_atom(*counts))[0])
        if len(set(codes[0])) == 1:
            energy = 0.0  # what formation energies refer to
        energy += sum(PURE[site.specie.symbol] for site in found) / len(found)
        label = FrameLabel(
            engine="published", functional="none", settings={"kpoints": {"n": len(found)}}
        )
        moved = found.copy()
        moved.apply_strain([0.02, 0.01, -0.01])
        if parent == self.hopped:
            moved.translate_sites([0], [1.2, 0.0, 0.0], frac_coords=False)
        return RunDoc(
            status="not_converged" if parent == self.unconverged else "converged",
            reason="out of steps" if parent == self.unconverged else "",
            structure=moved,
            energy=energy * len(found),
            label=label,
            parent=parent,
        )


@pytest.fixture(scope="module")
def spec() -> SystemSpec:
    """Return Fe60Ni20Cr20 in 3x3x3 cells: 108 sites."""
    data = get_system("alloy-1500K-wide").self_contained().model_dump(exclude_none=True)
    data |= {"name": "small", "composition": {"Fe": 64, "Ni": 22, "Cr": 22}}
    data["lattice"]["supercell"] = (3, 3, 3)
    data.pop("sources", None)
    return SystemSpec.from_dict(data)


def maker(**fields: Any) -> ClusterExpansionMaker:
    return ClusterExpansionMaker(
        cells_maker=TrainingCellsMaker(sizes=(6, 8, 12), patterns=("ferromagnetic",)),
        relax_cells_maker=RelaxCellsMaker(relax_maker=PublishedRelaxMaker()),
        collect_maker=CollectExpansionDataMaker(spin="none"),
        fit_maker=FitExpansionMaker(method="least-squares", n_bootstrap=0),
        **fields,
    )


def test_cells_become_an_expansion_and_the_expansion_a_dataset(spec, run, tmp_path) -> None:
    """Three of 56 cells end badly, are counted with their reasons, and stop nothing."""
    sampler = SampleExpansionMaker(dataset_maker=AlloyDatasetMaker(n_runs=2, n_passes=200))
    flow = maker(sample_maker=sampler).make(spec, n=56, seed=1, n_structures=10)
    output = run(flow, success=False)
    data = ExpansionDataDoc.model_validate(output["data"])
    assert data.failures == {"not_converged": 1, "job_failed": 1, "left_site": 1}
    assert (data.n_cells, data.n_used) == (56, 53)
    assert data.failed["random-0002-ferromagnetic"] == "not_converged: out of steps"
    fit = FittedExpansionDoc.model_validate(output["fit"])
    assert len(fit.names) == 53
    assert fit.failures == data.failures
    assert "published, none" in fit.expansion["source"]
    # A system takes the file.
    (tmp_path / "expansion.json").write_text(json.dumps(fit.expansion))
    keys = spec.model_dump(exclude_none=True) | {"cluster_expansion": "expansion.json"}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(json.loads(json.dumps(keys))))
    own = SystemSpec.from_file(tmp_path / "own.yaml").self_contained()
    pair = fit.expansion["pair"]["2"]["Cr-Fe"]
    assert AlloySystem.from_spec(own).expansion.pair[1, 0, 1] == pair
    # Mixed cells have the published energies; those of pure ones are 0 by definition, where the
    # published expansion has a few meV: a least-squares fit to both is not exact.
    assert fit.expansion["fit"]["training"]["rmse"] < 0.01
    mixed = [not name.startswith("pure") for name in fit.names]
    assert np.std(np.array(fit.energies)[mixed]) > 0.01
    draw_fit(fit, tmp_path / "fit.png")
    assert (tmp_path / "fit.png").read_bytes().startswith(b"\x89PNG")
    dataset = DatasetDoc.model_validate(output["dataset"])
    assert dataset.card.counts == {"train": 8, "val": 2}


def test_every_job_has_a_category_and_a_name_of_its_own(spec) -> None:
    flow = maker(sample_maker=SampleExpansionMaker()).make(spec, n=120, seed=1)
    names = [job.name for job in flow.jobs]
    assert len(names) == len(set(names)) == 1 + 3 + 3
    assert all(job.config.manager_config[CATEGORY_KEY] == "cpu" for job in flow.jobs)


def test_vasp_is_the_default_for_any_alloy(spec) -> None:
    pytest.importorskip("atomate2")
    from dismaiflow.dft.makers import AlloyCellRelaxMaker

    flow = ClusterExpansionMaker().make(spec, n=20)
    (relax,) = (job.maker.relax_maker for job in flow.jobs if job.name.startswith("relax cells"))
    assert isinstance(relax, AlloyCellRelaxMaker)
    potentials = relax.input_set_generator.config_dict["POTCAR"]
    assert set(spec.composition) <= set(potentials)


def test_wrong_requests_are_refused_before_anything_runs(spec) -> None:
    with pytest.raises(DismaiError, match="n of at least 6"):
        maker().make(spec, n=3)
    with pytest.raises(DismaiError):
        maker().make(get_system("lsc-lco"), n=20)


def test_a_relaxation_that_changes_the_order_of_atoms_is_refused(spec, run) -> None:
    """It would give wrong features without a sign of it."""
    from jobflow import Flow

    cells = TrainingCellsMaker(patterns=("ferromagnetic",)).make(spec, 12, 0)
    sorted_wrongly = RunDoc(status="converged", structure=_two_atoms(), energy=-1.0)
    last = read_cell_runs(cells.output, 0, [sorted_wrongly])
    with pytest.raises(RuntimeError):
        run(Flow([cells, last], output=last.output))


def _two_atoms() -> Any:
    from pymatgen.core import Lattice, Structure

    return Structure(Lattice.cubic(3.0), ["Fe", "Cr"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def label(**changes: Any) -> FrameLabel:
    settings = {"ENCUT": 520, "kpoints": {"mesh": [3, 3, 3]}, "potentials": {"Fe": "Fe_pv"}}
    given = {"engine": "vasp 6.4.2", "functional": "PBE", "settings": settings}
    return FrameLabel(**(given | changes))


def test_energies_of_different_calculations_do_not_mix() -> None:
    """k-points and elements may differ from cell to cell, all else may not."""
    settings = {"ENCUT": 520, "kpoints": {"mesh": [9, 9, 9]}, "potentials": {"Ni": "Ni_pv"}}
    other = label(settings=settings)
    assert common_label([label(), None, other]) == label()
    assert common_label([None]) is None
    for wrong in (
        label(engine="chgnet 0.4.2"),
        label(functional="PBEsol"),
        label(rehearsal=True),
        label(settings={"ENCUT": 400}),
        label(settings={"potentials": {"Fe": "Fe"}}),
    ):
        with pytest.raises(DismaiError, match="different") as caught:
            common_label([label(), wrong])
        assert "\n" not in str(caught.value)


def test_only_chemical_terms_reach_the_monte_carlo(spec) -> None:
    data = {
        "constant": 0.1,
        "monomer": {"Cr": 0.0, "Fe": 0.0, "Ni": 0.0},
        "pair": {"1": dict.fromkeys(["Cr-Cr", "Cr-Fe", "Cr-Ni", "Fe-Fe", "Fe-Ni", "Ni-Ni"], 0.01)},
        "spin": {"1": {"all": 1.0}},
        "errors": None,
        "fit": {},
    }
    changed = with_expansion(spec, data)
    assert changed.alloy.cluster_expansion.pair["1"]["Cr-Fe"] == 0.01
    assert changed.composition == spec.composition
